"""A U-Net for a CPU: half the resolution inside, all of it at both ends, and nothing that depends on the patch.

Full-resolution 3D convolutions are what costs on a CPU. Here eight neighbouring voxels become eight channels (space to
depth, the reverse of Shi et al. 2016, "Real-time single image and video super-resolution …"), a residual U-Net
(Ronneberger et al. 2015; He et al. 2016) works at half the resolution, and its last layer, which sees those eight
channels again, gives one value to each of the eight voxels. Batch normalisation folds into the convolutions after
training, so that a tile and a whole volume get the same answer wherever the receptive field is covered.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

Norm = Literal["batch", "instance"]


def space_to_depth(x: Tensor) -> Tensor:
    """(n, c, 2i, 2j, 2k) to (n, 8c, i, j, k)."""
    n, c, i, j, k = x.shape
    x = x.reshape(n, c, i // 2, 2, j // 2, 2, k // 2, 2)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, c * 8, i // 2, j // 2, k // 2)


def depth_to_space(x: Tensor) -> Tensor:
    """(n, 8c, i, j, k) to (n, c, 2i, 2j, 2k); undoes ``space_to_depth``."""
    n, c, i, j, k = x.shape
    x = x.reshape(n, c // 8, 2, 2, 2, i, j, k)
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(n, c // 8, i * 2, j * 2, k * 2)


def _conv(inputs: int, outputs: int, norm: Norm, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm3d(outputs, momentum=0.05) if norm == "batch" else nn.InstanceNorm3d(outputs, affine=True),
        nn.ReLU(inplace=True),
    )


class Block(nn.Module):
    """Two convolutions and a way around the second."""

    def __init__(self, inputs: int, outputs: int, norm: Norm, stride: int = 1) -> None:
        super().__init__()
        self.enter = _conv(inputs, outputs, norm, stride)
        self.refine = _conv(outputs, outputs, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, i, j, k) to (n, outputs, i/stride, j/stride, k/stride)."""
        x = self.enter(x)
        return x + self.refine(x)


class CompactUNet(nn.Module):
    """Images (n, channels, i, j, k) to logits (n, outputs, i, j, k); i, j, k divisible by ``multiple``.

    Args:
        channels: image channels.
        outputs: logits a voxel, each for a sigmoid of its own.
        widths: features at 2, 4, 8 … voxels' resolution.
        norm: ``"batch"``, or ``"instance"`` for networks that see whole images only: it adapts to the contrast of each,
            but no two tiles would agree.
    """

    def __init__(
        self,
        channels: int = 1,
        outputs: int = 2,
        widths: Sequence[int] = (32, 48, 96, 160),
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        self.multiple = 2 ** len(widths)
        sizes = [channels * 8, *widths]
        self.down = nn.ModuleList(
            Block(a, b, norm, stride=1 if level == 0 else 2) for level, (a, b) in enumerate(pairwise(sizes))
        )
        self.deepest = _conv(widths[-1], widths[-1], norm)
        self.squeeze = nn.ModuleList(nn.Conv3d(a, b, 1) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(_conv(b, b, norm) for b in widths[-2::-1])
        self.head = nn.Conv3d(widths[0], outputs * 8, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (n, outputs, i, j, k)."""
        x, skips = space_to_depth(image), []
        for block in self.down:
            x = block(x)
            skips.append(x)
        x = skips.pop()
        x = x + self.deepest(x)
        for squeeze, conv in zip(self.squeeze, self.up, strict=True):
            x = functional.interpolate(squeeze(x), scale_factor=2.0, mode="nearest") + skips.pop()
            x = x + conv(x)
        return depth_to_space(self.head(x))
