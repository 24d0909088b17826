"""What stands in a bundle's ``model.json``."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from metseg.core.options import Options
from metseg.core.study import Modality
from metseg.engines.base import Calibration, Mode, OperatingPoint, Probability, SkullStripped
from metseg.engines.nnunet.stage import NnunetModel
from metseg.preprocess.clahe import Clahe
from metseg.preprocess.normalise import NormaliseWindow
from metseg.preprocess.resample import Millimetres, Resample
from metseg.preprocess.steps import AnyStep, check_order

FORMAT_VERSION: Final = 1
MANIFEST_NAME: Final = "model.json"
NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9._-]{0,63}$"
Sequence = Literal["t1c", "t1n", "t2f", "t2w", "ct"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Voxels = Annotated[int, Field(ge=1, le=2048)]


class MeasuredPoint(OperatingPoint):
    """An operating point and what was measured at it.

    Args:
        sensitivity: share of lesions found; None where not measured.
        fp_per_patient: false components a patient; None where not measured.
        found_by_size: of each size of lesion (``"5–10 mm"``, longest diameter), how many were found, and of how many.
        measured_on: which data.
    """

    sensitivity: Annotated[float, Field(ge=0, le=1)] | None = None
    fp_per_patient: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    found_by_size: Mapping[str, tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]] = {}
    measured_on: str = ""

    @field_validator("found_by_size")
    @classmethod
    def _no_more_found_than_there_were(cls, sizes: Mapping[str, tuple[int, int]]) -> Mapping[str, tuple[int, int]]:
        for label, (found, of) in sizes.items():
            if found > of:
                raise ValueError(f"of {of} lesions of {label}, {found} cannot have been found")
        return sizes


class Architecture(Options):
    """A network by its registered name, and the arguments that rebuild it."""

    name: str
    arguments: Mapping[str, Any] = {}


class BrainRegion(Options):
    """How probabilities of brain become a region: without crumbs, holes filled, widened.

    Args:
        threshold: at or above it a voxel is brain.
        margin_mm: the region reaches so far beyond the brain.
    """

    threshold: Probability = 0.5
    margin_mm: Annotated[float, Field(ge=0, le=50)] = 3.0


class BrainMask(BrainRegion):
    """The region that masks the lesion outputs.

    Args:
        output: name of the brain output.
    """

    output: str = "brain"


class BrainFinder(BrainRegion):
    """A network that finds the brain in a whole head before all else, so that the other sees a stripped brain.

    Args:
        network: its ONNX file: one input (1, 1, i, j, k), one output, the probability of brain.
        preprocessing: ordered steps for the first sequence.
        skull_share: where less than this share of the 10 mm around the brain is foreground, the skull is off
            already, and nothing is taken away.
    """

    network: str = "brain.onnx"
    preprocessing: tuple[AnyStep, ...]
    margin_mm: Annotated[float, Field(ge=0, le=50)] = 2.0
    skull_share: Probability = 0.4


class Tiling(Options):
    """How volumes too large for one pass are cut.

    Args:
        max_voxels: of the model's grid; up to it a volume goes through in one pass.
        size: of a tile in voxels, context included.
        margin: voxels of context on each side that are thrown away; only from the network's receptive field on do
            tiles give exactly what one pass gives.
    """

    max_voxels: Annotated[int, Field(ge=1)] = 320 * 320 * 256
    size: tuple[Voxels, Voxels, Voxels] = (256, 256, 256)
    margin: Annotated[int, Field(ge=0)] = 32

    @model_validator(mode="after")
    def _tiles_have_a_core(self) -> Self:
        if min(self.size) <= 2 * self.margin:
            raise ValueError(f"tiles of {self.size} voxels are all margin ({self.margin} voxels on each side)")
        return self


class BundleManifest(Options):
    """All that a bundle says of itself; the field's names are those of ``model.json``.

    Args:
        format_version: of this layout.
        name: lower case, digits, ``-``, ``_`` and ``.``.
        version: of the model.
        modality: ``"MR"`` or ``"CT"``.
        sequences: the network's input channels, in order.
        spacing_mm: of the model's grid; agrees with a ``resample`` step. None: slices stay as far apart as they are.
        skull_stripped: which studies it takes.
        labels: name of each value of its segmentations; each is an output.
        lesion: values that are part of a lesion.
        outputs: name of each output channel of the network, in order; probabilities (the sigmoid is in the graph).
        brain_mask: None (or false) for no masking; true for the defaults.
        brain_finder: None where the network takes heads as they are.
        architecture: None where nobody needs to rebuild the network.
        preprocessing: ordered steps. Of an nnU-Net model: what is done to images, on their own grid, before it.
        nnunet: what an nnU-Net model does instead of other steps and one network; None for others.
        ensemble: further nnU-Net models; the mean of all their probabilities decides.
        tiling: how large volumes are cut.
        mirror_axes: of the model's grid; each pass is the mean with those of the image mirrored along them, and along
            all of them together (2 passes for one axis, 4 for two).
        thorough_mirror_axes: the same in the mode ``"thorough"``; empty: there it is ``mirror_axes`` too.
        operating_points: by name.
        default_operating_point: one of those.
        calibration: of the lesions' confidence; None: it is the model's own.
        training_data: a sentence each.
        results: measured, by name of the data.
        limits: what it is known to be bad at, a sentence each.
        intended_use: one sentence.
        licence: of the weights, an SPDX name where there is one.
        files: SHA-256 of every file but ``model.json``, by its path in the bundle.
    """

    format_version: Literal[1] = FORMAT_VERSION
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    version: Annotated[str, Field(min_length=1)]
    modality: Modality
    sequences: Annotated[tuple[Sequence, ...], Field(min_length=1)]
    spacing_mm: tuple[Millimetres, Millimetres, Millimetres] | None
    skull_stripped: SkullStripped = "either"
    labels: Annotated[Mapping[Annotated[int, Field(ge=1, le=255)], str], Field(min_length=1)]
    lesion: Annotated[tuple[int, ...], Field(min_length=1)] = (1,)
    outputs: Annotated[tuple[str, ...], Field(min_length=1)]
    brain_mask: BrainMask | None = None
    brain_finder: BrainFinder | None = None
    architecture: Architecture | None = None
    preprocessing: tuple[AnyStep, ...]
    nnunet: NnunetModel | None = None
    ensemble: tuple[NnunetModel, ...] = ()
    tiling: Tiling = Tiling()
    mirror_axes: tuple[Literal[0, 1, 2], ...] = ()
    thorough_mirror_axes: tuple[Literal[0, 1, 2], ...] = ()
    operating_points: Mapping[str, MeasuredPoint]
    default_operating_point: str
    calibration: Calibration | None = None
    training_data: tuple[str, ...] = ()
    results: Mapping[str, Any] = {}
    limits: tuple[str, ...] = ()
    intended_use: str
    licence: str
    files: Mapping[str, Sha256]

    @property
    def nnunet_models(self) -> tuple[NnunetModel, ...]:
        """Those that decide together; none where the bundle has a network of its own."""
        return () if self.nnunet is None else (self.nnunet, *self.ensemble)

    def mirrored(self, mode: Mode) -> tuple[Literal[0, 1, 2], ...]:
        """Axes along which passes are mirrored in a mode."""
        thorough = self.thorough_mirror_axes or self.mirror_axes
        return {"fast": (), "standard": self.mirror_axes, "thorough": thorough}[mode]

    @field_validator("brain_mask", mode="before")
    @classmethod
    def _brain_mask_by_yes_or_no(cls, value: object) -> object:
        return {True: {}, False: None}[value] if isinstance(value, bool) else value

    @field_validator("files")
    @classmethod
    def _files_stay_inside(cls, files: Mapping[str, str]) -> Mapping[str, str]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts or re.search(r'[\\:*?"<>|\x00-\x1f]', name):
                raise ValueError(f"{name!r} is no plain path inside the bundle")
            if name == MANIFEST_NAME:
                raise ValueError(f"{MANIFEST_NAME} cannot hold its own hash")
        return files

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if len(set(self.outputs)) != len(self.outputs) or len(set(self.sequences)) != len(self.sequences):
            raise ValueError("outputs or sequences name something twice")
        if missing := sorted(set(self.labels.values()) - set(self.outputs)):
            raise ValueError(f"labels name {', '.join(missing)}, which outputs lack")
        if self.brain_mask and self.brain_mask.output not in set(self.outputs) - set(self.labels.values()):
            raise ValueError(f"brain_mask needs an output {self.brain_mask.output!r} that is no label")
        if stray := sorted(set(self.lesion) - set(self.labels)):
            raise ValueError(f"lesion names the value {stray[0]}, which labels lack")
        if self.default_operating_point not in self.operating_points:
            raise ValueError(f"default_operating_point {self.default_operating_point!r} is not in operating_points")
        if ("ct" in self.sequences) != (self.modality == "CT") or (self.modality == "CT" and len(self.sequences) > 1):
            raise ValueError(f"sequences {', '.join(self.sequences)} do not fit modality {self.modality}")
        check_order(self.preprocessing, self.modality)
        for step in self.preprocessing:
            if self.nnunet and not isinstance(step, NormaliseWindow | Clahe):
                raise ValueError(f"the step {step.name} cannot stand before nnU-Net, which does that in its own way")
            if isinstance(step, Resample) and step.spacing_mm != self.spacing_mm:
                raise ValueError(f"the resample step makes {step.spacing_mm} mm, but spacing_mm is {self.spacing_mm}")
        return self

    @model_validator(mode="after")
    def _models_agree(self) -> Self:
        for other in self.ensemble:
            if self.nnunet is None or not self.nnunet.decides_with(other):
                raise ValueError("the models of an ensemble differ in labels, regions, images or the order of axes")
        return self
