"""Which windows are mirrored, and which are run at all."""

import numpy as np
import pytest

from metseg.engines.mirroring import mirrorings
from metseg.engines.nnunet.look_again import undecided, windows_that_see
from metseg.engines.nnunet.predictor import HostSums, Passes, predict_logits
from metseg.engines.nnunet.prepare import Normalisation
from metseg.engines.nnunet.stage import Stage
from metseg.engines.nnunet.unet_arguments import UNetArguments
from metseg.engines.nnunet.windows import importance, windows

WINDOW = (8, 8, 8)
NETWORK = UNetArguments(
    channels=1, outputs=2, encoder="plain", features=(2, 4), kernels=((3, 3, 3),) * 2, strides=((1, 1, 1), (2, 2, 2)),
    depth=(1, 1), decoder_depth=(1,),
)  # fmt: skip
STAGE = Stage(
    name="3d_fullres", weights=("a", "b"), network=NETWORK, spacing_mm=(1.0,) * 3, window=WINDOW,
    normalisation=(Normalisation(scheme="none"),), mirror_axes=(0, 1, 2),
)  # fmt: skip


class Lopsided:
    """A network: foreground as sure as the image is bright, more so to its upper end. Counts its passes."""

    def __init__(self, gain):
        self.gain = np.float32(gain)
        self.passes = 0

    def __call__(self, image):
        self.passes += 1
        slope = np.linspace(0.5, 1.5, image.shape[1], dtype=np.float32)[:, None, None]
        return np.stack([np.zeros(image.shape[1:], np.float32), self.gain * image[0] * slope])


@pytest.fixture
def folds():
    return [Lopsided(1), Lopsided(3)]


def run(folds, channels, mirroring, stage=STAGE, **how):
    stage = stage.model_copy(update={"weights": tuple(map(str, range(len(folds))))})
    networks = [lambda one=one: one for one in folds]
    return predict_logits(
        stage, channels, lambda image: HostSums(stage, image, networks), passes=Passes(mirroring), **how
    )


def scan(bright=None, shape=(8, 8, 24)):
    """Sure background, with some noise; sure of nothing at one voxel."""
    image = np.random.default_rng(0).normal(-20, 1, (1, *shape)).astype(np.float32)
    if bright is not None:
        image[(0, *bright)] = 1
    return image


def mean_by_hand(folds, mirrored):
    """Each pass counts by the window's importance."""
    bell = importance(WINDOW).astype(np.float64)
    channels = scan((3, 4, 20))
    total, weight = np.zeros((2, 8, 8, 24)), np.zeros((8, 8, 24))
    for fold in folds:
        for place in windows((8, 8, 24), WINDOW):
            for axes in mirrorings((0, 1, 2)) if place in mirrored else [()]:
                some = tuple(axis + 1 for axis in axes)
                part = channels[(slice(None), *place)]
                logits = np.flip(fold(np.flip(part, some)), some)
                total[(slice(None), *place)] += logits * bell
                weight[place] += bell
    return total / weight


def test_only_windows_that_see_a_doubt_are_mirrored(folds):
    places = list(windows((8, 8, 24), WINDOW))
    channels = scan((3, 4, 20))
    found = run(folds, channels, "gated")
    assert [fold.passes for fold in folds] == [5 + 7] * 2
    last = [place for place in places if place[2] == slice(16, 24)]
    np.testing.assert_allclose(found, mean_by_hand(folds, last), rtol=1e-5, atol=1e-4)


def test_where_all_is_sure_nothing_is_mirrored_and_where_nothing_is_all_windows_are(folds):
    sure = scan()
    plain = run(folds, sure, "none")
    np.testing.assert_array_equal(run(folds, sure, "gated"), plain)
    vague = np.random.default_rng(1).normal(0, 0.1, (1, 8, 8, 24)).astype(np.float32)
    exact = run(folds, vague, "all")
    gated = run(folds, vague, "gated")
    np.testing.assert_allclose(gated, exact, atol=1e-6)
    assert np.abs(exact - run(folds, vague, "none")).max() > 0.01


def test_windows_of_nothing_but_air_cost_one_pass_a_fold(folds):
    air = np.full((1, 8, 8, 40), -20, dtype=np.float32)
    some = air.copy()
    some[0, 3, 3, 38] = 5
    found = run(folds, some, "none")
    assert [fold.passes for fold in folds] == [2, 2]
    slope = np.linspace(0.5, 1.5, 8)[:, None, None]
    np.testing.assert_allclose(found[1], 2 * slope * some[0], rtol=1e-5)


def test_the_order_of_the_folds_does_not_matter():
    def steady(image):
        return np.stack([np.zeros(image.shape[1:], np.float32), np.full(image.shape[1:], 9, np.float32)])

    def turned(image):  # sure of background in mirrored passes, in doubt in plain ones
        value = 0 if image[0, 0, 0, 0] < image[0, -1, 0, 0] else -8
        return np.stack([np.zeros(image.shape[1:], np.float32), np.full(image.shape[1:], value, np.float32)])

    ramp = np.arange(8, dtype=np.float32).reshape(1, 8, 1, 1) + np.zeros((1, 8, 8, 8), np.float32)
    stage = STAGE.model_copy(update={"mirror_axes": (0,)})
    one, other = (run(order, ramp, "gated", stage) for order in ([steady, turned], [turned, steady]))
    np.testing.assert_allclose(one, other, atol=1e-6)
    plain, exact = (run([turned, steady], ramp, how, stage)[1] for how in ("none", "all"))
    np.testing.assert_allclose(plain, 4.5, rtol=1e-6)
    np.testing.assert_allclose(exact, 2.5, rtol=1e-6)
    np.testing.assert_allclose(one[1], 4.5, rtol=1e-6)  # no doubt: all as in plain passes


def test_slices_are_gated_by_themselves():
    network = NETWORK.model_copy(update={"kernels": ((3, 3),) * 2, "strides": ((1, 1), (2, 2))})
    flat = Stage(
        name="2d", weights=("a",), network=network, spacing_mm=(1.0,) * 2, window=(8, 8),
        normalisation=(Normalisation(scheme="none"),), mirror_axes=(0, 1),
    )  # fmt: skip
    passes = []

    def network_of_slices(image):
        passes.append(image.copy())
        return np.stack([np.zeros(image.shape[1:], np.float32), image[0]])

    channels = np.random.default_rng(0).normal(-20, 1, (1, 5, 8, 8)).astype(np.float32)
    channels[0, 2, 4, 4] = 0.5
    found = run([network_of_slices], channels, "gated", flat)
    assert len(passes) == 5 + 3
    np.testing.assert_allclose(found[1], channels[0], rtol=1e-5)


def test_regions_are_gated_by_their_own_odds(folds):
    channels = scan((3, 4, 20))
    run(folds, channels, "gated", regions=True)
    # The first output is 0 all over: as a region it is in doubt everywhere.
    assert [fold.passes for fold in folds] == [5 + 5 * 7] * 2


def test_doubt_is_where_no_label_is_nearly_certain():
    odds = np.array([-10, -3.8, 0, 3.8, 10], dtype=np.float32).reshape(5, 1, 1)
    weights = np.linspace(0.1, 9, 5, dtype=np.float32).reshape(5, 1, 1)
    sure, doubt = [False, True, True, True, False], [False, True, True, True, True]
    labels = np.stack([np.zeros_like(odds), odds, np.full_like(odds, -50)]) * weights
    assert undecided(labels, weights, regions=False).ravel().tolist() == sure
    assert undecided((odds * weights)[np.newaxis], weights, regions=True).ravel().tolist() == sure
    # Lesion for sure, but which of two labels?
    both = np.stack([np.zeros_like(odds), odds, odds + 0.1]) * weights
    assert undecided(both, weights, regions=False).ravel().tolist() == doubt


@pytest.mark.parametrize("shape", [(20, 13, 9), (8, 8, 8), (9, 30, 8)])
def test_every_voxel_lies_well_inside_one_of_the_chosen_windows(shape):
    rng = np.random.default_rng(2)
    places, bell = list(windows(shape, WINDOW)), importance(WINDOW)
    for share in (0.0, 0.001, 0.05, 1.0):
        voxels = rng.random(shape) < share
        chosen = windows_that_see(voxels, places, bell)
        best, own = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        for place in places:
            np.maximum(best[place], bell, out=best[place])
        for place in chosen:
            np.maximum(own[place], bell, out=own[place])
        assert (own[voxels] >= 0.5 * best[voxels]).all()
        assert bool(chosen) == voxels.any()


def test_one_window_is_enough_for_what_lies_in_its_middle():
    voxels = np.zeros((8, 8, 40), dtype=bool)
    voxels[4, 4, 18:22] = True
    (only,) = windows_that_see(voxels, list(windows(voxels.shape, WINDOW)), importance(WINDOW))
    assert only[2] == slice(16, 24)


def mirrored_windows(channels, known, mirroring, folds):
    """The logits, and where the mirrored windows of each fold start: a second channel tells where one lies."""
    starts = [[], []]

    def spy(number):
        def infer(image):
            starts[number].append(int(image[1].min()))
            return folds[number](image[:1])

        return infer

    counted = np.concatenate([channels, np.arange(channels.size, dtype=np.float32).reshape(channels.shape)])
    network = NETWORK.model_copy(update={"channels": 2})
    stage = STAGE.model_copy(update={"network": network, "normalisation": STAGE.normalisation * 2})
    found = run([spy(0), spy(1)], counted, mirroring, stage, known=known)
    again = [sorted(start for start in set(one) if one.count(start) == 8) for one in starts]
    assert [len(one) for one in starts] == [5 + 7 * len(mirrored) for mirrored in again]
    return found, *again


@pytest.mark.parametrize("mirroring", ["none", "gated"])
@pytest.mark.parametrize("voxels", [[20], [2, 21], [10], []])
def test_windows_that_see_a_known_lesion_are_mirrored_and_no_others(folds, mirroring, voxels):
    channels = scan()
    known = np.zeros(channels.shape[1:], dtype=bool)
    known[3, 4, voxels] = True
    places = list(windows((8, 8, 24), WINDOW))
    expected = [place[2].start for place in windows_that_see(known, places, importance(WINDOW))]
    found, *mirrored = mirrored_windows(channels, known, mirroring, folds)
    assert mirrored == [sorted(expected)] * 2
    assert len(expected) == len(voxels)
    plain, *_ = mirrored_windows(channels, None, mirroring, folds)
    far = np.ones(24, dtype=bool)
    for start in expected:
        far[start : start + 8] = False
    assert np.array_equal(found[..., far], plain[..., far])
    assert np.array_equal(found, plain) == (not voxels)


def test_what_is_known_and_what_is_in_doubt_are_seen_together(folds):
    channels = scan((3, 4, 20))
    known = np.zeros(channels.shape[1:], dtype=bool)
    known[4, 4, 3] = True
    assert [fold.passes for fold in folds] == [0, 0]
    _, first, second = mirrored_windows(channels, known, "gated", folds)
    assert first == second == [0, 16]
    exact = run(folds, channels, "all")
    assert np.array_equal(run(folds, channels, "all", known=known), exact)


def test_what_is_known_moves_with_the_padding():
    seen = []

    def infer(image):
        seen.append(image.copy())
        return np.stack([np.full(image.shape[1:], 20, np.float32), np.zeros(image.shape[1:], np.float32)])

    rng = np.random.default_rng(4)
    known = np.zeros((5, 6, 14), dtype=bool)
    known[0, 0, 0] = True
    one = STAGE.model_copy(update={"weights": ("a",), "mirror_axes": (1,)})
    image = rng.normal(size=(1, 5, 6, 14)).astype(np.float32)
    run([infer], image, "none", one, known=known)
    assert len(seen) == 4
    assert np.array_equal(seen[3], seen[0][:, :, ::-1])  # the first of three windows, mirrored
