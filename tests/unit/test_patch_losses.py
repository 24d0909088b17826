"""Losses that may take the place of nnU-Net's: by hand, against its own, at extremes, for small lesions and large."""

import math

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the train extra)")

from metseg.training.patch_losses.blob import BlobLoss, blob_terms  # noqa: E402
from metseg.training.patch_losses.by_name import make_loss  # noqa: E402
from metseg.training.patch_losses.focal import DiceFocalLoss, focal_terms  # noqa: E402
from metseg.training.patch_losses.overlap import overlap  # noqa: E402
from metseg.training.patch_losses.patches import Channels, Patches  # noqa: E402
from metseg.training.patch_losses.size_weighted import SizeWeightedDiceLoss, alike  # noqa: E402
from metseg.training.patch_losses.tversky import TverskyLoss  # noqa: E402
from metseg.training.patch_losses.unified_focal import UnifiedFocalLoss  # noqa: E402

NAMES = ("dice+focal", "tversky", "unified-focal", "blob", "size-weighted-dice")
LABELS, REGIONS = Channels(regions=False, lesion=(1,)), Channels(regions=True, lesion=(0,))
SHAPE = (6, 7, 9)


def usual(channels):
    """What stands for nnU-Net's loss where that is not at hand: Dice + cross-entropy; a test holds it against that."""
    return DiceFocalLoss(channels, gamma=0.0)


class Constant(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, _logits, _target):
        return torch.tensor(self.value)


def loss(name, channels):
    return make_loss(name, channels, usual(channels))


def batch(channels, seed=3, samples=2):
    """Logits and the target of two patches with lesions of 2 and of 24 voxels, and oedema (label 2)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(samples, 1, *SHAPE, dtype=torch.int16)
    labels[0, 0, 1, 1, 1:3] = 1
    labels[1, 0, 2:4, 2:5, 3:7] = 1
    labels[1, 0, 2:4, 2:5, 7] = 2
    if not channels.regions:
        return torch.randn(samples, 3, *SHAPE, generator=generator), labels
    target = torch.cat([labels == 1, labels > 0], 1)
    return torch.randn(samples, 2, *SHAPE, generator=generator), target


def right(channels, target, sure=1.0):
    """Logits of a network that is right, more or less sure."""
    if channels.regions:
        return torch.where(target[:, :2], sure, -sure)
    return sure * torch.nn.functional.one_hot(target[:, 0].long(), 3).movedim(-1, 1).float()


# The focal term


def test_a_missed_voxel_costs_far_more_than_a_right_one():
    """A sigmoid of probabilities, which the term of an earlier project took, makes the two cost nearly the same."""
    logits = torch.tensor([4.0, -4.0])  # of a voxel of lesion: found, missed
    found, missed = focal_terms(torch.nn.functional.logsigmoid(logits), 2.0)
    assert missed / found > 1e5
    twice = torch.sigmoid(torch.sigmoid(logits))
    wrong = -((1 - twice) ** 2) * twice.log()
    assert wrong[1] / wrong[0] < 10


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_the_focal_term_is_its_closed_form(gamma):
    p = torch.tensor([0.01, 0.3, 0.5, 0.9, 0.999], dtype=torch.float64)
    assert torch.allclose(focal_terms(p.log(), gamma), -((1 - p) ** gamma) * p.log(), rtol=1e-12)


def test_the_focal_term_with_gamma_0_is_cross_entropy():
    logits, target = batch(LABELS)
    patches = Patches.of(logits, target, LABELS)
    entropy = torch.nn.functional.cross_entropy(logits, target[:, 0].long())
    assert torch.allclose(patches.mean(focal_terms(patches.log_p_true, 0.0)), entropy)
    logits, target = batch(REGIONS)
    patches = Patches.of(logits, target, REGIONS)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, target.float())
    assert torch.allclose(patches.mean(focal_terms(patches.log_p_true, 0.0)), entropy)


@pytest.mark.parametrize(("regions", "ignored"), [(False, False), (False, True), (True, False)])
def test_with_gamma_0_it_is_nnunets_own_loss(regions, ignored):
    """Regions with an ignore label are left out: there nnU-Net sums the cross-entropy over regions."""
    compound = pytest.importorskip("nnunetv2.training.loss.compound_losses", reason="nnunetv2 is not installed")
    dice = pytest.importorskip("nnunetv2.training.loss.dice").MemoryEfficientSoftDiceLoss
    options = {"batch_dice": True, "smooth": 1e-5, "do_bg": regions, "ddp": False}
    channels = Channels(regions=regions, lesion=(1,), ignore=3 if ignored else None)
    logits, target = batch(channels)
    if regions:
        own = compound.DC_and_BCE_loss({}, options, dice_class=dice)
    else:
        own = compound.DC_and_CE_loss(options, {}, ignore_label=channels.ignore, dice_class=dice)
        if ignored:
            target[torch.rand(target.shape) < 0.2] = 3
    assert own(logits, target).item() + 1 == pytest.approx(usual(channels)(logits, target).item(), abs=1e-6)


# By hand: four voxels of two patches, a region; probabilities of lesion 0.8, 0.4 where it is, 0.1, 0.2 where not


def four():
    p = torch.tensor([0.8, 0.4, 0.1, 0.2], dtype=torch.float64)
    target = torch.tensor([True, True, False, False])
    return torch.logit(p).reshape(2, 1, 1, 2), target.reshape(2, 1, 1, 2)


ONE = Channels(regions=True, lesion=(0,))
TP, FP, FN = 1.2, 0.3, 0.8


def test_dice_and_focal_by_hand():
    focal = (0.2**2 * math.log(1 / 0.8) + 0.6**2 * math.log(1 / 0.4) + 0.1**2 * math.log(1 / 0.9)
             + 0.2**2 * math.log(1 / 0.8)) / 4  # fmt: skip
    assert DiceFocalLoss(ONE)(*four()).item() == pytest.approx(1 - 2 * TP / (2 * TP + FP + FN) + focal, abs=1e-5)


def test_tversky_by_hand():
    assert TverskyLoss(ONE)(*four()).item() == pytest.approx(1 - TP / (TP + 0.3 * FP + 0.7 * FN), abs=1e-5)


def test_unified_focal_by_hand():
    voxels = (0.6 * math.log(1 / 0.8) + 0.6 * math.log(1 / 0.4)
              + 0.4 * 0.1**0.5 * math.log(1 / 0.9) + 0.4 * 0.2**0.5 * math.log(1 / 0.8)) / 4  # fmt: skip
    lesion = (1 - TP / (TP + 0.6 * FN + 0.4 * FP)) ** 0.5
    background = 1 - 1.7 / (1.7 + 0.6 * FP + 0.4 * FN)  # what is missed of it is false lesion
    expected = 0.5 * voxels + 0.5 * (lesion + background) / 2
    assert UnifiedFocalLoss(ONE)(*four()).item() == pytest.approx(expected, abs=1e-5)


def test_the_unified_focal_loss_of_two_labels_is_that_of_a_region():
    logits, target = four()
    both = torch.cat([torch.zeros_like(logits), logits], 1)
    softmax, sigmoid = UnifiedFocalLoss(LABELS), UnifiedFocalLoss(ONE)
    assert softmax(both, target.long()).item() == pytest.approx(sigmoid(logits, target).item(), rel=1e-12)


def test_blobs_by_hand():
    """A patch of five voxels: lesion, background, lesion of two, background."""
    p = torch.tensor([0.8, 0.1, 0.4, 0.6, 0.2], dtype=torch.float64)
    lesions = torch.tensor([1, 0, 2, 2, 0])
    entropy = [-math.log(one) for one in (0.8, 0.9, 0.4, 0.6, 0.8)]
    first = 1 - 2 * 0.8 / (0.8 + 0.3 + 1) + (entropy[0] + entropy[1] + entropy[4]) / 3
    second = 1 - 2 * 1.0 / (1.0 + 0.3 + 2) + (sum(entropy) - entropy[0]) / 4
    found = blob_terms(torch.logit(p), lesions, torch.ones(5, dtype=torch.float64))
    assert found.tolist() == pytest.approx([first, second], abs=1e-5)
    blob = BlobLoss(Constant(3.0), ONE)
    whole = blob(torch.logit(p).reshape(1, 1, 1, 5), (lesions > 0).reshape(1, 1, 1, 5))
    assert whole.item() == pytest.approx(2 * 3 + (first + second) / 2, abs=1e-5)


def test_blobs_are_those_of_a_loss_with_the_other_lesions_masked_away():
    """As the paper draws it: one call a lesion, on all voxels that do not lie in another."""
    logits, target = batch(LABELS, samples=2)
    target[1, 0, 0, 0, :2] = 1  # the second
    patches = Patches.of(logits, target, LABELS)
    z, numbers = patches.lesion_logits()[1], patches.lesions[1]
    expected = []
    for number in (1, 2):
        inside = (numbers == number) | (numbers == 0)
        truth = (numbers[inside] == number).float()
        p = z[inside].sigmoid()
        dice = (2 * (p * truth).sum() + 1e-5) / (p.sum() + truth.sum() + 1e-5)
        expected.append(1 - dice + torch.nn.functional.binary_cross_entropy(p, truth))
    found = blob_terms(z, numbers, torch.ones(SHAPE))
    assert torch.allclose(found, torch.stack(expected), atol=1e-5)


def test_weights_by_size_by_hand():
    lesions = torch.zeros(2, 4, 4, 5, dtype=torch.long)
    lesions[0, 0, 0, :2] = 1  # 2 voxels
    lesions[0, 2, :2, :3] = 2  # 6
    lesions[1, :, :, 0] = 1  # 16; the mean is 8
    weights = alike(lesions)
    assert weights[0, 0, 0, 0].item() == pytest.approx(4.0)
    assert weights[0, 2, 0, 0].item() == pytest.approx(8 / 6)
    assert weights[1, 0, 0, 0].item() == pytest.approx(0.5)
    assert weights[1, 0, 0, 1].item() == 1.0
    assert weights.sum().item() == pytest.approx(lesions.numel())


def test_weighted_by_size_by_hand():
    """Lesions of one voxel (p 0.8) and of three (0.4), whose mean is two; two voxels of background (0.1, 0.2)."""
    p = torch.tensor([0.8, 0.1, 0.4, 0.4, 0.4, 0.2], dtype=torch.float64)
    target = torch.tensor([True, False, True, True, True, False])
    hit, false, missed = 2 * 0.8 + 2 / 3 * 1.2, 0.3, 2 * 0.2 + 2 / 3 * 1.8
    entropy = (2 * math.log(1 / 0.8) + 2 / 3 * 3 * math.log(1 / 0.4) + math.log(1 / 0.9) + math.log(1 / 0.8)) / 6
    found = SizeWeightedDiceLoss(ONE)(torch.logit(p).reshape(1, 1, 1, 6), target.reshape(1, 1, 1, 6))
    assert found.item() == pytest.approx(1 - 2 * hit / (2 * hit + false + missed) + entropy, abs=1e-5)


def test_with_lesions_alike_weighted_by_size_is_the_plain_loss():
    logits, target = batch(LABELS)
    target[0] = target[1].roll(1, -2)
    assert SizeWeightedDiceLoss(LABELS)(logits, target).item() == pytest.approx(usual(LABELS)(logits, target).item())


# Small lesions and large ones


def costs_of_missing(judge):
    """What a loss says more where a lesion of 2 voxels is missed, and where one of 48 is, in patches of 768."""
    target = torch.zeros(2, 1, 8, 8, 12, dtype=torch.bool)
    target[0, 0, 1, 1, 1:3] = True
    target[1, 0, 2:6, 2:5, 3:7] = True
    known = torch.where(target, 8.0, -8.0)
    missed = [known.clone(), known.clone()]
    missed[0][0], missed[1][1] = -8.0, -8.0
    return [(judge(one, target) - judge(known, target)).item() for one in missed]


def test_a_small_lesion_counts_by_its_size_or_like_a_large_one():
    """A 24th as many voxels: by Dice and cross-entropy (8 a voxel) about a 24th, by weights of size the same."""
    small, large = costs_of_missing(usual(ONE))
    assert (small, large) == (
        pytest.approx(0.02 + 2 * 8 / 1536, abs=2e-3),
        pytest.approx(0.92 + 48 * 8 / 1536, abs=5e-3),
    )
    small, large = costs_of_missing(SizeWeightedDiceLoss(ONE))
    # half the weight of all lesions is missed: Dice 2/3; 25 of 1536 voxels' weight
    assert (small, large) == (pytest.approx(1 / 3 + 25 * 8 / 1536, abs=5e-3), pytest.approx(small, abs=5e-3))


def test_blobs_cost_the_same_whatever_their_size_but_for_the_entropy():
    small, large = costs_of_missing(BlobLoss(Constant(0.0), ONE))
    # each is half of the mean: Dice 0, and 2 or 48 voxels of 768 with an entropy of 8
    assert small == pytest.approx((1 + 2 * 8 / 768) / 2, abs=0.08)
    assert large == pytest.approx((1 + 48 * 8 / 768) / 2, abs=0.08)


@pytest.mark.parametrize("name", ["tversky", "unified-focal", "dice+focal"])
def test_by_the_others_a_small_lesion_is_less(name):
    small, large = costs_of_missing(loss(name, ONE))
    assert 0 < small < 0.2 * large


def test_a_missed_voxel_costs_more_than_a_false_one_by_tversky():
    target = torch.zeros(1, 1, 1, 20, dtype=torch.bool)
    target[..., :10] = True
    missed, false = torch.where(target, 9.0, -9.0), torch.where(target, 9.0, -9.0)
    missed[..., 9], false[..., 10] = -9.0, 9.0
    tversky = TverskyLoss(ONE)
    assert tversky(missed, target).item() == pytest.approx(1 - 9 / 9.7, abs=1e-3)
    assert tversky(false, target).item() == pytest.approx(1 - 10 / 10.3, abs=1e-3)


# Laws of all


@pytest.mark.parametrize("channels", [LABELS, REGIONS], ids=["labels", "regions"])
@pytest.mark.parametrize("name", NAMES)
def test_it_falls_as_the_prediction_gets_better(name, channels):
    _, target = batch(channels)
    values = [loss(name, channels)(right(channels, target, sure), target).item() for sure in (-6, -2, 0, 1, 3, 6, 12)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.01
    assert values[0] > 0.99


@pytest.mark.parametrize("channels", [LABELS, REGIONS], ids=["labels", "regions"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("empty", [False, True])
def test_gradients_are_finite(name, channels, scale, empty):
    logits, target = batch(channels)
    target = torch.zeros_like(target) if empty else target
    for start in (scale * logits, scale * right(channels, target), -scale * right(channels, target)):
        given = start.clone().requires_grad_()
        value = loss(name, channels)(given, target)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(given.grad).all()


@pytest.mark.parametrize("channels", [LABELS, REGIONS], ids=["labels", "regions"])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_differences(name, channels):
    logits, target = batch(channels)
    given = logits[..., :4, 2:5].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(name, channels)(x, target[..., :4, 2:5]), given, fast_mode=True)


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_what_nobody_looked_at_does_not_count(name, regions):
    channels = Channels(regions=regions, lesion=(0,) if regions else (1,), ignore=3)
    logits, target = batch(channels)
    if regions:
        hidden = torch.zeros_like(target[:, :1])
        hidden[:, :, 3:] = True
        target = torch.cat([target, hidden], 1)
    else:
        target[:, :, 3:] = 3
    other = logits.clone()
    other[:, :, 3:] = torch.randn(other[:, :, 3:].shape)
    value = loss(name, channels)(logits, target)
    assert value.item() == loss(name, channels)(other, target).item()
    shown = Channels(regions=regions, lesion=channels.lesion)
    cut = target[:, :2, :3] if regions else target[:, :, :3]
    assert value.item() == pytest.approx(loss(name, shown)(logits[:, :, :3], cut).item(), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_summed_in_single(name):
    logits, target = batch(LABELS)
    value = loss(name, LABELS)(logits.half(), target)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(name, LABELS)(logits, target).item(), rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_slices_are_as_volumes_of_one_slice(name):
    logits, target = batch(LABELS)
    flat, deep = logits[:, :, 2], logits[:, :, 2:3]
    value = loss(name, LABELS)(flat, target[:, :, 2])
    assert value.item() == pytest.approx(loss(name, LABELS)(deep, target[:, :, 2:3]).item(), rel=1e-6)


def test_which_lesion_a_label_makes_is_the_recipes_word():
    logits, target = batch(LABELS)
    assert [int(one.max()) for one in Patches.of(logits, target, LABELS).lesions] == [1, 1]
    both = Patches.of(logits, target, Channels(regions=False, lesion=(1, 2)))
    assert int((both.lesions[1] > 0).sum()) == 30
    odds = torch.log_softmax(logits, 1)[:, 1:].logsumexp(1)
    assert torch.allclose(torch.nn.functional.logsigmoid(both.lesion_logits()), odds, atol=1e-6)


def test_dice_of_what_does_not_overlap_is_nothing():
    p = torch.tensor([1.0, 0.0]).reshape(1, 1, 2)
    assert overlap(p, 1 - p).item() == pytest.approx(0, abs=1e-4)
    assert overlap(p, p).item() == 1


def test_the_usual_loss_is_nnunets_own():
    own = torch.nn.Identity()
    assert make_loss("dice+ce", LABELS, own) is own
