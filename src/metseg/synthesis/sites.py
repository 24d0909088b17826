"""Where metastases settle: by compartment, at the border of grey and white matter, and in the watershed zones."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from metseg.synthesis.cohort import COMPARTMENTS, Compartment
from metseg.synthesis.fields import grown
from metseg.synthesis.tissues import N_TISSUES, Tissue

Voxel = tuple[int, int, int]

_WEIGHTS: Final[dict[Compartment, dict[Tissue, float]]] = {
    "supratentorial": {Tissue.WHITE: 0.7, Tissue.CORTEX: 1.0, Tissue.DEEP_GREY: 0.3, Tissue.FLUID: 0.04},
    "cerebellum": {Tissue.CEREBELLAR_WHITE: 1.0, Tissue.CEREBELLAR_CORTEX: 1.0},
    "brainstem": {Tissue.BRAINSTEM: 1.0},
    "surface": {Tissue.FLUID: 1.0},
}
_GREY: Final = (Tissue.CORTEX, Tissue.CEREBELLAR_CORTEX)
_WHITE: Final = (Tissue.WHITE, Tissue.CEREBELLAR_WHITE)
_REACH = 3  # voxels around a site that are looked at
_AWAY_FROM_JUNCTION = 0.3  # chance to be kept, of that at the junction
_OUTSIDE_WATERSHED = 0.65
_TRIES = 25


@dataclass(frozen=True, eq=False)
class Sites:
    """The places of one scene.

    Args:
        tissues: (i, j, k).
        position: of a voxel in the brain, see ``in_watershed``; None: not known.
    """

    tissues: NDArray[np.uint8]
    position: Callable[[Voxel], tuple[float, float, float]] | None
    _places: dict[Compartment, tuple[NDArray[np.intp], NDArray[np.float64]]]

    @classmethod
    def of(
        cls, tissues: NDArray[np.uint8], position: Callable[[Voxel], tuple[float, float, float]] | None = None
    ) -> "Sites":
        """Collect the places of each compartment."""
        flat, places = tissues.ravel(), {}
        bone = tissues == Tissue.BONE
        near_bone = grown(bone, 3).ravel() if bone.any() else None
        for compartment, weights in _WEIGHTS.items():
            table = np.zeros(N_TISSUES)
            for tissue, weight in weights.items():
                table[tissue] = weight
            there = table[flat] > 0
            if compartment == "surface" and near_bone is not None:
                there &= near_bone
            index = np.flatnonzero(there)
            if len(index):
                places[compartment] = (index, np.cumsum(table[flat[index]]))
        return cls(tissues, position, places)

    def draw(self, rng: np.random.Generator) -> Voxel | None:
        """A voxel; None where the scene holds no place."""
        names = list(self._places)
        if not names:
            return None
        shares = np.array([COMPARTMENTS[name] for name in names])
        name = names[rng.choice(len(names), p=shares / shares.sum())]
        index, chance = self._places[name]
        voxel = (0, 0, 0)
        for _ in range(_TRIES):
            place = index[min(int(np.searchsorted(chance, rng.random() * chance[-1], side="right")), len(index) - 1)]
            i, j, k = (int(n) for n in np.unravel_index(place, self.tissues.shape))
            voxel = (i, j, k)
            if name not in {"supratentorial", "cerebellum"} or rng.random() < self._chance(voxel):
                break
        return voxel

    def _chance(self, voxel: Voxel) -> float:
        around = self.tissues[tuple(slice(max(n - _REACH, 0), n + _REACH + 1) for n in voxel)]
        junction = min(np.isin(around, _GREY).mean(), np.isin(around, _WHITE).mean()) > 0.1
        chance = 1.0 if junction else _AWAY_FROM_JUNCTION
        if self.position is not None and not in_watershed(self.position(voxel)):
            chance *= _OUTSIDE_WATERSHED
        return chance


def in_watershed(position: tuple[float, float, float]) -> bool:
    """Whether a place lies, roughly, in the border zones of the anterior, middle and posterior cerebral arteries.

    Args:
        position: −1 … 1 from left to right, back to front and bottom to top of the brain.

    The outer zones lie as a band beside the midline over the top (anterior | middle) and behind the ears (middle |
    posterior); boundaries drawn as planes, after the schematic maps in textbooks.
    """
    side, forward, up = abs(position[0]), position[1], position[2]
    front = 0.22 < side < 0.5 and up > 0.15 and forward > -0.35
    back = 0.3 < side < 0.8 and -0.85 < forward <= -0.35 and up > -0.2
    return front or back
