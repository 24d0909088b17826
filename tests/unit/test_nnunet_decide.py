"""Labels on the image's grid, against logits that were resampled to it one and all."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from metseg.engines.nnunet import decide
from metseg.engines.nnunet.decide import decided, decided_on
from metseg.engines.nnunet.prepare import Normalisation
from metseg.engines.nnunet.resample import Resampling, resample_image
from metseg.engines.nnunet.stage import NnunetModel, Stage
from metseg.engines.nnunet.unet_arguments import UNetArguments

GRIDS = [
    ((12, 17, 20), (31, 24, 41), None),
    ((12, 17, 20), (7, 17, 13), None),  # fewer, as many and fewer
    ((6, 17, 20), (19, 30, 33), 0),
    ((12, 17, 20), (12, 17, 20), None),
    ((12, 1, 20), (25, 4, 20), None),
]


def model_of(outputs, *, regions=False):
    values = tuple(range(outputs)) if not regions else tuple(range(1, outputs + 1))
    network = UNetArguments(
        channels=1, outputs=outputs, encoder="plain", features=(2,), kernels=((3, 3, 3),), strides=((1, 1, 1),),
        depth=(1,), decoder_depth=(1,),
    )  # fmt: skip
    stage = Stage(
        name="3d_fullres", weights=("a",), network=network, spacing_mm=(1.0,) * 3, window=(8, 8, 8),
        normalisation=(Normalisation(scheme="none"),),
    )  # fmt: skip
    return NnunetModel(stages=(stage,), labels=values, regions=regions, foreground=(1,))


def logits_of(outputs, shape, width, seed=0):
    rng = np.random.default_rng(seed)
    fields = np.stack([gaussian_filter(rng.normal(size=shape), width) for _ in range(outputs)])
    return (fields / fields.std()).astype(np.float32)


@pytest.mark.parametrize("share", [0.0, 1.0], ids=["all computed", "picked"])
@pytest.mark.parametrize(("shape", "target", "slow"), GRIDS)
@pytest.mark.parametrize(("outputs", "regions"), [(2, False), (4, False), (3, True), (9, True)])
def test_labels_are_those_of_resampled_logits(shape, target, slow, outputs, regions, share, monkeypatch):
    monkeypatch.setattr(decide, "_MANY", share)
    monkeypatch.setattr(decide, "_SLAB_VOXELS", 5 * target[1] * target[2])
    model, logits = model_of(outputs, regions=regions), logits_of(outputs, shape, 2)
    how = Resampling(order=1)
    whole = resample_image(logits, target, how, slow)
    found = decided_on(logits, target, how, slow, model)
    margins = np.abs(whole).min(axis=0) if regions else np.diff(np.sort(whole, axis=0)[-2:], axis=0)[0]
    clear = margins > 1e-5
    assert clear.mean() > 0.99
    assert len(np.unique(found)) > 1
    np.testing.assert_array_equal(found[clear], decided(whole, model)[clear])


def test_a_spline_that_overshoots_is_computed_everywhere():
    model, logits = model_of(2), logits_of(2, (8, 9, 10), 0.7)
    how = Resampling(order=3)
    found = decided_on(logits, (19, 20, 21), how, None, model)
    np.testing.assert_array_equal(found, decided(resample_image(logits, (19, 20, 21), how, None), model))


def test_what_is_one_label_all_over_stays_so():
    logits = np.zeros((3, 4, 5, 6), dtype=np.float32)
    logits[2] = 1
    found = decided_on(logits, (9, 9, 9), Resampling(order=1), None, model_of(3))
    assert found.shape == (9, 9, 9)
    assert (found == 2).all()


def test_regions_are_drawn_one_over_the_other():
    logits = np.array([[1, 1, -1, -1], [1, 0, 1, -1]], dtype=np.float32).reshape(2, 4, 1, 1)
    regions = model_of(2, regions=True).model_copy(update={"labels": (2, 3)})
    assert decided(logits, regions).ravel().tolist() == [3, 2, 3, 0]
    assert decided_on(logits, (4, 1, 1), Resampling(order=1), None, regions).ravel().tolist() == [3, 2, 3, 0]
    assert decided(logits, model_of(2)).ravel().tolist() == [0, 0, 1, 0]
