"""One stage's network over a whole image, on an accelerator: windows in batches, summed up where the network is.

Windows, weights, mirrorings and folds are those of ``metseg.engines.nnunet.predictor``. On CUDA the network computes in
half precision where torch holds that to be safe, as nnU-Net does; sums are kept in single precision.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from math import prod
from typing import Final, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from metseg.core.errors import InferenceError
from metseg.core.progress import Progress, no_progress
from metseg.engines.mirroring import mirrorings
from metseg.engines.nnunet.predictor import Weights
from metseg.engines.nnunet.stage import Stage
from metseg.engines.nnunet.unet_graph import UNetArguments
from metseg.engines.nnunet.windows import importance, overlap, padding, windows
from metseg.engines.torch.device import free_unused, is_out_of_memory, no_room, predicting
from metseg.engines.torch.unet import build_unet

_VOXELS_AT_ONCE: Final = 4 * 128**3  # more of them at once hardly make a large accelerator faster
Build = Callable[[UNetArguments, Weights], nn.Module]
Pass = tuple[tuple[slice, ...], tuple[int, ...]]  # where a window lies, and the axes along which it is mirrored
T = TypeVar("T")


class TorchPredictor:
    """Runs the stages of nnU-Net models on one device; ``metseg.engines.nnunet.cascade.Predict``.

    Args:
        device: where.
        threads: at most so many CPU threads; None for as many as torch takes by itself.
        at_once: windows and mirrored copies of them in one batch, to begin with; None for as many as suit the device.
        build: makes a network of its arguments and weights.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        threads: int | None = None,
        at_once: int | None = None,
        build: Build = build_unet,
    ) -> None:
        self.device, self.threads, self.at_once, self.build = device, threads, at_once, build

    def __call__(
        self,
        stage: Stage,
        folds: Iterable[Weights],
        channels: Float[np.ndarray, "channel i j k"],
        *,
        mirror: bool = True,
        step: float = 0.5,
        progress: Progress = no_progress,
    ) -> NDArray[np.float32]:
        """Mean logits of all folds: (channel, i, j, k) to (output, i, j, k).

        Where memory runs out, batches become smaller; where one window alone is too much, the sums move to the host.
        Each call begins anew with the largest, so that the same image gives the same result.

        Args:
            stage: what is run.
            folds: weights of each fold.
            channels: as the stage wants them.
            mirror: along the axes that the stage allows.
            step: between windows, of their size.
            progress: 0 … 1 over all windows and folds.

        Raises:
            InferenceError: one window does not fit into the memory, or gave something that is not finite.
            ModelError: the weights are not of this network.
        """
        around = padding(channels.shape[1:], stage.window)
        padded = np.pad(channels, [(0, 0), *around])
        places = list(windows(padded.shape[1:], stage.window, step))
        passes = list(product(places, mirrorings(stage.mirror_axes if mirror else ())))
        weight = importance(stage.window)
        with predicting(self.threads):
            sums = _Sums(self.device, stage, padded, weight, self._first_batch(stage))
            for number, fold in enumerate(folds):
                told = partial(_tell, progress, number, len(stage.weights), len(passes))
                sums.add(partial(self.build, stage.network, fold), passes, told)
            total = sums.total.cpu().numpy()
        total /= overlap(places, weight, padded.shape[1:]) * (len(stage.weights) * (len(passes) // len(places)))
        inner = tuple(slice(before, n - after) for (before, after), n in zip(around, padded.shape[1:]))
        result: NDArray[np.float32] = total[(slice(None), *inner)]
        if not np.isfinite(result).all():
            raise InferenceError(f"The network of stage {stage.name} gave values that are not finite.")
        return result

    def _first_batch(self, stage: Stage) -> int:
        if self.at_once is not None:
            return self.at_once
        return 1 if self.device.type == "cpu" else max(1, _VOXELS_AT_ONCE // prod(stage.window))


class _Sums:
    """An image, and the sums of what the network says of its windows, on the device while there is room.

    Args:
        device: where the network runs.
        stage: what is run.
        image: (channel, i, j, k), no smaller than a window.
        weight: of each voxel of a window.
        at_once: passes in one batch, to begin with.
    """

    def __init__(
        self, device: torch.device, stage: Stage, image: NDArray[np.float32], weight: NDArray[np.float32], at_once: int
    ) -> None:
        self.device, self.window, self.at_once = device, stage.window, at_once
        self.on_host = False  # the image and the sums
        self.image = torch.from_numpy(image)
        self.weight = torch.from_numpy(weight)
        self.total = torch.empty(0)
        self._with_room(partial(self._settle, stage.network.outputs))

    def add(self, build: Callable[[], nn.Module], passes: Sequence[Pass], told: Callable[[int], None]) -> None:
        """Add all passes of one fold; ``told`` hears how many are done before each batch."""
        network = self._with_room(lambda: build().to(self.device))
        done = 0
        half = torch.autocast(self.device.type, dtype=torch.float16, enabled=self.device.type == "cuda")
        with half:
            while done < len(passes):
                told(done)
                parts = self._with_room(partial(self._weighted, network, passes[done:]))
                for (place, _), part in zip(
                    passes[done:], parts
                ):  # in place: needs no memory, so it cannot fail midway
                    self.total[(slice(None), *place)] += part
                done += len(parts)

    def _settle(self, outputs: int) -> None:
        self.weight = self.weight.to(self.device)
        self.total = torch.zeros((outputs, *self.image.shape[1:]), device=self._home)
        self.image = self.image.to(self._home)

    @property
    def _home(self) -> torch.device:
        return torch.device("cpu") if self.on_host else self.device

    def _weighted(self, network: nn.Module, passes: Sequence[Pass]) -> list[Tensor]:
        """Of each pass of the next batch what is added to ``total``."""
        some = passes[: self.at_once]
        flat = len(self.window) == 2
        images = [self.image[(slice(None), *place)].squeeze(1) if flat else self.image[(slice(None), *place)]
                  for place, _ in some]  # fmt: skip
        sets = [tuple(axis + 1 for axis in axes) for _, axes in some]
        batch = torch.stack([image.flip(axes) for image, axes in zip(images, sets)]).to(self.device)
        logits = network(batch).float()
        parts = [one.flip(axes).mul_(self.weight).to(self._home) for one, axes in zip(logits, sets)]
        return [part.unsqueeze(1) for part in parts] if flat else parts

    def _with_room(self, action: Callable[[], T]) -> T:
        """Do it, again and again with less memory if that is what it lacks. Any other error is the caller's."""
        while True:
            try:
                return action()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            self._make_room()  # not above: the error holds on to all that failed

    def _make_room(self) -> None:
        if self.at_once > 1:
            self.at_once //= 2
        elif not self.on_host:
            self.on_host = True
            self.image, self.total = self.image.to(self._home), self.total.to(self._home)
        else:
            raise no_room(self.device, f"The network with one window of {'×'.join(map(str, self.window))} voxels")
        free_unused(self.device)


def _tell(progress: Progress, number: int, folds: int, passes: int, done: int) -> None:
    progress(number + done / passes, folds, "network")
