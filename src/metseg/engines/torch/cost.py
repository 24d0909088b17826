"""What a network costs: its weights, and the arithmetic of one pass, counted while it runs."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from metseg.engines.nnunet.stage import Stage
from metseg.engines.nnunet.unet_weights import Weights
from metseg.engines.torch.unet import build_unet


@dataclass(frozen=True)
class Cost:
    """Of one network.

    Args:
        parameters: that it needs in use; the heads of lower resolutions, which training alone needs, are not counted.
        flops: of one window: two for each multiplication of a convolution, transposed ones too; nothing else counts.
    """

    parameters: int
    flops: int


def network_cost(stage: Stage, weights: Weights) -> Cost:
    """Count what one fold's network of a stage costs in a window of the stage's size. Nothing is computed.

    Args:
        stage: whose network.
        weights: of one fold.

    Raises:
        ModelError: the weights are not of this network.
    """
    network = build_unet(stage.network, weights).to("meta")
    window = torch.empty(1, stage.network.channels, *stage.window, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(window)
    return Cost(sum(one.numel() for one in network.parameters()), counter.get_total_flops())
