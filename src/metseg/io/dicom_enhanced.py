"""Multi-frame objects: which attributes hold for which frame (functional groups, PS3.3 C.7.6.16)."""

from collections.abc import Sequence
from typing import Final

from pydicom.dataset import Dataset

from metseg.io.dicom_values import FaultyValueError, number_of, value_of

MAX_FRAMES: Final = 100_000
# Only the groups that say where a frame lies, what its values mean, and which volume it belongs to.
_GROUPS: Final = (
    "PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence", "PixelValueTransformationSequence",
    "FrameContentSequence", "TemporalPositionSequence", "MRImageFrameTypeSequence", "CTImageFrameTypeSequence",
    "MREchoSequence", "MRDiffusionSequence", "MRTimingAndRelatedParametersSequence", "MRModifierSequence",
    "CTAcquisitionDetailsSequence", "CTReconstructionSequence",
)  # fmt: skip


def layers_of_frames(dataset: Dataset) -> list[Sequence[Dataset]] | None:
    """For each frame, the data sets to look attributes up in: its own groups, shared ones, the top level.

    Returns:
        None for a single-frame object.

    Raises:
        FaultyValueError: several frames without functional groups, or not one group for each frame.
    """
    count = int(number_of([dataset], "NumberOfFrames") or 1)
    per_frame = value_of([dataset], "PerFrameFunctionalGroupsSequence")
    shared = value_of([dataset], "SharedFunctionalGroupsSequence")
    if per_frame is None and shared is None:
        if count > 1:
            raise FaultyValueError("it has several frames but does not say where each lies")
        return None
    if not 1 <= count <= MAX_FRAMES:
        raise FaultyValueError(f"its NumberOfFrames is not between 1 and {MAX_FRAMES}")
    if per_frame is None or len(per_frame) != count:
        found = 0 if per_frame is None else len(per_frame)
        raise FaultyValueError(f"it declares {count} frames but describes {found}")
    common = [item for group in shared or () for item in _groups(group)]
    return [(*_groups(item), *common, dataset) for item in per_frame]


def _groups(item: Dataset) -> list[Dataset]:
    """First item of each functional group that counts."""
    groups = (value_of([item], name) for name in _GROUPS)
    return [group[0] for group in groups if group]
