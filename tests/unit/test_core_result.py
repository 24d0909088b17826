import numpy as np
import pytest

from metseg.core.errors import InputError
from metseg.core.lesion import LesionTable
from metseg.core.result import CaseResult, Provenance
from metseg.core.study import Study
from metseg.core.volume import LabelMap, Volume

PROVENANCE = Provenance("threshold", {}, {}, {}, {})


def result(grid, **changed) -> CaseResult:
    labels = LabelMap(np.zeros(grid.shape, dtype=np.uint8), grid)
    study = Study("case", {"t1c": Volume(np.zeros(grid.shape, dtype=np.float32), grid)})
    return CaseResult(
        study, **{"segmentation": labels, "instances": labels} | changed, lesions=LesionTable(), provenance=PROVENANCE
    )


def test_a_result_lies_on_its_studys_grid(oblique_grid):
    made = result(oblique_grid)
    assert made.segmentation.grid.matches(made.study.grid)
    assert made.probability is None


@pytest.mark.parametrize("part", ["segmentation", "instances", "probability"])
def test_a_map_that_lies_elsewhere_is_refused(part, oblique_grid):
    elsewhere = oblique_grid.crop((1, 0, 0), oblique_grid.shape)
    array = np.zeros(oblique_grid.shape, dtype=np.uint8)
    other = Volume(array, elsewhere) if part == "probability" else LabelMap(array, elsewhere)
    with pytest.raises(InputError, match="must lie on its study's grid"):
        result(oblique_grid, **{part: other})


def test_showing_a_result_keeps_its_provenance_out(oblique_grid):
    assert "threshold" not in repr(result(oblique_grid))
