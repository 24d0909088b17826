"""U-Net++ in the sizes that nnU-Net's plans give.

Zhou et al. 2018, "UNet++: A nested U-Net architecture for medical image segmentation", and 2020, "UNet++: Redesigning
skip connections to exploit multiscale features in image segmentation". Between the encoder's stage i and the decoder's
lie nodes X(i, j): each sees all nodes before it in its row, and the one below and before it, brought up to its
resolution:

    X(i, j) = H([X(i, 0), …, X(i, j-1), U(X(i+1, j-1))])

X(i, 0) is the encoder's stage, U a transposed convolution, H as many convolutions as the plan gives the decoder there.

Deep supervision differs from the paper's. There the heads see X(0, 1), …, X(0, L), all at full resolution, so that the
network can be pruned afterwards. nnU-Net's trainer hands down targets of each resolution, the finest weighted most:
here the heads see the last node of each row, X(i, L-i), which are where a U-Net's decoder has its heads. Thus nnU-Net
trains it unmodified, with the loss that PlainConvUNet gets, and a comparison of both is one of architectures. The nodes
in between learn through those that see them; a pruned network would have no head.

Other differences: resolution is lowered by strided convolutions and kernels are the plan's, as in nnU-Net. MONAI's
BasicUNetPlusPlus has five resolutions, each half the one above along all axes, so that plans for slices of another
thickness cannot size it.
"""

import torch
from torch import Tensor, nn

from metseg.networks.unet_layers import Decoder, Layers, PlannedUNet, Sizes, Stacked


class NestedDecoder(Decoder):
    """Rows of nodes: ``stages.R.J`` is X(L-1-R, J+1), and ``transpconvs.R.J`` what brings its deeper input up to it."""

    def __init__(self, layers: Layers, sizes: Sizes, *, deep_supervision: bool) -> None:
        super().__init__(layers, sizes, deep_supervision=deep_supervision)
        ones = (1,) * len(sizes.strides[0])
        self.transpconvs, self.stages = nn.ModuleList(), nn.ModuleList()
        for row, level in sizes.up():
            fine, coarse = sizes.features[level], sizes.features[level + 1]
            stride, kernel, depth = sizes.strides[level + 1], sizes.kernels[level], sizes.decoder_depth[row]
            nodes = range(row + 1)
            self.transpconvs.append(nn.ModuleList(layers.upsampling(coarse, fine, stride) for _ in nodes))
            self.stages.append(
                nn.ModuleList(Stacked(layers, (node + 2) * fine, fine, kernel, ones, depth) for node in nodes)
            )

    def features(self, skips: list[Tensor]) -> list[Tensor]:
        """The last node of each row, the coarsest first."""
        last, below = [], [skips.pop()]
        for upsamplings, nodes in zip(self.transpconvs, self.stages, strict=True):
            row = [skips.pop()]
            for deeper, upsample, node in zip(below, upsamplings, nodes, strict=True):
                row.append(node(torch.cat([*row, upsample(deeper)], 1)))
            last.append(row[-1])
            below = row
        return last


class UNetPlusPlus(PlannedUNet):
    """U-Net++; see ``PlannedUNet`` for its arguments."""

    decoder_kind = NestedDecoder
