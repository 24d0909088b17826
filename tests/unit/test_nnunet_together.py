"""Labels that several models decide on together, against the mean of their full-size probabilities."""

import numpy as np
import pytest

from metseg.engines.nnunet import decide
from metseg.engines.nnunet.decide import decided, decided_on
from metseg.engines.nnunet.ensemble import Member, decided_together, mean_shares, shares
from metseg.engines.nnunet.resample import Resampling, resample_image
from unit.test_nnunet_decide import logits_of, model_of

LINEAR, CUBIC = Resampling(order=1), Resampling(order=3)
TARGET = (19, 30, 23)
SETS = {
    "two grids": [((12, 17, 20), LINEAR, None), ((7, 30, 23), LINEAR, None)],
    "one is 2d": [((12, 17, 20), LINEAR, None), ((19, 15, 12), LINEAR, 0)],
    "one is cubic": [((12, 17, 20), LINEAR, None), ((9, 14, 11), CUBIC, None)],
    "three": [((12, 17, 20), LINEAR, None), ((19, 30, 23), LINEAR, None), ((6, 12, 40), LINEAR, 0)],
}


def members_of(shapes, outputs):
    return [Member(3 * logits_of(outputs, shape, 2, seed), how, slow) for seed, (shape, how, slow) in enumerate(shapes)]


@pytest.mark.parametrize("shapes", SETS.values(), ids=SETS)
@pytest.mark.parametrize(("outputs", "regions"), [(2, False), (4, False), (3, True)])
def test_the_mean_of_full_size_probabilities_decides(shapes, outputs, regions, monkeypatch):
    monkeypatch.setattr(decide, "_SLAB_VOXELS", 5 * TARGET[1] * TARGET[2])
    model, members = model_of(outputs, regions=regions), members_of(shapes, outputs)
    whole = [shares(resample_image(it.logits, TARGET, it.how, it.slow), regions=regions) for it in members]
    mean = np.mean(whole, axis=0)
    expected = decided(mean - 0.5 if regions else mean, model)
    margins = np.abs(mean - 0.5).min(axis=0) if regions else np.diff(np.sort(mean, axis=0)[-2:], axis=0)[0]
    clear = margins > 1e-5
    assert clear.mean() > 0.99
    found = decided_together(members, TARGET, model)
    np.testing.assert_array_equal(found[clear], expected[clear])
    alone = decided_on(members[0].logits, TARGET, members[0].how, members[0].slow, model)
    assert (alone != expected).mean() > 0.05  # no member decides by itself


def test_probabilities_are_told_on_the_first_members_grid():
    model, members = model_of(3), members_of(SETS["two grids"], 3)
    mean = mean_shares(members, model)
    assert mean.shape == members[0].logits.shape
    np.testing.assert_allclose(mean.sum(axis=0), 1, atol=1e-5)
    second = resample_image(shares(members[1].logits, regions=False), (12, 17, 20), LINEAR, None)
    np.testing.assert_allclose(mean, (shares(members[0].logits, regions=False) + second) / 2, atol=1e-6)
