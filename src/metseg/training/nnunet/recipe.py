"""What ``metseg train`` is told."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from metseg.core.options import Options
from metseg.engines.manifest import NAME_PATTERN, Sequence
from metseg.preprocess.steps import BeforeNnunet
from metseg.training.patch_losses.names import Loss

Network = Literal["nnunet", "resenc-m", "resenc-l", "unet++", "attention-unet"]
Configuration = Literal["2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Sampling = Literal["voxel", "lesion"]
# Three resolutions, of which the coarsest has sides of 4: with fewer, deep supervision has nothing to weigh.
LEAST_PATCH: Final = 16
_CASCADE: Final[tuple[Configuration, ...]] = ("3d_lowres", "3d_cascade_fullres")
_NO_MATTER: Final = {"data", "out", "device", "workers", "threads", "compile", "tensorboard"}


class NnunetRecipe(Options):
    """Dials of a training by nnU-Net; its plan derives the rest. Paths are from the working directory on.

    Args:
        data: the data set in nnU-Net raw layout.
        out: folder of the run; all that is written goes there.
        network: nnU-Net's own, its residual encoder presets, or metseg's networks in the sizes of nnU-Net's plan.
        configuration: a cascade trains ``3d_lowres`` first.
        folds: their numbers, or ``"all"``, which is nnU-Net's word for one network that learns from all studies.
        loss: what the training makes small; ``"dice+ce"`` is nnU-Net's own.
        sampling: what patches with foreground are centred on: a voxel of it, as nnU-Net does, or a lesion, each of a
            study with the same chance.
        epochs: of each network.
        iterations: training steps an epoch.
        validation_iterations: patches, in batches, that the pseudo Dice of an epoch is made of.
        validation: whether nnU-Net measures each network afterwards, on studies of its fold, which can take long.
        probabilities: whether that also writes probabilities, by which ``metseg models best`` judges ensembles.
        minutes: longest training of each network, over all its runs; the learning rate falls by what is spent first.
        patience: epochs without a better mean of pseudo Dice after which a training ends; None: it goes on.
        save_every: epochs between checkpoints, which is what a kill can cost.
        patch: voxels along the axes of nnU-Net's plan (slices first); None: as planned.
        features: channels of the first stage, doubled at each further one up to nnU-Net's most; None: as planned.
        batch: patches a step; two at least, since nnU-Net makes the last third of them hold foreground.
        gpu_memory_gb: that the planner aims at; None: the planner's own.
        mirror_axes: of the patch, in training and in use; None: all, as nnU-Net does; empty: none.
        seed: of weights, order and augmentation. Runs are equal where ``workers`` is 0 and the device the CPU.
        preprocessing: steps that images are put through before nnU-Net sees them, in training and in use.
        start: a bundle that came of nnU-Net, whose plan and weights the training starts from.
        gpus: that train one network together, each with a part of each batch; with ``device`` the CPU, processes.
        device: where it trains; ``"auto"``: CUDA if there is one.
        workers: processes that prepare data, and those that augment it for each GPU; 0: one, and none.
        threads: of torch; 0: all cores.
        compile: with torch.compile, on CUDA alone.
        tensorboard: whether the course of a training is also written for TensorBoard.
        name: of the bundle; None: of the data set, the network and the configuration.
        sequences: which image each channel is; empty: by the names in ``dataset.json``.
        lesion: names of the labels that make a lesion; empty: all but those that name something else.
        licence: of the weights.
    """

    data: Path
    out: Path
    network: Network = "nnunet"
    configuration: Configuration = "3d_fullres"
    folds: tuple[Annotated[int, Field(ge=0)], ...] | Literal["all"] = (0, 1, 2, 3, 4)
    loss: Loss = "dice+ce"
    sampling: Sampling = "voxel"
    epochs: Annotated[int, Field(ge=1)] = 1000
    iterations: Annotated[int, Field(ge=1)] = 250
    validation_iterations: Annotated[int, Field(ge=1)] = 50
    validation: bool = True
    probabilities: bool = False
    minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    patience: Annotated[int, Field(ge=1)] | None = None
    save_every: Annotated[int, Field(ge=1)] = 10
    patch: tuple[Annotated[int, Field(ge=4)], ...] | None = None
    features: Annotated[int, Field(ge=2)] | None = None
    batch: Annotated[int, Field(ge=2)] | None = None
    gpu_memory_gb: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    mirror_axes: tuple[Literal[0, 1, 2], ...] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    preprocessing: tuple[BeforeNnunet, ...] = ()
    start: str | None = None
    gpus: Annotated[int, Field(ge=1)] = 1
    device: Device = "auto"
    workers: Annotated[int, Field(ge=0)] = 4
    threads: Annotated[int, Field(ge=0)] = 0
    compile: bool = False
    tensorboard: bool = True
    name: Annotated[str, Field(pattern=NAME_PATTERN)] | None = None
    sequences: tuple[Sequence, ...] = ()
    lesion: tuple[str, ...] = ()
    licence: str | None = None

    @field_validator("folds", mode="before")
    @classmethod
    def _folds_are_numbers_or_all(cls, folds: object) -> object:
        numbers = isinstance(folds, list | tuple) and all(type(one) is int and one >= 0 for one in folds)
        if folds != "all" and not (numbers and folds and len(set(folds)) == len(folds)):  # type: ignore[call-overload,arg-type]
            raise ValueError('should be a list of numbers of folds, each once, or "all"')
        return folds

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        problems = []
        axes = 2 if self.configuration == "2d" else 3
        if self.patch and (len(self.patch) != axes or max(self.patch) < LEAST_PATCH):
            problems.append(f"the patch of {self.configuration} has {axes} sides, one of at least {LEAST_PATCH} voxels")
        if self.mirror_axes and (max(self.mirror_axes) >= axes or len(set(self.mirror_axes)) < len(self.mirror_axes)):
            problems.append(f"mirror_axes of {self.configuration} are some of {', '.join(map(str, range(axes)))}, once")
        if self.start and (self.patch or self.gpu_memory_gb or self.features):
            problems.append("patch, features and gpu_memory_gb come with the bundle that start names")
        if self.configuration == "3d_cascade_fullres" and not self.validation:
            problems.append("the second stage of a cascade learns from what validation writes")
        if self.gpus > (self.batch or self.gpus):
            problems.append(f"each of {self.gpus} gpus needs a patch of a batch, which is {self.batch}")
        if self.gpus > 1 and self.device == "mps":
            problems.append("mps has one GPU")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def stages(self) -> tuple[Configuration, ...]:
        """Configurations that are trained, in order."""
        return _CASCADE if self.configuration == "3d_cascade_fullres" else (self.configuration,)

    @property
    def prepared(self) -> tuple[Configuration, ...]:
        """Configurations that images are prepared for: the last of a cascade sees those of ``3d_fullres``."""
        return tuple("3d_fullres" if one == "3d_cascade_fullres" else one for one in self.stages)

    @property
    def told(self) -> dict[str, Any]:
        """All that decides the result, as plain data; of the data set its folder's name."""
        return {"data": self.data.resolve().name, **self.model_dump(mode="json", exclude=_NO_MATTER)}

    @property
    def sha256(self) -> str:
        """Of all that decides the result."""
        return hashlib.sha256(json.dumps(self.told, sort_keys=True).encode()).hexdigest()
