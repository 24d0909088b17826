"""All stages of an nnU-Net model on one set of images: each stage's labels are further channels of the next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Unpack, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from metseg.core.errors import ModelError
from metseg.core.progress import Progress, no_progress, part_of
from metseg.engines.nnunet.decide import decided_on
from metseg.engines.nnunet.ensemble import Member, decided_together, mean_shares
from metseg.engines.nnunet.predictor import Fold, How, Passes
from metseg.engines.nnunet.prepare import Box, Channels, Cropped, crop_to_nonzero, one_hot
from metseg.engines.nnunet.resample import (
    Resampling,
    planned_shape,
    resample_image,
    resample_labels,
    resample_mask,
)
from metseg.engines.nnunet.stage import NnunetModel, Stage

Shape = tuple[int, int, int]
Millimetres = tuple[float, float, float]
FoldsOf = Callable[[Stage], Sequence[Fold]]


@runtime_checkable
class Predict(Protocol):
    """Runs one stage somewhere: ``window_network.OpenVinoPredictor``, or ``torch.predictor`` on an accelerator."""

    def __call__(
        self, stage: Stage, folds: Sequence[Fold], channels: NDArray[np.float32], **how: Unpack[How]
    ) -> NDArray[np.float32]:
        """Mean logits of all folds: (channel, i, j, k) to (output, i, j, k); see ``predict_logits``.

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
        folds_of: reads the weights of a stage's folds.
        passes: over the windows.
    """

    predict: Predict
    folds_of: FoldsOf
    passes: Passes = field(default_factory=Passes)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the last stage gave, axes in the model's order.

    Args:
        member: its logits, of the part of the image that is not empty; of several models, the first's.
        shares: probabilities on the same grid; None for one model, whose logits tell them.
        labels: (i, j, k), of the whole image.
        box: where in the image that part lies.
    """

    member: Member
    shares: NDArray[np.float32] | None
    labels: NDArray[np.uint8]
    box: Box


def run_models(
    models: Sequence[NnunetModel],
    channels: Channels,
    spacing_mm: Millimetres,
    running: Running,
    progress: Progress = no_progress,
    *,
    known: NDArray[np.bool_] | None = None,
) -> Outcome:
    """Segment images with one model, or with several that decide together; arguments as for ``run_model``."""
    outcomes = []
    for number, model in enumerate(models):
        own = part_of(progress, number / len(models), (number + 1) / len(models))
        outcomes.append(run_model(model, channels, spacing_mm, running, own, known=known))
    first = outcomes[0]
    if len(models) == 1:
        return first
    members, box = [outcome.member for outcome in outcomes], first.box
    if any(outcome.box != box for outcome in outcomes):
        raise ModelError("The models of an ensemble look at different parts of the image.")
    i, j, k = (part.stop - part.start for part in box)
    labels = np.zeros_like(first.labels)
    labels[box] = decided_together(members, (i, j, k), models[0])
    return Outcome(first.member, mean_shares(members, models[0]), labels, box)


def run_model(
    model: NnunetModel,
    channels: Channels,
    spacing_mm: Millimetres,
    running: Running,
    progress: Progress = no_progress,
    *,
    known: NDArray[np.bool_] | None = None,
) -> Outcome:
    """Segment images as nnU-Net does.

    Args:
        model: its stages.
        channels: images, each (i, j, k), axes in the model's order.
        spacing_mm: along those axes.
        running: how.
        progress: 0 … 1 over all stages.
        known: (i, j, k), where each stage looks with all mirrorings; None for nowhere.

    Raises:
        InferenceError: the images are empty, or a network failed.
        ModelError: weights that are missing or of another network.
    """
    masked = any(scheme.masked for stage in model.stages for scheme in stage.normalisation)
    cropped = crop_to_nonzero(channels, masked=masked)
    labels = np.zeros(cropped.shape, dtype=np.uint8)
    for number, stage in enumerate(model.stages):
        own = part_of(progress, number / len(model.stages), (number + 1) / len(model.stages))
        geometry = _Geometry.of(stage, cropped.shape, spacing_mm)
        prepared = geometry.images(cropped, stage)
        if number:
            before = geometry.labels(labels, stage.label_resampling)
            prepared = np.concatenate([prepared, one_hot(before, model.foreground)])
        folds = running.folds_of(stage)
        seen = None if known is None else resample_mask(known[cropped.box], prepared.shape[1:])
        logits = running.predict(
            stage, folds, prepared, passes=running.passes, regions=model.regions, progress=own, known=seen
        )
        del prepared
        member = geometry.member(logits, stage.logit_resampling)
        labels = decided_on(logits, geometry.shape, member.how, member.slow, model)
    whole = np.zeros(channels[0].shape, dtype=np.uint8)
    whole[cropped.box] = labels
    return Outcome(member, None, whole, cropped.box)


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

    def images(self, cropped: Cropped, stage: Stage) -> NDArray[np.float32]:
        """Normalised and resampled, a channel at a time: there is one full-size copy, not one of each channel."""
        how = stage.image_resampling
        shape = cropped.shape if how is None else self.stage_shape
        result = np.empty((len(cropped.channels), *shape), dtype=np.float32)
        for scheme, channel, out in zip(stage.normalisation, cropped.channels, result, strict=True):
            own = scheme.apply(channel, cropped.inside)
            if how is None:
                out[...] = own
            else:
                slow = how.slow_axis(self.spacing_mm, self.stage_mm)
                out[...] = resample_image(own[np.newaxis], shape, how, slow)[0]
        return result

    def labels(self, labels: NDArray[np.uint8], how: Resampling | None) -> NDArray[np.uint8]:
        if how is None:
            return labels
        return resample_labels(labels, self.stage_shape, how, how.slow_axis(self.spacing_mm, self.stage_mm))

    def member(self, logits: NDArray[np.float32], how: Resampling | None) -> Member:
        plan = Resampling(order=1) if how is None else how
        return Member(logits, plan, plan.slow_axis(self.stage_mm, self.spacing_mm))
