"""What is told of a scan: a plain sentence each."""

from dataclasses import replace

import numpy as np
import pytest

from metseg.core.grid import Grid
from metseg.core.study import Source
from metseg.core.volume import LabelMap
from metseg.engines.registry import load_engine
from metseg.pipeline.guard import NO_CONTRAST, OVERRIDDEN
from metseg.pipeline.quality import quality_flags
from results import make_result

LPS = Grid((80, 90, 60), np.array([[-2.5, 0, 0, 98], [0, -2.5, 0, 110], [0, 0, 3.0, -90], [0, 0, 0, 1.0]]))


def study_of(grid=LPS, **headers):
    return make_result(grid, source=Source(headers=headers)).study


def brain_at(centre_mm, radius_mm=70.0, grid=None) -> LabelMap:
    """A ball on a grid of the model's own."""
    grid = grid or Grid.isotropic((125, 125, 125), 2.0, (-124, -124, -124))
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    return LabelMap((np.linalg.norm(world - centre_mm, axis=-1) < radius_mm).astype(np.uint8), grid, {1: "brain"})


def told(study, brain=None, warnings=()):
    return {flag.name: (flag.level, flag.finding) for flag in quality_flags(study, CARD, brain, warnings)}


CARD = load_engine("threshold").card.model_copy(update={"sequences": ("t1c",)})


@pytest.mark.parametrize(
    ("value", "level", "words"),
    [
        ("present", "good", "names a contrast agent"),
        ("absent", "caution", NO_CONTRAST),
        (None, "unknown", "does not say"),
    ],
)
def test_contrast_agent_is_what_the_header_says(value, level, words):
    found = told(study_of(**({} if value is None else {"ContrastBolusAgent": value})))["Contrast agent"]
    assert found[0] == level
    assert words in found[1]


def test_thick_slices_are_a_caution_from_three_millimetres_on():
    assert told(study_of())["Slices"] == ("good", "Slices are 3.0 mm apart.")
    level, finding = told(study_of(Grid((40, 40, 30), np.diag([4.0, 4.0, 5.0, 1.0]))))["Slices"]
    assert (level, finding[:31]) == ("caution", "The slices are 5.0 mm apart: le")
    thick = "The slices are 5.0 mm thick, though 3.0 mm apart: small lesions are blurred."
    assert told(study_of(SliceThickness="5"))["Slices"] == ("caution", thick)
    assert told(study_of(SliceThickness="3"))["Slices"][0] == "good"


def test_the_modality_is_the_headers_or_doubted_where_it_was_forced():
    assert told(study_of(Modality="MR"))["Modality"] == ("good", "The header says MR, which the model is for.")
    assert told(study_of())["Modality"][1].startswith("No header tells the modality")
    forced = OVERRIDDEN + "its header says modality CT."
    assert told(study_of(Modality="CT"), warnings=("Else.", forced))["Modality"] == ("caution", forced)


@pytest.mark.parametrize(
    ("centre", "where"),
    # The image reaches from -100.75 to 99.25 mm, from -113.75 to 111.25 and from -91.5 to 88.5.
    [((0, 0, 0), None), ((60, 0, 0), "right"), ((-60, 0, 0), "left"), ((0, 60, 0), "front"), ((0, -60, 0), "back"),
     ((0, 0, 40), "top"), ((0, 0, -40), "bottom"), ((0, 0, 17.5), None)],
)  # fmt: skip
def test_a_brain_that_is_cut_is_told_with_where(centre, where):
    level, finding = told(study_of(), brain_at(centre))["Coverage"]
    if where is None:
        assert (level, finding) == ("good", "The brain lies inside the image.")
        return
    assert level == "caution"
    assert f"at the {where} (" in finding
    depth = {"right": 30.75, "left": 29.25, "front": 18.75, "back": 16.25, "top": 21.5, "bottom": 18.5}[where]
    depth += 1.5 if where in {"top", "bottom"} else 1.25  # the middle of the outermost slice
    across = np.pi * (70**2 - (70 - depth) ** 2) / 100  # cm²
    assert float(finding.split("(")[1].split(" ")[0]) == pytest.approx(across, rel=0.05)


def test_coverage_is_not_known_without_a_brain_and_doubtful_with_an_empty_one():
    assert told(study_of())["Coverage"][0] == "unknown"
    empty = brain_at((0, 0, 0), 0.0)
    assert told(study_of(), replace(empty))["Coverage"] == ("caution", "The model recognised no brain.")
