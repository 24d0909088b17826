"""From fractions of voxels to labels and numbers: what an ideal reader would write down."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from metseg.synthesis.fields import Field

NECROTIC: Final = 1
OEDEMA: Final = 2
ENHANCING: Final = 3
CAVITY: Final = 4
LABELS: Final = {
    NECROTIC: "non-enhancing tumour core", OEDEMA: "surrounding oedema", ENHANCING: "enhancing tumour",
    CAVITY: "resection cavity",
}  # fmt: skip


def voxels_of(fraction: Field) -> NDArray[np.bool_]:
    """The voxels to mark so that a lesion keeps its volume: as many as it fills, those that it fills most.

    Marking what is filled by half loses thin and small lesions: in slices of 5 mm one of 3 mm fills no voxel by half.

    Args:
        fraction: (i, j, k), how much of each voxel the lesion fills.

    Returns:
        (i, j, k): the sum of the fractions, rounded, and at least one where there is anything.
    """
    flat = fraction.ravel()
    touched = np.flatnonzero(flat > 0)
    count = min(max(round(float(flat[touched].sum(dtype=np.float64))), 1), len(touched))
    mask = np.zeros(flat.shape, dtype=bool)
    mask[touched[np.argsort(-flat[touched], kind="stable")[:count]]] = True
    return mask.reshape(fraction.shape)


@dataclass(frozen=True, eq=False)
class Parts:
    """How much of each voxel of a box one lesion's parts fill, on whatever grid the truth is wanted.

    Args:
        number: of the lesion, from 1.
        cavity: whether it is one.
        core: (i, j, k), tumour with all that is in it, or cavity.
        dark: (i, j, k), what does not enhance of it.
        oedema: (i, j, k), around it; None: none.
    """

    number: int
    cavity: bool
    core: Field
    dark: Field
    oedema: Field | None


def mark(labels: NDArray[np.uint8], instances: NDArray[np.uint8], parts: Parts) -> None:
    """Write one lesion into ``labels`` and ``instances`` (i, j, k), both views of the box of ``parts``, in place.

    Oedema never covers a tumour. A cavity is labelled, not numbered: it is no metastasis.
    """
    if parts.oedema is not None:
        labels[(parts.oedema >= 0.5) & (labels == 0)] = OEDEMA
    free = (labels == 0) | (labels == OEDEMA)
    core = voxels_of(np.where(free, parts.core, np.float32(0)))
    if parts.cavity:
        labels[core] = CAVITY
        return
    labels[core] = np.where(parts.dark > 0.5 * parts.core, np.uint8(NECROTIC), np.uint8(ENHANCING))[core]
    instances[core] = parts.number
