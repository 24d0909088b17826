"""One stage's network over a whole image: window after window, mirrored, all folds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from metseg.core.errors import InferenceError
from metseg.core.progress import Progress, no_progress, part_of
from metseg.engines.mirroring import Infer, Mirroring, mirrored_sum, mirrorings
from metseg.engines.nnunet.look_again import undecided, windows_that_see
from metseg.engines.nnunet.stage import Stage
from metseg.engines.nnunet.windows import Place, importance, padding, windows


@dataclass(frozen=True)
class Passes:
    """Which passes over the windows there are.

    Args:
        mirroring: ``"none"``; ``"all"`` that the stage allows; ``"gated"``: all of them in as few windows as see each
            voxel that plain passes over all windows leave undecided.
        step: between windows, of their size.
    """

    mirroring: Mirroring = "all"
    step: float = 0.5

    def looks_again(self, stage: Stage, known: NDArray[np.bool_] | None) -> bool:
        """Whether some windows are mirrored after plain passes over all: those that see a doubt, or what is known."""
        return bool(stage.mirror_axes) and (
            self.mirroring == "gated" or (self.mirroring == "none" and known is not None)
        )


def predict_logits(
    stage: Stage,
    networks: Iterable[Infer],
    channels: Float[np.ndarray, "channel i j k"],
    *,
    passes: Passes = Passes(),  # it is frozen
    regions: bool = False,
    progress: Progress = no_progress,
    known: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Mean logits of all passes and folds: (channel, i, j, k) to (output, i, j, k).

    Windows overlap by half and count by a Gaussian, as nnU-Net has them; sums are kept in single precision, where
    nnU-Net keeps them in half. Networks are asked for one after the other, and dropped before the next.

    Args:
        stage: what is run.
        networks: of each fold, from a window (channel, *window) to its logits (output, *window).
        channels: as the stage wants them.
        passes: which.
        regions: whether outputs are regions; else the first is the background.
        progress: 0 … 1 over all folds.
        known: (i, j, k), voxels of which the windows that see them are mirrored in any case; None for none.

    Raises:
        InferenceError: a network failed, or gave something that is not finite.
        ModelError: weights are not of their network.
    """
    around = padding(channels.shape[1:], stage.window)
    padded = np.pad(channels, [(0, 0), *around])
    places = list(windows(padded.shape[1:], stage.window, passes.step))
    sums = _Sums(stage, padded.shape[1:])
    mirrored = mirrorings(stage.mirror_axes)
    again = passes.looks_again(stage, known)
    for number, network in enumerate(networks):
        infer = _constants_once(network)
        own = part_of(progress, number / len(stage.weights), (number + 1) / len(stage.weights))
        first = mirrored if passes.mirroring == "all" else [()]
        sums.add_windows(infer, padded, places, first, part_of(own, 0, 0.5) if again else own)
        if again:
            wanted = np.zeros(padded.shape[1:], dtype=bool) if known is None else np.pad(known, around)
            if passes.mirroring == "gated":
                wanted |= sums.undecided(regions=regions)
            some = windows_that_see(wanted, places, sums.importance)
            sums.add_windows(infer, padded, some, mirrored[1:], part_of(own, 0.5, 1))
        del infer, network  # before the next is made
    inner = tuple(slice(before, n - after) for (before, after), n in zip(around, padded.shape[1:]))
    result = sums.finish()[(slice(None), *inner)]
    if not np.isfinite(result).all():
        raise InferenceError(f"The network of stage {stage.name} gave values that are not finite.")
    return result


class _Sums:
    """Logits of all passes so far, each weighted by the window's importance, and the sum of these weights."""

    def __init__(self, stage: Stage, size: tuple[int, ...]) -> None:
        self.importance = importance(stage.window)
        self._logits = np.zeros((stage.network.outputs, *size), dtype=np.float32)
        self._weights = np.zeros(size, dtype=np.float32)

    def add_windows(
        self,
        infer: Infer,
        channels: NDArray[np.float32],
        places: Sequence[Place],
        mirrored: Sequence[tuple[int, ...]],
        progress: Progress,
    ) -> None:
        """Run ``mirrored`` passes over the windows at ``places``."""
        for done, place in enumerate(places):
            progress(done, len(places), "network")
            whole = (slice(None), *place)
            if self.importance.ndim == 2:  # a window in one slice
                logits = mirrored_sum(infer, channels[whole][:, 0], mirrored)[:, np.newaxis]
            else:
                logits = mirrored_sum(infer, channels[whole], mirrored)
            logits *= self.importance
            self._logits[whole] += logits
            self._weights[place] += self.importance * np.float32(len(mirrored))

    def undecided(self, *, regions: bool) -> NDArray[np.bool_]:
        """Voxels (i, j, k) that the mean so far leaves in doubt."""
        rows = range(self._logits.shape[1])
        return np.stack([undecided(self._logits[:, n] / self._weights[n], regions=regions) for n in rows])

    def finish(self) -> NDArray[np.float32]:
        """The mean (output, i, j, k); nothing can be added afterwards."""
        self._logits /= self._weights
        return self._logits


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
