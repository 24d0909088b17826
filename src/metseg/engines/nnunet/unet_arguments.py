"""What tells one of the networks that nnU-Net trains from another."""

from typing import Annotated, Literal

from pydantic import Field

from metseg.core.options import Options

Axes = tuple[Annotated[int, Field(ge=1, le=64)], ...]


class UNetArguments(Options):
    """A network that nnU-Net trained.

    Args:
        channels: of the input.
        outputs: of the last layer.
        encoder: ``"plain"``, or ``"residual"`` for ResidualEncoderUNet.
        decoder: ``"plain"``, ``"nested"`` for U-Net++, or ``"attention"`` for Attention U-Net.
        features: of each stage, from the finest on.
        kernels: of each stage, along each axis.
        strides: by which each stage lowers its resolution; the first is 1.
        depth: convolutions (plain) or blocks (residual) of each stage of the encoder.
        decoder_depth: convolutions of each stage of the decoder, from the coarsest on; of each node, if nested.
        epsilon: that the normalisation adds to the variance.
        slope: of the rectifier below 0.
    """

    channels: Annotated[int, Field(ge=1, le=64)]
    outputs: Annotated[int, Field(ge=1, le=256)]
    encoder: Literal["plain", "residual"]
    decoder: Literal["plain", "nested", "attention"] = "plain"
    features: tuple[Annotated[int, Field(ge=1, le=4096)], ...]
    kernels: tuple[Axes, ...]
    strides: tuple[Axes, ...]
    depth: tuple[Annotated[int, Field(ge=1, le=64)], ...]
    decoder_depth: tuple[Annotated[int, Field(ge=1, le=64)], ...]
    epsilon: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    slope: Annotated[float, Field(ge=0, lt=1)] = 0.01
