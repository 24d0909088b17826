"""Which windows are mirrored, and which are run at all."""

import numpy as np
import pytest

from metseg.engines.mirroring import mirroring_rounds, mirrorings
from metseg.engines.nnunet.look_again import Sight, undecided, unsettled
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


def mean_by_hand(folds, mirrored, sets):
    """Each pass counts by the window's importance; the windows ``mirrored`` have further passes."""
    bell = importance(WINDOW).astype(np.float64)
    channels = scan((3, 4, 20))
    total, weight = np.zeros((2, 8, 8, 24)), np.zeros((8, 8, 24))
    for fold in folds:
        for place in windows((8, 8, 24), WINDOW):
            for axes in [(), *sets] if place in mirrored else [()]:
                some = tuple(axis + 1 for axis in axes)
                part = channels[(slice(None), *place)]
                logits = np.flip(fold(np.flip(part, some)), some)
                total[(slice(None), *place)] += logits * bell
                weight[place] += bell
    return total / weight


def test_only_windows_that_see_a_doubt_are_mirrored_and_once_where_that_changes_nothing(folds):
    places = list(windows((8, 8, 24), WINDOW))
    channels = scan((3, 4, 20))
    found = run(folds, channels, "gated")
    assert [fold.passes for fold in folds] == [5 + 1] * 2
    last = [place for place in places if place[2] == slice(16, 24)]
    np.testing.assert_allclose(found, mean_by_hand(folds, last, [(0, 1, 2)]), rtol=1e-5, atol=1e-4)


def test_where_all_is_sure_nothing_is_mirrored(folds):
    sure = scan()
    np.testing.assert_array_equal(run(folds, sure, "gated"), run(folds, sure, "none"))
    assert [fold.passes for fold in folds] == [5 + 5] * 2


class Scripted:
    """A network that is sure of background but where the image is bright: there it says what it is told for each way
    of mirroring, which it knows by three ramps beside the image. Counts its passes by where the window began.

    Args:
        said: foreground's logit by the axes mirrored; by start of the window along k, where that is a mapping.
    """

    def __init__(self, said):
        self.said, self.passes = said, []

    def __call__(self, image):
        axes = tuple(axis for axis in range(3) if np.diff(image[axis + 1], axis=axis).max() < 0)
        start = int(image[3].min())
        self.passes.append(start)
        said = self.said.get(start, self.said)
        value = np.where(image[0] > 0, np.float32(said[axes]), np.float32(-20))
        return np.stack([np.zeros_like(value), value])


ALL = dict.fromkeys(mirrorings((0, 1, 2)), 1.0)
TURNS_ONCE = {**ALL, (0, 1, 2): -3.0, (0,): -1.0, (1, 2): -1.0}
TURNS_TWICE = {**ALL, (0, 1, 2): -3.0, (0,): 3.0, (1, 2): 3.0}


def scripted(said, bright, mirroring="gated", shape=(8, 8, 24)):
    """Logits of foreground, and in how many passes each window was seen, by its start along k."""
    network = NETWORK.model_copy(update={"channels": 4})
    stage = STAGE.model_copy(update={"network": network, "normalisation": STAGE.normalisation * 4})
    image = np.full(shape, -1.0)
    for k in bright:
        image[2:6, 2:6, k] = 1
    one = Scripted(said)
    channels = np.stack([image, *np.indices(shape)]).astype(np.float32)
    found = run([one], channels, mirroring, stage)
    return found[1], {start: one.passes.count(start) for start in sorted(set(one.passes))}


@pytest.mark.parametrize(("said", "passes", "mean"), [(ALL, 2, 1), (TURNS_ONCE, 4, -1), (TURNS_TWICE, 8, 1)])
def test_a_lesion_is_mirrored_again_until_that_changes_nothing(said, passes, mean):
    found, counts = scripted(said, range(19, 22))
    assert counts == {0: 1, 4: 1, 8: 1, 12: 1, 16: passes}
    # Beyond the last window but one its passes alone count.
    np.testing.assert_allclose(found[2:6, 2:6, 20:22], mean, rtol=1e-5)


def test_with_every_pass_a_window_is_as_thorough_has_it():
    found, _ = scripted(TURNS_TWICE, range(20, 22))
    exact, counts = scripted(TURNS_TWICE, range(20, 22), "all")
    assert set(counts.values()) == {8}
    np.testing.assert_allclose(found[..., 20:], exact[..., 20:], rtol=1e-5)


def test_only_lesions_that_changed_are_looked_at_again():
    steady, turning = {**ALL}, {**TURNS_TWICE}
    _, counts = scripted({0: steady, 4: steady, 8: steady, 12: turning, 16: turning}, [2, 3, 20, 21])
    assert counts == {0: 2, 4: 1, 8: 1, 12: 1, 16: 8}


def test_each_round_doubles_the_passes_and_opposites_go_together():
    rounds = mirroring_rounds((0, 1, 2))
    assert [len(some) for some in rounds] == [1, 2, 4]
    assert sorted(axes for some in rounds for axes in some) == sorted(mirrorings((0, 1, 2))[1:])
    assert rounds[0] == [(0, 1, 2)]
    for some in rounds[1:]:
        for one, other in zip(some[::2], some[1::2]):
            assert sorted(one + other) == [0, 1, 2]
    assert mirroring_rounds((0, 2)) == [[(0, 2)], [(0,), (2,)]]
    assert mirroring_rounds((1,)) == [[(1,)]]
    assert mirroring_rounds(()) == []


def test_a_lesion_is_unsettled_where_more_than_a_tenth_of_it_changed():
    before = np.zeros((9, 14, 30), dtype=np.uint8)
    before[1:5, 1:6, 1:6] = 1  # of 100 voxels
    before[1:5, 1:6, 10:15] = 1  # another
    before[1:3, 9:11, 9:11] = 2  # one that will be gone
    before[6:8, 9:11, 20:25] = 2  # one that becomes another label
    after = before.copy()
    after[1, 1:3, 1:6] = 0  # 10 of 100
    after[1, 1:3, 10:15], after[5, 1, 10] = 0, 1  # 11 of 101
    after[before == 2] = 0
    after[6:8, 9:11, 20:25] = 1
    after[8, 0, 0] = 1  # one that is new
    expected = np.zeros(before.shape, dtype=bool)
    expected[1:5, 1:6, 10:15] = expected[5, 1, 10] = True
    expected[1:3, 9:11, 9:11] = expected[6:8, 9:11, 20:25] = expected[8, 0, 0] = True
    np.testing.assert_array_equal(unsettled(before, after), expected)
    assert not unsettled(before, before).any()
    assert not unsettled(before * 0, before * 0).any()


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
    assert len(passes) == 5 + 1
    np.testing.assert_allclose(found[1], channels[0], rtol=1e-5)


def test_regions_are_gated_by_their_own_odds(folds):
    channels = scan((3, 4, 20))
    run(folds, channels, "gated", regions=True)
    # The first output is 0 all over: as a region it is in doubt everywhere.
    assert [fold.passes for fold in folds] == [5 + 5] * 2


def test_doubt_is_where_no_label_is_nearly_certain():
    odds = np.array([-10, -2.1, 0, 2.1, 10], dtype=np.float32).reshape(5, 1, 1)
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
        chosen = Sight(shape, places, bell).fewest(voxels)
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
    (only,) = Sight(voxels.shape, list(windows(voxels.shape, WINDOW)), importance(WINDOW)).fewest(voxels)
    assert only[2] == slice(16, 24)


def mirrored_windows(channels, known, mirroring, folds):
    """The logits, and for each fold where mirrored windows start, with their passes: a second channel tells where."""
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
    assert [len(set(one)) for one in starts] == [5, 5]
    return found, *({start: one.count(start) for start in set(one) if one.count(start) > 1} for one in starts)


@pytest.mark.parametrize("mirroring", ["none", "gated"])
@pytest.mark.parametrize("voxels", [[20], [2, 21], [10], []])
def test_windows_that_see_a_known_lesion_are_mirrored_and_no_others(folds, mirroring, voxels):
    channels = scan()
    known = np.zeros(channels.shape[1:], dtype=bool)
    known[3, 4, voxels] = True
    places = list(windows((8, 8, 24), WINDOW))
    expected = [place[2].start for place in Sight((8, 8, 24), places, importance(WINDOW)).fewest(known)]
    found, *mirrored = mirrored_windows(channels, known, mirroring, folds)
    assert mirrored == [dict.fromkeys(expected, 8)] * 2
    assert len(expected) == len(voxels)
    plain, *_ = mirrored_windows(channels, None, mirroring, folds)
    far = np.ones(24, dtype=bool)
    for start in expected:
        far[start : start + 8] = False
    assert np.array_equal(found[..., far], plain[..., far])
    assert np.array_equal(found, plain) == (not voxels)


@pytest.mark.parametrize(("place", "passes"), [(3, {0: 8, 16: 2}), (20, {16: 8})])
def test_what_is_known_has_all_passes_and_is_not_looked_at_for_a_doubt_too(folds, place, passes):
    channels = scan((3, 4, 20))
    known = np.zeros(channels.shape[1:], dtype=bool)
    known[4, 4, place] = True
    _, first, second = mirrored_windows(channels, known, "gated", folds)
    assert first == second == passes
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
