"""One stage's networks over a whole image: window after window, mirrored, all folds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypedDict, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from metseg.core.errors import InferenceError
from metseg.core.progress import Progress, no_progress, part_of
from metseg.engines.mirroring import Infer, Mirroring, mirrored_sum, mirroring_rounds, mirrorings
from metseg.engines.nnunet.decide import states
from metseg.engines.nnunet.look_again import Sight, undecided, unsettled
from metseg.engines.nnunet.stage import Stage
from metseg.engines.nnunet.unet_weights import Weights
from metseg.engines.nnunet.windows import Place, importance, padding, windows

Fold = Callable[[], Weights]  # reads the weights of one
Sets = Sequence[tuple[int, ...]]  # of axes along which an image is mirrored
SoFar = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Passes:
    """Which passes over the windows there are.

    Args:
        mirroring: ``"none"``; ``"all"`` that the stage allows; ``"gated"``: after plain passes of all folds over all
            windows one mirrored pass, then two more, then the other four, each time over as few windows as see what is
            in doubt: at first each voxel that is undecided, then the lesions that the last passes changed.
        step: between windows, of their size.
    """

    mirroring: Mirroring = "all"
    step: float = 0.5


@runtime_checkable
class Sums(Protocol):
    """Adds up what the networks of all folds say of an image, wherever they run."""

    def add(self, fold: int, places: Sequence[Place], mirrored: Sets, progress: Progress) -> None:
        """Run one fold's network over windows, mirrored in each way."""
        ...

    def so_far(self) -> SoFar:
        """The weighted sums of logits (output, i, j, k), and the weights (i, j, k); not to be changed."""
        ...

    def finish(self) -> NDArray[np.float32]:
        """The mean (output, i, j, k); nothing can be added afterwards."""
        ...


class How(TypedDict, total=False):
    """What ``predict_logits`` may be told."""

    passes: Passes
    regions: bool
    known: NDArray[np.bool_] | None
    progress: Progress


SumsOf = Callable[[NDArray[np.float32]], Sums]


def predict_logits(
    stage: Stage,
    channels: Float[np.ndarray, "channel i j k"],
    sums_of: SumsOf,
    *,
    passes: Passes = Passes(),  # it is frozen
    regions: bool = False,
    known: Bool[np.ndarray, "i j k"] | None = None,
    progress: Progress = no_progress,
) -> NDArray[np.float32]:
    """Mean logits of all passes and folds: (channel, i, j, k) to (output, i, j, k).

    Windows overlap by half and count by a Gaussian, as nnU-Net has them; sums are kept in single precision, where
    nnU-Net keeps them in half. Windows that are looked at again are the same for all folds, whatever their order.

    Args:
        stage: what is run.
        channels: as the stage wants them.
        sums_of: an image of at least the window's size to its ``Sums``.
        passes: which.
        regions: whether outputs are regions; else they are labels.
        known: voxels that are looked at again in any case.
        progress: 0 … 1 over all folds.

    Raises:
        InferenceError: a network failed, or gave something that is not finite.
        ModelError: weights are not of their network.
    """
    around = padding(channels.shape[1:], stage.window)
    padded = np.pad(channels, [(0, 0), *around]) if any(map(any, around)) else channels
    places = list(windows(padded.shape[1:], stage.window, passes.step))
    mirrored = mirrorings(stage.mirror_axes)
    sums = sums_of(padded)
    sweep = _Sweeps(sums, range(len(stage.weights)))
    if passes.mirroring == "all":
        sweep(places, mirrored, progress)
    elif len(mirrored) == 1 or (passes.mirroring == "none" and known is None):
        sweep(places, [()], progress)
    else:
        sweep(places, [()], part_of(progress, 0, 0.5))
        sight = Sight(padded.shape[1:], places, importance(stage.window))
        whole = [] if known is None else sight.fewest(np.pad(known, around))
        sweep(whole, mirrored[1:], part_of(progress, 0.5, 0.6))
        if passes.mirroring == "gated":
            rounds = mirroring_rounds(stage.mirror_axes)
            _until_settled(sweep, sight, whole, rounds, regions=regions, progress=part_of(progress, 0.6, 1))
    inner = tuple(slice(before, n - after) for (before, after), n in zip(around, padded.shape[1:]))
    result = sums.finish()[(slice(None), *inner)]
    if not np.isfinite(result).all():
        raise InferenceError(f"The network of stage {stage.name} gave values that are not finite.")
    return result


class _Sweeps:
    """Runs all folds, each time the other way round: the last fold's network is still at hand then.

    Args:
        sums: what they are added to.
        folds: their numbers.
    """

    def __init__(self, sums: Sums, folds: Sequence[int]) -> None:
        self.sums, self._folds = sums, folds

    def __call__(self, places: Sequence[Place], mirrored: Sets, progress: Progress) -> None:
        for done, fold in enumerate(self._folds):
            part = part_of(progress, done / len(self._folds), (done + 1) / len(self._folds))
            self.sums.add(fold, places, mirrored, part)
        if places:
            self._folds = self._folds[::-1]


def _until_settled(
    sweep: _Sweeps, sight: Sight, whole: Sequence[Place], rounds: Sequence[Sets], *, regions: bool, progress: Progress
) -> None:
    """Mirrored passes, round after round, over windows that see what is in doubt; those of ``whole`` had them all."""
    logits, weights = sweep.sums.so_far()
    doubt, before = undecided(logits, weights, regions=regions), states(logits, regions=regions)
    for number, mirrored in enumerate(rounds):
        some = sight.fewest(sight.unseen(doubt, whole))
        if not some:
            return
        sweep(some, mirrored, part_of(progress, number / len(rounds), (number + 1) / len(rounds)))
        after = states(sweep.sums.so_far()[0], regions=regions)
        doubt, before = unsettled(before, after), after


class HostSums:
    """Logits of all passes so far, each weighted by the window's importance, and the sum of these weights.

    Args:
        stage: what is run.
        image: (channel, i, j, k), no smaller than a window.
        networks: make the network of each fold ready: from a window (channel, *window) to its logits (output, *window).
            One is kept at a time.
    """

    def __init__(self, stage: Stage, image: NDArray[np.float32], networks: Sequence[Callable[[], Infer]]) -> None:
        self._image, self._networks = image, networks
        self._importance = importance(stage.window)
        self._logits = np.zeros((stage.network.outputs, *image.shape[1:]), dtype=np.float32)
        self._weights = np.zeros(image.shape[1:], dtype=np.float32)
        self._ready: tuple[int, Infer] | None = None

    def add(self, fold: int, places: Sequence[Place], mirrored: Sets, progress: Progress) -> None:
        """See ``Sums``."""
        if not places:
            return
        infer = self._network(fold)
        for done, place in enumerate(places):
            progress(done, len(places), "network")
            whole = (slice(None), *place)
            if self._importance.ndim == 2:  # a window in one slice
                logits = mirrored_sum(infer, self._image[whole][:, 0], mirrored)[:, np.newaxis]
            else:
                logits = mirrored_sum(infer, self._image[whole], mirrored)
            logits *= self._importance
            self._logits[whole] += logits
            self._weights[place] += self._importance * np.float32(len(mirrored))

    def so_far(self) -> SoFar:
        """See ``Sums``."""
        return self._logits, self._weights

    def finish(self) -> NDArray[np.float32]:
        """See ``Sums``."""
        self._ready = None
        self._logits /= self._weights
        return self._logits

    def _network(self, fold: int) -> Infer:
        if self._ready is None or self._ready[0] != fold:
            self._ready = None  # frees the last one's memory first
            self._ready = fold, _constants_once(self._networks[fold]())
        return self._ready[1]


def _constants_once(infer: Infer) -> Infer:
    """The same, but windows of nothing but air, which a scan of a body has many of, cost one pass together."""
    known: dict[tuple[float, ...], NDArray[np.float32]] = {}

    def remembered(image: NDArray[np.float32]) -> NDArray[np.float32]:
        values = tuple(float(channel.flat[0]) for channel in image)
        if any((channel != value).any() for channel, value in zip(image, values, strict=True)):
            return infer(image)
        if values not in known:
            known[values] = infer(image)
        return known[values].copy()

    return remembered
