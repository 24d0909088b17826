"""The unified focal loss, asymmetric: background that is right already counts little, lesions all the more."""

import torch
from torch import Tensor, nn

from metseg.training.patch_losses.focal import focal_terms
from metseg.training.patch_losses.overlap import overlap
from metseg.training.patch_losses.patches import Channels, Patches

_LEAST = 1e-7  # of 1 − overlap: its root has no slope at 0


class UnifiedFocalLoss(nn.Module):
    """λ × asymmetric focal loss + (1 − λ) × asymmetric focal Tversky loss, with λ = 0.5, δ = 0.6, γ = 0.5.

    Yeung et al. 2022, "Unified Focal loss: Generalising Dice and cross entropy-based losses to handle class imbalanced
    medical image segmentation", Computerized Medical Imaging and Graphics 95. Voxels: −δ log p of a foreground voxel,
    −(1 − δ)(1 − p)^γ log p of one of background. Overlap: Tversky's index with weight δ for missed and 1 − δ for false
    voxels, (1 − index)^(1 − γ) of a channel of foreground and 1 − index of background; their mean.
    """

    def __init__(self, channels: Channels, balance: float = 0.5, delta: float = 0.6, gamma: float = 0.5) -> None:
        super().__init__()
        self.channels, self.balance, self.delta, self.gamma = channels, balance, delta, gamma

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of (n, c, …) logits; for the target see ``Patches.of``."""
        patches = Patches.of(logits, target, self.channels)
        return self.balance * self._voxels(patches) + (1 - self.balance) * self._overlaps(patches)

    def _voxels(self, patches: Patches) -> Tensor:
        log_p = patches.log_p_true
        positive = patches.truth if self.channels.regions else patches.truth[:, 1:].sum(1, keepdim=True)
        background = (1 - self.delta) * focal_terms(log_p, self.gamma)
        return patches.mean(torch.where(positive > 0, -self.delta * log_p, background))

    def _overlaps(self, patches: Patches) -> Tensor:
        weights = 1 - self.delta, self.delta
        missing = (1 - overlap(*patches.foreground(), *weights)).clamp(min=_LEAST) ** (1 - self.gamma)
        return torch.cat([1 - overlap(*patches.background(), *weights), missing]).mean()
