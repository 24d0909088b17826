"""One study with known truth, made from nothing: for a demonstration without data."""

from typing import Final

import numpy as np

from metseg.core.grid import Grid
from metseg.core.volume import LabelMap, Volume
from metseg.synthesis.head import make_head
from metseg.synthesis.hosts import FIRST_UNSEEN_HEAD
from metseg.synthesis.scene import SceneOptions, make_scene

_LESIONS: Final = 4


def make_demo_study(seed: int = 0) -> tuple[Volume, LabelMap]:
    """A whole head on contrast-enhanced T1 with up to four metastases, and the truth.

    Args:
        seed: the same seed gives the same study; none of them was trained on.

    Returns:
        The image (RAS+, 1 mm) and the lesions' numbers on the same grid.
    """
    rng = np.random.default_rng([FIRST_UNSEEN_HEAD + seed, 2])
    options = SceneOptions(bend=False, stripped=0.0, count=_LESIONS, largest_mm=30.0, thick_slices=0.0)
    scene = make_scene(rng, make_head(FIRST_UNSEEN_HEAD + seed), options=options)
    shape: tuple[int, int, int] = scene.truth.shape
    grid = Grid.isotropic(shape, 1.0, origin_mm=[-n / 2 for n in shape])
    image = np.rint(np.clip(scene.image, 0, 8) * 400).astype(np.uint16)
    names = {int(n): f"lesion {n}" for n in np.unique(scene.truth) if n}
    return Volume(image, grid), LabelMap(scene.truth, grid, names)
