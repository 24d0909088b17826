"""The loss that a recipe names."""

from torch import nn

from metseg.training.patch_losses.blob import BlobLoss
from metseg.training.patch_losses.focal import DiceFocalLoss
from metseg.training.patch_losses.names import Loss
from metseg.training.patch_losses.patches import Channels
from metseg.training.patch_losses.size_weighted import SizeWeightedDiceLoss
from metseg.training.patch_losses.tversky import TverskyLoss
from metseg.training.patch_losses.unified_focal import UnifiedFocalLoss


def make_loss(name: Loss, channels: Channels, usual: nn.Module) -> nn.Module:
    """A loss of logits (n, c, …) and target.

    Args:
        name: of the loss.
        channels: what the outputs mean.
        usual: nnU-Net's own, for ``"dice+ce"`` and as a part of ``"blob"``.
    """
    match name:
        case "dice+ce":
            return usual
        case "dice+focal":
            return DiceFocalLoss(channels)
        case "tversky":
            return TverskyLoss(channels)
        case "unified-focal":
            return UnifiedFocalLoss(channels)
        case "blob":
            return BlobLoss(usual, channels)
        case "size-weighted-dice":
            return SizeWeightedDiceLoss(channels)
