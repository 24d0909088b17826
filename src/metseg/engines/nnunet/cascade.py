"""All stages of an nnU-Net model on one set of images: each stage's labels are further channels of the next."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from metseg.core.progress import Progress, no_progress, part_of
from metseg.engines.nnunet.predictor import Weights
from metseg.engines.nnunet.prepare import Box, crop_to_nonzero, normalised, one_hot
from metseg.engines.nnunet.resample import (
    Resampling,
    planned_shape,
    resample_image,
    resample_labels,
    resampled_slabs,
)
from metseg.engines.nnunet.stage import NnunetModel, Stage

Shape = tuple[int, int, int]
Millimetres = tuple[float, float, float]
FoldsOf = Callable[[Stage], Iterable[Weights]]


@runtime_checkable
class Predict(Protocol):
    """Runs one stage somewhere: ``predictor.predict_logits`` on OpenVINO, or ``torch.predictor`` on an accelerator."""

    def __call__(
        self,
        stage: Stage,
        folds: Iterable[Weights],
        channels: NDArray[np.float32],
        *,
        mirror: bool,
        step: float,
        progress: Progress,
    ) -> NDArray[np.float32]:
        """Mean logits of all folds: (channel, i, j, k) to (output, i, j, k).

        Raises:
            InferenceError: the network failed, or gave something that is not finite.
            ModelError: the weights are not of this network.
        """
        ...


@dataclass(frozen=True)
class Running:
    """How a model is run.

    Args:
        predict: runs a stage.
        folds_of: reads the weights of a stage's folds, one after the other.
        mirror: along the axes that the training allowed.
        step: between windows, of their size.
    """

    predict: Predict
    folds_of: FoldsOf
    mirror: bool = True
    step: float = 0.5


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the last stage gave, axes in the model's order.

    Args:
        logits: (output, i, j, k), of the part that is not empty, as the stage was given it.
        labels: (i, j, k), of the whole image.
        box: where in the image that part lies.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.uint8]
    box: Box


def run_model(
    model: NnunetModel,
    channels: Float[np.ndarray, "channel i j k"],
    spacing_mm: Millimetres,
    running: Running,
    progress: Progress = no_progress,
) -> Outcome:
    """Segment images as nnU-Net does.

    Args:
        model: its stages.
        channels: images, axes in the model's order.
        spacing_mm: along those axes.
        running: how.
        progress: 0 … 1 over all stages.

    Raises:
        InferenceError: the images are empty, or a network failed.
        ModelError: weights that are missing or of another network.
    """
    cropped = crop_to_nonzero(channels)
    shape = cropped.inside.shape
    labels = np.zeros(shape, dtype=np.uint8)
    for number, stage in enumerate(model.stages):
        own = part_of(progress, number / len(model.stages), (number + 1) / len(model.stages))
        geometry = _Geometry.of(stage, (shape[0], shape[1], shape[2]), spacing_mm)
        prepared = geometry.image(normalised(cropped, stage.normalisation), stage.image_resampling)
        if number:
            before = geometry.labels(labels, stage.label_resampling)
            prepared = np.concatenate([prepared, one_hot(before, model.foreground)])
        folds = running.folds_of(stage)
        logits = running.predict(stage, folds, prepared, mirror=running.mirror, step=running.step, progress=own)
        del prepared
        labels = geometry.decide(logits, stage.logit_resampling, model)
    whole = np.zeros(channels.shape[1:], dtype=np.uint8)
    whole[cropped.box] = labels
    return Outcome(logits, whole, cropped.box)


@dataclass(frozen=True)
class _Geometry:
    """From the part of the image that is not empty to what a stage is given, and back."""

    shape: Shape
    stage_shape: Shape
    spacing_mm: Millimetres
    stage_mm: Millimetres

    @classmethod
    def of(cls, stage: Stage, shape: Shape, spacing_mm: Millimetres) -> "_Geometry":
        i, j, k = (*spacing_mm[: 3 - len(stage.spacing_mm)], *stage.spacing_mm)
        return cls(shape, planned_shape(shape, spacing_mm, (i, j, k)), spacing_mm, (i, j, k))

    def image(self, channels: NDArray[np.float32], how: Resampling | None) -> NDArray[np.float32]:
        if how is None:
            return channels
        return resample_image(channels, self.stage_shape, how, how.slow_axis(self.spacing_mm, self.stage_mm))

    def labels(self, labels: NDArray[np.uint8], how: Resampling | None) -> NDArray[np.uint8]:
        if how is None:
            return labels
        return resample_labels(labels, self.stage_shape, how, how.slow_axis(self.spacing_mm, self.stage_mm))

    def decide(self, logits: NDArray[np.float32], how: Resampling | None, model: NnunetModel) -> NDArray[np.uint8]:
        """Labels (i, j, k) of the part, slab by slab: full-size logits never exist."""
        labels = np.empty(self.shape, dtype=np.uint8)
        plan = Resampling(order=1) if how is None else how
        slow = plan.slow_axis(self.stage_mm, self.spacing_mm)
        for rows, slab in resampled_slabs(logits, self.shape, plan, slow):
            labels[rows] = decided(slab, model)
        return labels


def decided(logits: Float[np.ndarray, "output i j k"], model: NnunetModel) -> NDArray[np.uint8]:
    """The label of each voxel: that of the largest output, or of the last region that holds it."""
    if not model.regions:
        return np.asarray(np.array(model.labels, dtype=np.uint8)[logits.argmax(axis=0)])
    labels = np.zeros(logits.shape[1:], dtype=np.uint8)
    for value, region in zip(model.labels, logits, strict=True):
        labels[region > 0] = value
    return labels
