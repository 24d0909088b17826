"""The tissues that a host is made of, and how bright each is on T1-weighted MR after gadolinium."""

from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray


class Tissue(IntEnum):
    """What a voxel of a host holds."""

    AIR = 0
    WHITE = 1
    CORTEX = 2
    DEEP_GREY = 3
    FLUID = 4
    VENTRICLE = 5
    CEREBELLAR_WHITE = 6
    CEREBELLAR_CORTEX = 7
    BRAINSTEM = 8
    CHOROID = 9
    SINUS = 10
    BONE = 11
    MARROW = 12
    MUSCLE = 13
    SKIN = 14
    EYE = 15
    MUCOSA = 16
    NECK_VESSEL = 17


N_TISSUES: Final = len(Tissue)
BRAIN: Final = (
    Tissue.WHITE, Tissue.CORTEX, Tissue.DEEP_GREY, Tissue.VENTRICLE, Tissue.CEREBELLAR_WHITE,
    Tissue.CEREBELLAR_CORTEX, Tissue.BRAINSTEM, Tissue.CHOROID,
)  # fmt: skip
INTRACRANIAL: Final = (*BRAIN, Tissue.FLUID)

# FreeSurfer's numbers, and those from 500 on by which the SynthSeg label maps name what lies outside the brain.
_FREESURFER: Final = {
    Tissue.WHITE: (2, 41, 25, 57, 28, 60, 85),
    Tissue.CORTEX: (3, 42, 17, 53, 18, 54, 136, 137, 163, 164),
    Tissue.DEEP_GREY: (10, 11, 12, 13, 26, 49, 50, 51, 52, 58),
    Tissue.FLUID: (24,),
    Tissue.VENTRICLE: (4, 5, 14, 15, 43, 44, 72),
    Tissue.CEREBELLAR_WHITE: (7, 46),
    Tissue.CEREBELLAR_CORTEX: (8, 47),
    Tissue.BRAINSTEM: (16, 512),
    Tissue.CHOROID: (30, 62),
    Tissue.SINUS: (514,),
    Tissue.BONE: (515,),
    Tissue.MARROW: (516, 530),
    Tissue.MUSCLE: (507, 508),
    Tissue.SKIN: (511,),
    Tissue.EYE: (506,),
    Tissue.MUCOSA: (509,),
    Tissue.NECK_VESSEL: (502,),
}

# Range of the mean after gadolinium, white matter = 1; and of the standard deviation inside one tissue.
_T1C: Final[dict[Tissue, tuple[float, float, float, float]]] = {
    Tissue.AIR: (0.0, 0.03, 0.0, 0.01),
    Tissue.WHITE: (1.0, 1.0, 0.02, 0.06),
    Tissue.CORTEX: (0.66, 1.0, 0.03, 0.10),
    Tissue.DEEP_GREY: (0.78, 1.02, 0.02, 0.06),
    Tissue.FLUID: (0.10, 0.5, 0.03, 0.10),
    Tissue.VENTRICLE: (0.10, 0.4, 0.01, 0.05),
    Tissue.CEREBELLAR_WHITE: (0.92, 1.06, 0.02, 0.07),
    Tissue.CEREBELLAR_CORTEX: (0.66, 0.98, 0.03, 0.10),
    Tissue.BRAINSTEM: (0.85, 1.03, 0.02, 0.06),
    Tissue.CHOROID: (0.9, 2.4, 0.1, 0.4),
    Tissue.SINUS: (0.8, 2.6, 0.1, 0.5),
    Tissue.BONE: (0.05, 0.5, 0.03, 0.15),
    Tissue.MARROW: (0.2, 1.6, 0.1, 0.4),
    Tissue.MUSCLE: (0.4, 1.1, 0.1, 0.35),
    Tissue.SKIN: (0.8, 2.2, 0.1, 0.5),
    Tissue.EYE: (0.15, 0.5, 0.02, 0.1),
    Tissue.MUCOSA: (0.5, 2.4, 0.1, 0.6),
    Tissue.NECK_VESSEL: (0.3, 2.6, 0.1, 0.4),
}


def tissues_from_freesurfer(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """FreeSurfer/SynthSeg label numbers (i, j, k) to tissues; numbers nobody named become air."""
    table = np.zeros(1024, dtype=np.uint8)
    for tissue, numbers in _FREESURFER.items():
        table[list(numbers)] = tissue
    return np.asarray(table[np.clip(labels, 0, 1023)])


def draw_t1c(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each tissue (tissue,) in one imaginary contrast-enhanced T1 scan."""
    ranges = np.array([_T1C[tissue] for tissue in Tissue])
    mean = rng.uniform(ranges[:, 0], ranges[:, 1])
    spread = rng.uniform(ranges[:, 2], ranges[:, 3])
    return mean.astype(np.float32), spread.astype(np.float32)
