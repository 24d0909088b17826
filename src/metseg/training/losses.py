"""Losses for few, small lesions in much brain."""

import torch
from torch import Tensor
from torch.nn import functional


def soft_dice_loss(probability: Tensor, target: Tensor, smooth: float = 10.0) -> Tensor:
    """1 − soft Dice over the whole batch, squared denominators (Milletari et al. 2016, "V-Net")."""
    overlap = (probability * target).sum()
    return 1 - (2 * overlap + smooth) / ((probability**2).sum() + (target**2).sum() + smooth)


def scene_loss(logits: Tensor, instances: Tensor, background_weight: float = 1.0) -> Tensor:
    """Soft Dice + cross-entropy of each scene by itself, then their mean: one of small lesions counts like another.

    Over a whole batch a lesion of 40 mm outweighs five hundred of 5 mm. A voxel of background counts
    ``background_weight``, one of a lesion (1000 voxels / its volume)^0.5, 1 to 6; the cross-entropy of a scene is
    divided by the weight of its lesions and a fiftieth of the background's. A scene without lesions has no Dice.

    Args:
        logits: (n, i, j, k).
        instances: (n, i, j, k), lesion numbers.
        background_weight: a young model needs about a hundredth, or it calls everything background for hundreds of
            steps; a grown one 1, or it calls too much.
    """
    target = (instances > 0).float()
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    weights = lesion_weights(instances, volume=1000, power=0.5, limits=(1.0, 6.0))
    terms = []
    for scene, e, w, t in zip(logits, entropy, weights, target, strict=True):
        background = 1 - t
        term = (e * (w + background_weight * background)).sum() / (w + 0.02 * background).sum()
        terms.append(term + soft_dice_loss(scene.sigmoid(), t) if t.any() else term)
    return torch.stack(terms).mean()


def lesion_weights(
    instances: Tensor, volume: float = 500.0, power: float = 0.35, limits: tuple[float, float] = (0.3, 4.0)
) -> Tensor:
    """Weights (same shape) that let small lesions count: (``volume`` / their volume)^``power``; 0 elsewhere.

    Args:
        instances: whole numbers, 0 for background, one number a lesion in each sample (n, i, j, k).
        volume: voxels of the lesion that weighs 1.
        power: 0 weighs voxels alike, 1 lesions.
        limits: of the weights.
    """
    weights = torch.zeros(instances.shape, device=instances.device)
    for sample, own in zip(instances, weights, strict=True):
        volumes = torch.bincount(sample.flatten().long()).float()
        per_lesion = (volume / volumes.clamp(min=1)).pow(power).clamp(*limits)
        per_lesion[0] = 0
        own.copy_(per_lesion[sample.long()])
    return weights


def lesion_loss(logits: Tensor, instances: Tensor, *, balanced: bool) -> Tensor:
    """Soft Dice + cross-entropy.

    Args:
        logits: (n, i, j, k).
        instances: (n, i, j, k), lesion numbers.
        balanced: average the cross-entropy of lesions and of background apart. A young model needs that, or it calls
            everything background; but it also says "lesion" of what is one in fifty times. Otherwise a voxel is a
            voxel, and the sum is divided by the lesions' weight and a fiftieth of the background's, so that a false
            lesion costs about as much as a missed one.
    """
    target = (instances > 0).float()
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    weights, background = lesion_weights(instances), 1 - target
    if balanced:
        entropy = (
            0.5 * (entropy * weights).sum() / weights.sum().clamp(min=1)
            + (entropy * background).sum() / background.sum()
        )
    else:
        weights = weights.clamp(min=1) * target
        entropy = (entropy * (weights + background)).sum() / (weights + 0.02 * background).sum()
    return soft_dice_loss(logits.sigmoid(), target) + entropy


def brain_loss(logits: Tensor, brain: Tensor) -> Tensor:
    """Cross-entropy + soft Dice for the inside of the skull: (n, i, j, k) both."""
    target = brain.float()
    return functional.binary_cross_entropy_with_logits(logits, target) + soft_dice_loss(logits.sigmoid(), target)
