"""Attention U-Net in the sizes that nnU-Net's plans give.

Oktay et al. 2018, "Attention U-Net: Learning where to look for the pancreas". Before a skip connection x joins the
decoder, additive attention weighs its voxels by what the coarser level g of the decoder has seen:

    a = sigmoid(psi(relu(theta(x) + phi(g)))),    x' = x · a

theta is a convolution whose kernel and stride are the stage's stride, so that it meets g voxel by voxel, also where
axes are not lowered alike; phi and psi are convolutions of one voxel. There are as many features in between as x has.
The weights a have one channel on the grid of g, and come back to that of x by linear interpolation, as in the paper.
Voxels are seen as cells (half-pixel centres, ``align_corners=False``), which OpenVINO computes alike (``linear_onnx``).

Differences from the paper: all skip connections have a gate, the finest too; the gate has no convolution after it,
since the decoder's own comes next; deep supervision, strides and kernels are nnU-Net's. MONAI's AttentionUnet has one
kernel for all stages and normalises by batches alone, so that plans cannot size it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from metseg.networks.unet_layers import Axes, Decoder, Layers, PlannedUNet, Sizes, Stacked

_LINEAR = {2: "bilinear", 3: "trilinear"}


class AttentionGate(nn.Module):
    """Weighs each voxel of a skip connection.

    Args:
        layers: kinds of them.
        features: of the skip connection.
        coarse: features of the gating signal.
        stride: from the skip connection's grid to the gating signal's.
    """

    def __init__(self, layers: Layers, features: int, coarse: int, stride: Axes) -> None:
        super().__init__()
        self.theta = layers.conv(features, features, stride, stride, bias=False)
        self.phi = layers.head(coarse, features)
        self.psi = layers.head(features, 1)

    def forward(self, skip: Tensor, gating: Tensor) -> Tensor:
        """(n, features, *axes) and (n, coarse, *axes/stride) to (n, features, *axes)."""
        weights = torch.sigmoid(self.psi(functional.relu(self.theta(skip) + self.phi(gating))))
        axes = skip.shape[2:]
        return skip * functional.interpolate(weights, size=axes, mode=_LINEAR[len(axes)], align_corners=False)


class AttentionDecoder(Decoder):
    """A U-Net's decoder, with a gate for each skip connection."""

    def __init__(self, layers: Layers, sizes: Sizes, *, deep_supervision: bool) -> None:
        super().__init__(layers, sizes, deep_supervision=deep_supervision)
        ones = (1,) * len(sizes.strides[0])
        self.transpconvs, self.gates, self.stages = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for number, level in sizes.up():
            fine, coarse, stride = sizes.features[level], sizes.features[level + 1], sizes.strides[level + 1]
            depth = sizes.decoder_depth[number]
            self.transpconvs.append(layers.upsampling(coarse, fine, stride))
            self.gates.append(AttentionGate(layers, fine, coarse, stride))
            self.stages.append(Stacked(layers, 2 * fine, fine, sizes.kernels[level], ones, depth))

    def features(self, skips: list[Tensor]) -> list[Tensor]:
        """Features of each stage, the coarsest first."""
        features, x = [], skips.pop()
        for upsample, gate, stage in zip(self.transpconvs, self.gates, self.stages, strict=True):
            x = stage(torch.cat([upsample(x), gate(skips.pop(), x)], 1))
            features.append(x)
        return features


class AttentionUNet(PlannedUNet):
    """Attention U-Net; see ``PlannedUNet`` for its arguments."""

    decoder_kind = AttentionDecoder
