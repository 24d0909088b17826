"""What a bundle says of one stage of an nnU-Net model: all that its plan decides when it is used."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from metseg.core.options import Options
from metseg.engines.nnunet.prepare import Normalisation
from metseg.engines.nnunet.resample import Resampling
from metseg.engines.nnunet.unet_arguments import UNetArguments
from metseg.preprocess.resample import Millimetres

Axis = Literal[0, 1, 2]
Voxels = Annotated[int, Field(ge=1, le=4096)]


class Stage(Options):
    """One network, all folds of it, and how images are made ready for it.

    Args:
        name: of nnU-Net's configuration: ``3d_fullres``, ``3d_lowres``, ``3d_cascade_fullres``, ``2d``.
        weights: paths in the bundle, a safetensors file for each fold.
        network: what tells it from others.
        spacing_mm: of the images that it is given, along their axes; two where slices stay as they are.
        window: voxels along each axis of the network's input; two where it sees one slice at a time.
        normalisation: of each channel.
        image_resampling: of the images.
        label_resampling: of the labels of the stage before.
        logit_resampling: of the result.
        mirror_axes: of the network's input, along which the training allows mirroring.
    """

    name: str
    weights: Annotated[tuple[str, ...], Field(min_length=1)]
    network: UNetArguments
    spacing_mm: Annotated[tuple[Millimetres, ...], Field(min_length=2, max_length=3)]
    window: Annotated[tuple[Voxels, ...], Field(min_length=2, max_length=3)]
    normalisation: Annotated[tuple[Normalisation, ...], Field(min_length=1)]
    image_resampling: Resampling | None = Resampling(order=3)
    label_resampling: Resampling | None = Resampling(order=1)
    logit_resampling: Resampling | None = Resampling(order=1)
    mirror_axes: tuple[Axis, ...] = ()

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        dimensions = {len(self.window), len(self.spacing_mm), len(self.network.strides[0])}
        if len(dimensions) != 1:
            raise ValueError("window, spacing_mm and the network's strides have different numbers of axes")
        if any(axis >= len(self.window) for axis in self.mirror_axes):
            raise ValueError("mirror_axes name an axis that the network's input does not have")
        return self


class NnunetModel(Options):
    """An nnU-Net model: its stages, the coarse one of a cascade first.

    Args:
        stages: one, or two for a cascade.
        axes: order of the axes in which the stages work: ``(2, 1, 0)`` is nnU-Net's (k, j, i) of an image (i, j, k).
        canonical: images are first turned to RAS+, as nnU-Net's reader "NibabelIOWithReorient" does.
        labels: values of the segmentation, by output: of the softmax from 0 (background) on, or of each region in the
            order in which they are drawn, a later one over an earlier one.
        regions: whether outputs are regions, each with a sigmoid.
        foreground: values of the labels that a stage hands on to the next, in the order of its channels.
    """

    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=2)]
    axes: tuple[Axis, Axis, Axis] = (2, 1, 0)
    canonical: bool = False
    labels: tuple[Annotated[int, Field(ge=0, le=255)], ...]
    regions: bool = False
    foreground: tuple[Annotated[int, Field(ge=1, le=255)], ...]

    @model_validator(mode="after")
    def _stages_agree(self) -> Self:
        channels = len(self.stages[0].normalisation)
        for number, stage in enumerate(self.stages):
            handed_on = len(self.foreground) if number else 0
            if stage.network.channels != channels + handed_on or len(stage.normalisation) != channels:
                raise ValueError(f"the network of stage {stage.name} takes {stage.network.channels} channels, "
                                 f"but gets {channels} images and {handed_on} labels")  # fmt: skip
            if stage.network.outputs != len(self.labels):
                raise ValueError(f"the network of stage {stage.name} has {stage.network.outputs} outputs "
                                 f"for {len(self.labels)} labels")  # fmt: skip
        if sorted(self.axes) != [0, 1, 2]:
            raise ValueError("axes must name each axis once")
        return self

    def decides_with(self, other: "NnunetModel") -> bool:
        """Whether the outputs of both mean the same, of images that are given to them in the same way."""
        own, its = ((it.labels, it.regions, it.axes, it.canonical) for it in (self, other))
        return own == its and len(self.stages[0].normalisation) == len(other.stages[0].normalisation)
