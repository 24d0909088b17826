"""Blob loss: each lesion is judged by itself, as if there were no others."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from metseg.training.patch_losses.patches import Channels, Patches

_WHOLE, _BLOBS = 2.0, 1.0  # α and β of the paper, which leaves them to the user; the values are ours
_SMOOTH = 1e-5


class BlobLoss(nn.Module):
    """2 × a loss of the whole + Dice and cross-entropy of each lesion by itself, averaged over a patch's lesions.

    Kofler et al. 2023, "blob loss: instance imbalance aware loss functions for semantic segmentation", IPMI. What lies
    in other lesions does not count for one; all of the background does, for each. Which of a lesion's labels a voxel
    has is left to the loss of the whole.

    Args:
        whole: nnU-Net's Dice and cross-entropy, of the same batch.
        channels: what the outputs mean.
    """

    def __init__(self, whole: nn.Module, channels: Channels) -> None:
        super().__init__()
        self.whole, self.channels = whole, channels

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of (n, c, …) logits; for the target see ``Patches.of``. Patches without lesions have no blobs."""
        patches = Patches.of(logits, target, self.channels)
        samples = zip(patches.lesion_logits(), patches.lesions, patches.known[:, 0], strict=True)
        blobs = [blob_terms(*one).mean() for one in samples if one[1].any()]
        whole: Tensor = _WHOLE * self.whole(logits, target)
        return whole + _BLOBS * torch.stack(blobs).mean() if blobs else whole


def blob_terms(logits: Tensor, lesions: Tensor, known: Tensor) -> Tensor:
    """1 − Dice + cross-entropy of each lesion (its number − 1) and all background.

    The sums of each lesion and of the background are taken once, however many lesions there are.

    Args:
        logits: of lesion (…).
        lesions: their numbers (…), from 1.
        known: 0 where nobody looked, else 1 (…).
    """
    places, p = lesions.flatten(), logits.sigmoid()
    entropy = functional.binary_cross_entropy_with_logits(logits, (lesions > 0).to(logits.dtype), reduction="none")

    def sums(values: Tensor) -> Tensor:
        """Over the background, then over each lesion."""
        return values.new_zeros(int(places.max()) + 1).index_add(0, places, (values * known).flatten())

    says, costs, voxels = sums(p), sums(entropy), sums(torch.ones_like(p))
    dice = (2 * says[1:] + _SMOOTH) / (says[1:] + says[0] + voxels[1:] + _SMOOTH)
    return 1 - dice + (costs[1:] + costs[0]) / (voxels[1:] + voxels[0])
