"""One stage's network over a whole image, on an accelerator: windows in batches, summed up where the network is.

Windows, weights, mirrorings and folds are those of ``metseg.engines.nnunet.predictor``. On CUDA the network computes in
half precision where torch holds that to be safe, as nnU-Net does; sums are kept in single precision.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from math import prod
from typing import Final, TypeVar, Unpack

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from metseg.core.progress import Progress
from metseg.engines.nnunet.predictor import Fold, How, Sets, SoFar, predict_logits
from metseg.engines.nnunet.stage import Stage
from metseg.engines.nnunet.unet_arguments import UNetArguments
from metseg.engines.nnunet.unet_weights import Weights
from metseg.engines.nnunet.windows import Place, importance
from metseg.engines.torch.device import free_unused, is_out_of_memory, no_room, predicting
from metseg.engines.torch.unet import build_unet

_VOXELS_AT_ONCE: Final = 4 * 128**3  # more of them at once hardly make a large accelerator faster
Build = Callable[[UNetArguments, Weights], nn.Module]
Pass = tuple[Place, tuple[int, ...]]  # where a window lies, and the axes along which it is mirrored
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
        self, stage: Stage, folds: Sequence[Fold], channels: Float[np.ndarray, "channel i j k"], **how: Unpack[How]
    ) -> NDArray[np.float32]:
        """Mean logits of all folds: (channel, i, j, k) to (output, i, j, k); see ``predict_logits``.

        Where memory runs out, batches become smaller; where one window alone is too much, the sums move to the host.
        Each call begins anew with the largest, so that the same image gives the same result.

        Raises:
            InferenceError: one window does not fit into the memory, or gave something that is not finite.
            ModelError: the weights are not of this network.
        """

        def ready(fold: Fold) -> nn.Module:
            return self.build(stage.network, fold())

        def sums(image: NDArray[np.float32]) -> DeviceSums:
            networks = [partial(ready, fold) for fold in folds]
            return DeviceSums(self.device, stage, image, networks, self._first_batch(stage))

        with predicting(self.threads):
            return predict_logits(stage, channels, sums, **how)

    def _first_batch(self, stage: Stage) -> int:
        if self.at_once is not None:
            return self.at_once
        return 1 if self.device.type == "cpu" else max(1, _VOXELS_AT_ONCE // prod(stage.window))


class DeviceSums:
    """An image, and the sums of what networks say of its windows, on the device while there is room.

    Args:
        device: where the networks run.
        stage: what is run.
        image: (channel, i, j, k), no smaller than a window.
        networks: make the network of each fold ready, on the host. One is kept at a time.
        at_once: passes in one batch, to begin with.
    """

    def __init__(
        self,
        device: torch.device,
        stage: Stage,
        image: NDArray[np.float32],
        networks: Sequence[Callable[[], nn.Module]],
        at_once: int,
    ) -> None:
        self.device, self.window, self.networks, self.at_once = device, stage.window, networks, at_once
        self.on_host = False  # the image and the sums
        self.image = torch.from_numpy(image)
        self.importance = importance(stage.window)
        self.weight = torch.from_numpy(self.importance)
        self.weights = np.zeros(image.shape[1:], dtype=np.float32)
        self.total = torch.empty(0)
        self.ready: tuple[int, nn.Module] | None = None
        self._with_room(partial(self._settle, stage.network.outputs))

    def add(self, fold: int, places: Sequence[Place], mirrored: Sets, progress: Progress) -> None:
        """See ``Sums``; windows and their mirror images go through in batches."""
        passes = list(product(places, mirrored))
        if not passes:
            return
        network = self._network(fold)
        done = 0
        half = torch.autocast(self.device.type, dtype=torch.float16, enabled=self.device.type == "cuda")
        with half:
            while done < len(passes):
                progress(done, len(passes), "network")
                parts = self._with_room(partial(self._weighted, network, passes[done:]))
                # In place: that needs no memory, so it cannot fail midway.
                for (place, _), part in zip(passes[done:], parts):
                    self.total[(slice(None), *place)] += part
                done += len(parts)
        for place in places:
            self.weights[place] += self.importance * np.float32(len(mirrored))

    def so_far(self) -> SoFar:
        """See ``Sums``."""
        return self.total.cpu().numpy(), self.weights

    def finish(self) -> NDArray[np.float32]:
        """See ``Sums``."""
        self.ready = None
        return np.asarray(self.total.cpu().numpy() / self.weights)

    def _network(self, fold: int) -> nn.Module:
        if self.ready is None or self.ready[0] != fold:
            self.ready = None  # frees the last one's memory first
            self.ready = fold, self._with_room(lambda: self.networks[fold]().to(self.device))
        return self.ready[1]

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
