"""Losses for few, small lesions in much brain."""

import torch
from torch import Tensor
from torch.nn import functional


def soft_dice_loss(probability: Tensor, target: Tensor, smooth: float = 10.0) -> Tensor:
    """1 − soft Dice over the whole batch, squared denominators (Milletari et al. 2016, "V-Net")."""
    overlap = (probability * target).sum()
    return 1 - (2 * overlap + smooth) / ((probability**2).sum() + (target**2).sum() + smooth)


def lesion_weights(instances: Tensor, power: float, limit: float) -> Tensor:
    """Weights (same shape) that let small lesions count: a lesion's voxels weigh (mean volume / its volume)^power.

    Args:
        instances: whole numbers, 0 for background, one number a lesion in each sample (n, i, j, k).
        power: 0 weighs voxels alike, 1 weighs lesions alike.
        limit: largest weight.
    """
    weights = torch.zeros(instances.shape, device=instances.device)
    for sample, own in zip(instances, weights, strict=True):
        volumes = torch.bincount(sample.flatten().long()).float()
        if volumes[1:].sum() > 0:
            per_lesion = (500.0 / volumes.clamp(min=1)).pow(power).clamp(0.3, limit)
            per_lesion[0] = 0
            own.copy_(per_lesion[sample.long()])
    return weights


def lesion_loss(logits: Tensor, instances: Tensor, hard_share: float) -> Tensor:
    """Soft Dice + cross-entropy whose positives and negatives are averaged apart, + the hardest negatives.

    Args:
        logits: (n, i, j, k).
        instances: (n, i, j, k), lesion numbers.
        hard_share: weight of the hardest negatives; start with 0, raise it when the model has begun to learn.
    """
    target = (instances > 0).float()
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    weights = lesion_weights(instances, power=0.35, limit=4.0)
    negative = entropy * (1 - target)
    loss = soft_dice_loss(logits.sigmoid(), target) + negative.sum() / (1 - target).sum()
    if weights.sum() > 0:
        loss = loss + 0.5 * (entropy * weights).sum() / weights.sum()
    if hard_share > 0:
        count = max(int(target.sum()), 500)
        loss = loss + hard_share * negative.flatten().topk(min(count, negative.numel())).values.mean()
    return loss


def brain_loss(logits: Tensor, brain: Tensor) -> Tensor:
    """Cross-entropy + soft Dice for the inside of the skull: (n, i, j, k) both."""
    target = brain.float()
    return functional.binary_cross_entropy_with_logits(logits, target) + soft_dice_loss(logits.sigmoid(), target)
