"""How far what a network says and what is true overlap."""

import torch
from torch import Tensor

_SMOOTH = 0.5e-5  # nnU-Net's 1e-5, of which Dice counts half


def overlap(
    p: Tensor,
    truth: Tensor,
    false_positive: float = 0.5,
    false_negative: float = 0.5,
    weight: Tensor | None = None,
) -> Tensor:
    """Tversky's index of each channel (c,) over the whole batch; with halves it is soft Dice.

    Sadegh Mohseni Salehi et al. 2017, "Tversky loss function for image segmentation using 3D fully convolutional deep
    networks", MLMI: TP / (TP + α FP + β FN). Over a batch, since a patch without lesions has no overlap to speak of.

    Args:
        p: probabilities (n, c, …).
        truth: 0 and 1 (n, c, …).
        false_positive: α.
        false_negative: β.
        weight: of voxels (n, 1, …); None: all alike.
    """
    weight = torch.ones_like(p[:, :1]) if weight is None else weight
    axes = (0, *range(2, p.ndim))
    right = (weight * p * truth).sum(axes)
    extra = (weight * p * (1 - truth)).sum(axes)
    missed = (weight * (1 - p) * truth).sum(axes)
    return (right + _SMOOTH) / (right + false_positive * extra + false_negative * missed + _SMOOTH)
