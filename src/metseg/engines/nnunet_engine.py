"""nnU-Net models on OpenVINO, without torch: from a study to its labels, just as nnU-Net would give them."""

from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from metseg.core.errors import InputError, ModelError
from metseg.core.grid import Grid
from metseg.core.progress import Progress, no_progress
from metseg.core.study import Study
from metseg.core.volume import LabelMap, ProbabilityMap
from metseg.engines.base import Mode, ModelCard
from metseg.engines.bundle import Bundle
from metseg.engines.mirroring import Mirroring
from metseg.engines.nnunet.cascade import Outcome, Predict, Running, run_models
from metseg.engines.nnunet.ensemble import shares
from metseg.engines.nnunet.predictor import Fold, Passes
from metseg.engines.nnunet.prepare import Channels
from metseg.engines.nnunet.stage import NnunetModel, Stage
from metseg.engines.nnunet.unet_weights import Weights
from metseg.engines.nnunet.window_network import OpenVinoPredictor
from metseg.engines.openvino_network import Runtime
from metseg.preprocess import steps
from metseg.preprocess.reorient import Reorient, turned_back

LESION: Final = "lesion"
_MIRRORING: Final[dict[Mode, Mirroring]] = {"fast": "none", "standard": "gated", "thorough": "all"}


class NnunetEngine:
    """Runs a bundle that ``metseg models import`` made of an nnU-Net model.

    Args:
        bundle: its manifest has a section ``nnunet``.
        threads: at most so many CPU threads; None for as many as there are cores.
        device: as OpenVINO spells it, in any case.
        mode: ``"thorough"`` mirrors all windows along the axes that the training allowed, as nnU-Net does;
            ``"standard"`` those that see a doubt; ``"fast"`` none. None is ``"thorough"``. Windows that see a voxel of
            a study's prior are mirrored in all modes.
        cache: folder where compiled networks may be kept; None for none.

    Raises:
        ModelError: the bundle is no nnU-Net model.
        ConfigError: there is no such device.
    """

    name: str = "openvino"

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        device: str = "cpu",
        mode: Mode | None = None,
        cache: Path | None = None,
    ) -> None:
        if bundle.manifest.nnunet is None:
            raise ModelError(f"Bundle {bundle.name} is no nnU-Net model.")
        self.bundle = bundle
        self.mode: Mode = "thorough" if mode is None else mode
        self.card: ModelCard = bundle.card
        self.model: NnunetModel = bundle.manifest.nnunet
        self.models = bundle.manifest.nnunet_models
        predict = self._predictor(device, threads, cache)
        self.running = Running(predict, self._folds, Passes(_MIRRORING[self.mode]))

    def predict(self, study: Study, *, progress: Progress = no_progress) -> ProbabilityMap:
        """Probabilities of all labels, and of lesion, on the last stage's grid; and the labels on the study's.

        Raises:
            InputError: the study lacks a sequence.
            InferenceError: the images are empty, or the network failed.
            ModelError: weights that are not the network's.
        """
        if missing := [name for name in self.card.sequences if name not in study.images]:
            raise InputError(f"Study {study.case} lacks {', '.join(missing)}, which {self.card.name} needs.")
        progress(0, 1, "preprocessing")
        channels, turned = self._channels(study)
        known = None if study.prior is None else self._in_order(study.prior.array != 0, study.grid)[0] != 0
        axes = self.model.axes
        i, j, k = (turned.spacing_mm[axis] for axis in axes)
        outcome = run_models(self.models, channels, (i, j, k), self.running, progress, known=known)
        labels = outcome.labels.transpose(np.argsort(axes))
        if self.model.canonical:
            labels = turned_back(labels, study.grid)
        progress(1, 1, "network")
        decision = LabelMap(np.ascontiguousarray(labels), study.grid, dict(self.card.labels))
        array, classes = _probabilities(outcome, self.model, self.card)
        return ProbabilityMap(array, _stage_grid(turned, axes, outcome), classes, decision)

    def _predictor(self, device: str, threads: int | None, cache: Path | None) -> Predict:
        """What runs a stage; engines elsewhere have another."""
        return OpenVinoPredictor(Runtime.on(device, threads, cache))

    def _channels(self, study: Study) -> tuple[Channels, Grid]:
        """The images as the model wants them, and their grid before its axes were put in the model's order.

        The bundle's steps come first: the training put nnU-Net's raw images through them.
        """
        channels, grid = [], study.grid
        for name in self.card.sequences:
            image, _ = steps.run(self.bundle.manifest.preprocessing, study.images[name])
            array, grid = self._in_order(image, study.grid)
            channels.append(array)
        return channels, grid

    def _in_order(self, array: NDArray[Any], grid: Grid) -> tuple[NDArray[np.float32], Grid]:
        """One image with its axes in the model's order, and its grid before they were."""
        image = np.asarray(array, dtype=np.float32)
        if self.model.canonical:
            image, grid = Reorient().apply(image, grid)
        return image.transpose(self.model.axes), grid

    def _folds(self, stage: Stage) -> list[Fold]:
        return [partial(self._weights, name) for name in stage.weights]

    def _weights(self, name: str) -> Weights:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return load_file(self.bundle.path(name))
        except SafetensorError as error:
            raise ModelError(f"{name} of bundle {self.bundle.name} cannot be read.") from error


def _probabilities(
    outcome: Outcome, model: NnunetModel, card: ModelCard
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Of each label or region but the background, and of lesion: (class, i, j, k), and their names.

    Row by row, and where they are as many as the outputs in their place: a scan of a body leaves no room for both.
    """
    own = [n for n, value in enumerate(model.labels) if value in card.labels]
    lesion = [n for n in own if model.labels[n] in card.lesion]
    names = tuple(card.labels[model.labels[n]] for n in own)
    classes = names if LESION in names else (*names, LESION)
    given = outcome.member.logits if outcome.shares is None else outcome.shares
    result = given if len(classes) == len(given) else np.empty((len(classes), *given.shape[1:]), dtype=np.float32)
    for row in range(given.shape[1]):
        of_row = given[:, row].copy() if outcome.shares is not None else shares(given[:, row], regions=model.regions)
        of_lesion = of_row[lesion].max(axis=0) if model.regions else of_row[lesion].sum(axis=0)
        result[: len(own), row] = of_row[own]
        if LESION not in names:
            result[-1, row] = of_lesion
    return np.clip(result, 0, 1, out=result), classes


def _stage_grid(image: Grid, axes: tuple[int, int, int], outcome: Outcome) -> Grid:
    """Where the logits lie: the part of the image that is not empty, outer faces on outer faces."""
    n_i, n_j, n_k = outcome.member.logits.shape[1:]
    before = [part.stop - part.start for part in outcome.box]
    ratio = np.array(before) / (n_i, n_j, n_k)
    affine = np.eye(4)
    affine[:3, :3] = image.affine[:3, axes] * ratio
    first = np.array([part.start for part in outcome.box]) + ratio / 2 - 0.5
    affine[:3, 3] = image.affine[:3, axes] @ first + image.affine[:3, 3]
    return Grid((n_i, n_j, n_k), affine)
