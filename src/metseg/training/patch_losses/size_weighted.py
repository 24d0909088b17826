"""Dice and cross-entropy in which each lesion weighs alike, however small."""

import math

import torch
from torch import Tensor, nn

from metseg.training.losses import lesion_weights
from metseg.training.patch_losses.overlap import overlap
from metseg.training.patch_losses.patches import Channels, Patches


class SizeWeightedDiceLoss(nn.Module):
    """1 − mean Dice of the channels + cross-entropy; a voxel of a lesion counts (mean volume / its lesion's volume).

    Weights by the inverse of the volume are those of Shirokikh et al. 2020, "Universal loss reweighting to balance
    lesion size inequality in 3D medical image segmentation", MICCAI. Theirs make all of the background one component
    more; here its voxels keep the weight 1, and so do all lesions together: false voxels cost what they cost in plain
    Dice, and of lesions alike in size the loss is the plain one. Volumes are those in the patch, means of the batch.
    """

    def __init__(self, channels: Channels) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of (n, c, …) logits; for the target see ``Patches.of``."""
        patches = Patches.of(logits, target, self.channels)
        weight = alike(patches.lesions).unsqueeze(1)
        return 1 - overlap(*patches.foreground(), weight=weight).mean() + patches.mean(-weight * patches.log_p_true)


def alike(lesions: Tensor) -> Tensor:
    """Weights of voxels (n, …) by which each lesion of a batch has the same sum, and all have as much as voxels."""
    inside = lesions > 0
    count = sum(int(one.max()) for one in lesions)
    own = lesion_weights(lesions, volume=float(inside.sum()) / max(count, 1), power=1.0, limits=(0.0, math.inf))
    return torch.where(inside, own, 1.0)
