"""A bundle of metseg's own at work: its steps around its networks, whatever runs them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from metseg.core.grid import Grid
from metseg.core.progress import JointProgress, Progress, no_progress
from metseg.core.study import Study
from metseg.core.volume import ProbabilityMap
from metseg.engines.base import Mode, ModelCard, Ready
from metseg.engines.brain_mask import brain_region
from metseg.engines.bundle import Bundle
from metseg.engines.manifest import Tiling
from metseg.engines.memory import MORE_MEMORY, OutOfMemoryError, sized
from metseg.engines.mirroring import mirrored_mean
from metseg.engines.skull import Network, SkullStripper
from metseg.engines.tiling import Tile, smaller, tile_size, tiles
from metseg.preprocess import steps
from metseg.preprocess.extent import PadToMultiple
from metseg.preprocess.nearest import carried_to_grid

NETWORK_FILE: Final = "model.onnx"


@runtime_checkable
class OpenNetwork(Protocol):
    """Makes an ONNX file ready to run."""

    def __call__(self, path: Path, channels: int, outputs: int) -> Network:
        """A network that gives probabilities.

        Args:
            path: of the file.
            channels: of its input.
            outputs: channels of its output.

        Raises:
            ModelError: it cannot be read, or does not fit.
        """
        ...


class BundleEngine:
    """Runs a bundle: its brain finder, its steps, its network (in one pass, or in tiles), its brain mask.

    Where memory runs out for a pass of the network, smaller tiles are tried, and the map says so. Each study begins
    anew with the largest, so that the same study gives the same result while as much memory is free.

    Args:
        bundle: holds ``model.onnx``: one input (1, channel, i, j, k), one output of probabilities (1, output, i, j, k).
        open_network: makes it, and the brain finder's network, ready to run.
        tiling: instead of the bundle's.
        mode: which mirrored passes there are: ``"fast"`` none, ``"standard"`` (so is None) the bundle's
            ``mirror_axes``, ``"thorough"`` its ``thorough_mirror_axes``. Tiles that hold a voxel of a study's prior
            are done as in ``"thorough"``.

    Raises:
        ModelError: a network cannot be read, or does not fit the manifest.
    """

    name: str

    def __init__(
        self, bundle: Bundle, open_network: OpenNetwork, tiling: Tiling | None = None, mode: Mode | None = None
    ) -> None:
        self.bundle = bundle
        self.mode: Mode = "standard" if mode is None else mode
        self.card: ModelCard = bundle.card
        self.tiling = bundle.manifest.tiling if tiling is None else tiling
        it = bundle.manifest
        self._network = open_network(bundle.path(NETWORK_FILE), len(it.sequences), len(it.outputs))
        self.stripper: SkullStripper | None = None
        if it.brain_finder is not None:
            network = open_network(bundle.path(it.brain_finder.network), 1, 1)
            self.stripper = SkullStripper(it.brain_finder, it.sequences[0], network)

    def predict(self, study: Study, *, progress: Progress = no_progress) -> ProbabilityMap:
        """Probabilities of all outputs on the model's grid; nothing outside the brain is lesion.

        Raises:
            InputError: the study lacks a sequence, or no brain is found in it.
            OutOfMemoryError: not even the smallest tiles fit.
            InferenceError: the network failed, or gave something else than probabilities.
        """
        progress(0, 1, "preprocessing")
        return self.prepare(study)(progress)

    def prepare(self, study: Study) -> Ready:
        """Find the brain and do the steps; the network and the brain mask are left.

        Raises:
            InputError: the study lacks a sequence, or no brain is found in it.
            InferenceError: the brain finder failed.
        """
        manifest = self.bundle.manifest
        stripped: bool | None = None
        if self.stripper is not None:
            study, stripped = self.stripper.strip(study)
        channels, grid = steps.run_study(manifest.preprocessing, study, manifest.sequences)
        known = np.zeros(grid.shape, dtype=bool)
        if study.prior is not None:
            known = carried_to_grid(study.prior.array, study.prior.grid, grid) != 0

        def run(progress: Progress) -> ProbabilityMap:
            try:
                array, warnings = self._forward(channels, known, progress)
            finally:
                self._network.release()
            self._mask_by_brain(array, grid)
            progress(1, 1, "network")
            return ProbabilityMap(array, grid, manifest.outputs, warnings=warnings, skull_stripped=stripped)

        return run

    def _forward(
        self, channels: NDArray[np.float32], known: NDArray[np.bool_], progress: Progress
    ) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        """All passes, (channel, i, j, k) to (output, i, j, k), in tiles as large as fit; and what to warn of.

        The most passes are made in tiles that keep a ``known`` voxel.
        """
        multiples = [step.multiple for step in self.bundle.manifest.preprocessing if isinstance(step, PadToMultiple)]
        multiple = max(multiples, default=1)
        i, j, k = channels.shape[1:]
        result = np.empty((len(self.bundle.manifest.outputs), i, j, k), dtype=np.float32)
        forwards = JointProgress(progress, 1).of(0)
        tiling: Tiling | None = self.tiling
        tried: list[str] = []
        hint = ""
        while tiling is not None:
            parts = tiles((i, j, k), tiling, multiple)
            tried.append(sized(tile_size(parts)))
            try:
                self._fill(result, channels, known, parts, forwards)
            except (OutOfMemoryError, MemoryError) as error:
                hint = error.hint if isinstance(error, OutOfMemoryError) else MORE_MEMORY
            else:
                return result, _warned(tried)
            # Not above: the error holds on to all that failed.
            tiling = smaller(tiling, (i, j, k), multiple)
        raise OutOfMemoryError(
            f"The network of {self.bundle.name} does not fit into the memory, not even with {tried[-1]} voxels at a "
            f"time; tried were {', '.join(tried)}.",
            hint=hint,
        )

    def _fill(
        self,
        result: NDArray[np.float32],
        channels: NDArray[np.float32],
        known: NDArray[np.bool_],
        parts: Sequence[Tile],
        progress: Progress,
    ) -> None:
        """Run the network over each tile, mirrored as the mode says, into ``result`` (output, i, j, k)."""
        for done, tile in enumerate(parts):
            progress((done + 0.5) / (len(parts) + 1), 1, "network")
            image = channels[(slice(None), *tile.reads)]
            mode: Mode = "thorough" if known[tile.keeps].any() else self.mode
            part = mirrored_mean(self._network.infer, image, self.bundle.manifest.mirrored(mode))
            result[(slice(None), *tile.keeps)] = part[(slice(None), *tile.keeps_of_tile)]

    def _mask_by_brain(self, array: NDArray[np.float32], grid: Grid) -> None:
        """Set lesion outputs to 0 outside the brain, in place."""
        manifest = self.bundle.manifest
        if manifest.brain_mask is None:
            return
        region = brain_region(array[manifest.outputs.index(manifest.brain_mask.output)], grid, manifest.brain_mask)
        for name in set(manifest.labels.values()):
            array[manifest.outputs.index(name)] *= region


def _warned(tried: Sequence[str]) -> tuple[str, ...]:
    """A warning where the first size that was tried is not the one that did."""
    if len(tried) == 1:
        return ()
    warning = (
        f"Memory ran out with {tried[0]} voxels at a time, so the network ran over tiles of {tried[-1]} voxels: "
        "probabilities may differ slightly from those of larger ones."
    )
    return (warning,)
