"""Take the skull off: a brain finder says where the brain is, and the rest is emptied."""

from dataclasses import dataclass, replace
from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from metseg.core.errors import InputError
from metseg.core.study import Study
from metseg.core.volume import Volume
from metseg.engines.brain_mask import brain_region, widen
from metseg.engines.manifest import BrainFinder
from metseg.preprocess import steps
from metseg.preprocess.foreground import foreground_mask
from metseg.preprocess.nearest import nearest_on_grid

# Skull and scalp lie here; a share of the whole foreground would call a head stripped that was imaged from the eyes up.
_AROUND_MM: Final = 10.0


@runtime_checkable
class Network(Protocol):
    """A network that is ready to run."""

    def infer(self, channels: Float[np.ndarray, "channel i j k"]) -> NDArray[np.float32]:
        """One pass: (channel, i, j, k) to (output, i, j, k).

        Raises:
            OutOfMemoryError: it does not fit.
            InferenceError: it failed.
        """
        ...

    def release(self) -> None:
        """Let go of the memory that is kept for the next pass: what follows may need it."""
        ...


@dataclass(frozen=True)
class SkullStripper:
    """A brain finder at work.

    Args:
        finder: how the bundle wants it.
        sequence: in which the brain is looked for.
        network: the finder's, (1, i, j, k) to (1, i, j, k).
    """

    finder: BrainFinder
    sequence: str
    network: Network

    def brain(self, study: Study) -> NDArray[np.bool_]:
        """Where the brain is, with its margin: (i, j, k) on the study's grid.

        Raises:
            InputError: the study lacks the sequence, or there is no brain in it.
            InferenceError: the network failed.
        """
        channels, grid = steps.run_study(self.finder.preprocessing, study, (self.sequence,))
        try:
            probability = self.network.infer(channels)[0]
        finally:
            self.network.release()
        region = nearest_on_grid(brain_region(probability, grid, self.finder), grid, study.grid)
        if not region.any():
            raise InputError(
                f"No brain was found in the {self.sequence} image of {study.case}.",
                hint="Is it a head? If it is, look whether the image is complete and rightly oriented.",
            )
        return region

    def share_around(self, study: Study, region: NDArray[np.bool_]) -> float:
        """How much of the 10 mm around a region is foreground, 0 to 1; 0 where nothing is around it."""
        around = widen(region, study.grid, _AROUND_MM) & ~region
        foreground = foreground_mask(np.asarray(study.images[self.sequence].array))
        return int(np.count_nonzero(foreground & around)) / max(int(np.count_nonzero(around)), 1)

    def strip(self, study: Study) -> tuple[Study, bool]:
        """The study, everything outside the brain set to each image's minimum; as it is where the skull is off already.

        Returns:
            The study without skull, and whether it was off already.

        Raises:
            InputError: the study lacks the sequence, or there is no brain in it.
            InferenceError: the network failed.
        """
        if study.skull_stripped:
            return study, True
        region = self.brain(study)
        images = dict(study.images)
        stripped = self.share_around(study, region) < self.finder.skull_share
        if not stripped:
            images = {name: _emptied(volume, region) for name, volume in images.items()}
        return replace(study, images=images, skull_stripped=True), stripped


def _emptied(volume: Volume, region: NDArray[np.bool_]) -> Volume:
    array = np.asarray(volume.array)
    return replace(volume, array=np.where(region, array, array.min()))
