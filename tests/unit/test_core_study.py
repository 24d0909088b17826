import numpy as np
import pytest

from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.core.study import Study
from metseg.core.volume import Volume


def test_a_stack_follows_the_order_asked_for(make_volume):
    t1c, t2f = make_volume(seed=1, dtype="int16"), make_volume(seed=2)
    study = Study("case", {"t2f": t2f, "t1c": t1c})
    stack = study.stack(["t1c", "t2f"])
    assert stack.dtype == np.float32
    np.testing.assert_array_equal(stack, [t1c.array, t2f.array])
    np.testing.assert_array_equal(study.stack(["t2f"]), [t2f.array])


def test_a_stack_of_what_is_missing_is_an_input_error(oblique_volume):
    with pytest.raises(InputError, match="Study case lacks t1n, t2w; it has t1c") as error:
        Study("case", {"t1c": oblique_volume}).stack(["t1n", "t1c", "t2w"])
    assert "missing sequence" in error.value.hint


@pytest.mark.parametrize(
    ("names", "message"),
    [((), "no image"), (("t1c", "flair"), r"unknown sequences \['flair'\]"), (("ct", "t1c"), "mixes CT with MR")],
)
def test_which_images_make_a_study(names, message, oblique_volume):
    with pytest.raises(InputError, match=message):
        Study("case", dict.fromkeys(names, oblique_volume))


@pytest.mark.parametrize(("name", "modality"), [("ct", "CT"), ("t1n", "MR")])
def test_modality(name, modality, oblique_volume):
    assert Study("case", {name: oblique_volume}).modality == modality


def test_images_must_lie_on_one_grid(oblique_volume):
    affine = oblique_volume.grid.affine.copy()
    affine[1, 3] += 0.5
    moved = Volume(oblique_volume.array, Grid(oblique_volume.grid.shape, affine))
    with pytest.raises(InputError, match="different grids") as error:
        Study("case", {"t1c": oblique_volume, "t2f": moved})
    assert "resample" in error.value.hint


def test_images_may_differ_by_rounding(oblique_volume):
    affine = oblique_volume.grid.affine + np.array([[0, 0, 0, 5e-4]] + [[0, 0, 0, 0]] * 3)
    nearly = Volume(oblique_volume.array, Grid(oblique_volume.grid.shape, affine))
    assert Study("case", {"t1c": oblique_volume, "t2f": nearly}).grid is oblique_volume.grid


def test_a_study_keeps_its_own_images(oblique_volume):
    images = {"t1c": oblique_volume}
    study = Study("case", images)
    images["t2f"] = oblique_volume
    assert list(study.images) == ["t1c"]
    with pytest.raises(TypeError):
        study.images["t2f"] = oblique_volume
