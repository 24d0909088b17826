"""Names of lesions that hold across visits."""

from dataclasses import replace

import numpy as np

from metseg.core.lesion import Lesion, LesionTable
from metseg.core.uid import uid_of
from metseg.core.volume import LabelMap


def track_lesions(lesions: LesionTable, instances: LabelMap, sha256: str) -> LesionTable:
    """Give each lesion that has none a tracking UID: the same image and the same voxels give the same one.

    Args:
        lesions: those matched to a lesion of an earlier visit may have its UID already.
        instances: numbered as in ``lesions``.
        sha256: of the image they were found in.
    """

    def uid(lesion: Lesion) -> str:
        box = tuple(slice(first, stop) for first, stop in zip(*lesion.bbox_ijk))
        voxels = np.packbits(instances.array[box] == lesion.id).tobytes()
        return uid_of("lesion", sha256, instances.grid.affine.tobytes(), repr(lesion.bbox_ijk), voxels)

    named = (each if each.tracking_uid else replace(each, tracking_uid=uid(each)) for each in lesions)
    return LesionTable(tuple(named))
