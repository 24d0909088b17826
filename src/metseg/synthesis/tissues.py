"""The tissues that a host is made of."""

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


def tissues_from_freesurfer(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """FreeSurfer/SynthSeg label numbers (i, j, k) to tissues; numbers nobody named become air."""
    table = np.zeros(1024, dtype=np.uint8)
    for tissue, numbers in _FREESURFER.items():
        table[list(numbers)] = tissue
    return np.asarray(table[np.clip(labels, 0, 1023)])
