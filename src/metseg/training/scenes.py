"""Training data made on the fly: step and seed decide each scene, whatever the number of workers."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from metseg.core.grid import Grid
from metseg.preprocess.extent import CropForeground, PadToMultiple
from metseg.preprocess.normalise import ForegroundStatistics, NormaliseWindow, foreground_statistics, normalise
from metseg.preprocess.steps import run_channels
from metseg.synthesis.cohort import draw_training_count
from metseg.synthesis.fields import Field, log_uniform, shape_of
from metseg.synthesis.head import make_head
from metseg.synthesis.hosts import Host, LabelHost, ScanHost
from metseg.synthesis.scene import Scene, SceneOptions, make_scene
from metseg.synthesis.whole_head import SPACING_MM, make_ct_head, make_whole_head
from metseg.training.recipe import Recipe

MADE_HEADS = range(8)
_KEPT = 200  # scenes from which those used again are drawn
_WINDOW = NormaliseWindow()
BRAIN_WINDOW = NormaliseWindow(low=-100, high=200, middle=35, scale=40)  # as in the card of a CT bundle
_EXTENT = (CropForeground(), PadToMultiple(multiple=16))


def _jittered(rng: np.random.Generator, statistics: ForegroundStatistics) -> ForegroundStatistics:
    """The statistics as a scan with other margins, coils or lesions might have had them."""
    shift = rng.normal(0, 0.12) * statistics.range
    half = statistics.range * np.exp(rng.normal(0, 0.14)) / 2
    middle = (statistics.p15 + statistics.p85) / 2
    return ForegroundStatistics(statistics.median + shift, middle - half, middle + half)


def _channels(rng: np.random.Generator, scene: Scene) -> Field:
    """The images, normalised as in use, one after the other: (channel, i, j, k)."""
    channels = []
    for sequence, image in scene.images.items():
        if sequence == "ct":
            channels.append(_WINDOW.apply(image, Grid.isotropic(shape_of(image)))[0])
        else:
            channels.append(normalise(image, _jittered(rng, scene.statistics[sequence])))
    return np.stack(channels)


def _real_hosts_serve(recipe: Recipe) -> bool:
    """Whether real hosts can serve: they have T1 with contrast agent only."""
    return recipe.sequences == ("t1c",)


class _Endless(Dataset[tuple[Tensor, ...]]):
    """The hosts, and ``count`` items from item ``first`` on; None: all that the recipe has steps for."""

    def __init__(self, hosts: list[Host], recipe: Recipe, first: int = 0, count: int | None = None) -> None:
        self.labels = [h for h in hosts if isinstance(h, LabelHost)]
        self.scans = [h for h in hosts if isinstance(h, ScanHost)]
        self.made = [make_head(seed) for seed in MADE_HEADS]
        self.recipe = recipe
        self.first = first
        self.count = recipe.steps * recipe.batch - first if count is None else count

    def __len__(self) -> int:
        return self.count


class SceneDataset(_Endless):
    """Item n: images (channel, i, j, k) normalised, lesion numbers (i, j, k), brain (i, j, k)."""

    def __init__(self, hosts: list[Host], recipe: Recipe, first: int = 0, count: int | None = None) -> None:
        super().__init__(hosts, recipe, first, count)
        self._made_lately: dict[int, Scene] = {}

    def _options(self, rng: np.random.Generator) -> SceneOptions:
        recipe = self.recipe
        options = SceneOptions(
            sequences=recipe.sequences, stripped=recipe.stripped, anywhere=recipe.anywhere, mimics=recipe.mimics
        )
        if recipe.small_share and rng.random() < recipe.small_share:
            options = replace(options, count=2 * draw_training_count(rng), largest_mm=log_uniform(rng, 5, 16))
        return options

    def _scene(self, number: int) -> Scene:
        """Scene ``number`` of the run; where scenes are used again, the latest are kept. A missing one is made anew."""
        kept = self._made_lately
        if number in kept:
            return kept[number]
        scene = self._make_scene(np.random.default_rng([self.recipe.seed, number]))
        if self.recipe.uses > 1:
            if len(kept) == _KEPT:
                del kept[min(kept)]
            kept[number] = scene
        return scene

    def _make_scene(self, rng: np.random.Generator) -> Scene:
        share = rng.random()
        kinds = (self.labels, self.made, self.scans if _real_hosts_serve(self.recipe) else [])
        limits = (self.recipe.label_share, self.recipe.label_share + self.recipe.made_share)
        pool = kinds[np.searchsorted(limits, share, side="right")] or self.labels or self.made
        edge = self.recipe.patch
        host = pool[rng.integers(len(pool))]
        return make_scene(rng, host, (edge, edge, edge), self._options(rng))

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        rng = np.random.default_rng([self.recipe.seed, self.first + index, 1])
        number, again = divmod(self.first + index, self.recipe.uses)
        if again:
            number -= int(rng.integers(min(number + 1, _KEPT)))
        scene = self._scene(number)
        side = -1 if rng.random() < 0.5 else 1
        parts = (_channels(rng, scene), scene.truth, scene.brain)
        turned = [torch.from_numpy(np.ascontiguousarray(part[..., ::side, :, :])) for part in parts]
        return turned[0], turned[1], turned[2]


class HeadDataset(_Endless):
    """Item n: image (1, i, j, k) of a whole head, normalised, and brain (i, j, k).

    MR is cut and padded as in use, or the network learns where in the cube brains lie. So sizes differ: batches of
    one. CT, which has the whole field of view, is not cut.
    """

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([self.recipe.seed, self.first + index])
        pool = self.made if rng.random() < self.recipe.made_share or not self.labels else self.labels
        host = pool[rng.integers(len(pool))]
        if self.recipe.sequences == ("ct",):
            head = make_ct_head(rng, host, self.recipe.patch)
            image = BRAIN_WINDOW.apply(head.image, Grid.isotropic(head.brain.shape))[0]
            return torch.from_numpy(image[None]), torch.from_numpy(head.brain)
        head = make_whole_head(rng, host, self.recipe.patch, self.recipe.stripped)
        image = normalise(head.image, _jittered(rng, foreground_statistics(head.image)))
        grid = Grid.isotropic(head.brain.shape, SPACING_MM)
        both, _ = run_channels(_EXTENT, np.stack([image, head.brain]).astype(np.float32), grid)
        return torch.from_numpy(both[:1]), torch.from_numpy(both[1] > 0)
