"""Dice with the focal loss: voxels that are right already count little."""

import torch
from torch import Tensor, nn

from metseg.training.patch_losses.overlap import overlap
from metseg.training.patch_losses.patches import Channels, Patches

_LEAST = 1e-7  # of 1 − p: powers below 1 have no slope at 0


def focal_terms(log_p: Tensor, gamma: float) -> Tensor:
    """−(1 − p)^γ log p, from log p (Lin et al. 2017, "Focal loss for dense object detection", ICCV).

    From the log of a probability, and nothing is squashed twice: a sigmoid of probabilities lies between 0.5 and 0.73,
    so that what is missed would cost as much as what is right.
    """
    return -((-torch.expm1(log_p)).clamp(min=_LEAST) ** gamma) * log_p


class DiceFocalLoss(nn.Module):
    """1 − mean Dice of the channels + mean focal loss of the voxels.

    With γ = 0 it is nnU-Net's loss + 1, where that takes Dice over the batch.
    """

    def __init__(self, channels: Channels, gamma: float = 2.0) -> None:
        super().__init__()
        self.channels, self.gamma = channels, gamma

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of (n, c, …) logits; for the target see ``Patches.of``."""
        patches = Patches.of(logits, target, self.channels)
        focal = patches.mean(focal_terms(patches.log_p_true, self.gamma))
        return 1 - overlap(*patches.foreground()).mean() + focal
