"""What is known about each lesion, and all lesions of a case."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, get_args

from metseg.core.errors import InputError

Point = tuple[float, float, float]
KnownStatus = Literal["found", "not found", "outside"]
Side = Literal["left", "right", "midline"]
Region = Literal[
    "frontal lobe", "parietal lobe", "temporal lobe", "occipital lobe", "insula", "basal ganglia", "thalamus",
    "brainstem", "cerebellum",
]  # fmt: skip
REGIONS: Final[tuple[Region, ...]] = get_args(Region)
_LOBE: Final = " lobe"


@dataclass(frozen=True)
class Location:
    """In which part of the brain a lesion's centre lies; its side stands with the lesion.

    Args:
        regions: one part, or two, the likelier first, where it lies too near to their border to tell.
        share: how likely it lies in one of ``regions``, by how precisely places are known, 0 to 1.
    """

    regions: tuple[Region, ...]
    share: float

    @property
    def words(self) -> str:
        """``"frontal lobe"``, ``"frontal or parietal lobe"``, ``"temporal lobe or insula"``."""
        if all(region.endswith(_LOBE) for region in self.regions):
            return " or ".join(region.removesuffix(_LOBE) for region in self.regions) + _LOBE
        return " or ".join(self.regions)


@dataclass(frozen=True)
class Lesion:
    """One lesion.

    Args:
        id: its value in the instance map, from 1.
        volume_mm3: voxels times voxel volume.
        diameter_mm: longest diameter in one slice of the study's most nearly axial voxel plane, between voxel
            edges (RANO-BM's longest diameter).
        perpendicular_mm: longest diameter perpendicular to it, in the same slice.
        diameter_3d_mm: longest distance between two points of the lesion, any direction.
        centre_mm: centroid, RAS+ millimetres.
        centre_ijk: the same as fractional voxel indices of the study's grid.
        slice_number: index, from 0, along the axial voxel axis of the slice that holds ``diameter_mm``.
        bbox_ijk: first voxel, and one past the last, of the bounding box.
        confidence: in [0, 1], None where the engine gives no probabilities.
        known: whether it touches a lesion that is known from an earlier visit; None where none was given.
        side: on which side of the brain's plane of symmetry its centre lies; ``"midline"`` where it is too near to
            tell, None where it was not determined.
        location: in which part of the brain its centre lies; None where it was not determined.
        tracking_uid: names it across visits, as a DICOM UID; None where nobody gave one.
    """

    id: int
    volume_mm3: float
    diameter_mm: float
    perpendicular_mm: float
    diameter_3d_mm: float
    centre_mm: Point
    centre_ijk: Point
    slice_number: int
    bbox_ijk: tuple[tuple[int, int, int], tuple[int, int, int]]
    confidence: float | None = None
    known: bool | None = None
    side: Side | None = None
    location: Location | None = None
    tracking_uid: str | None = None

    @property
    def volume_ml(self) -> float:
        """Volume in millilitres."""
        return self.volume_mm3 / 1000


@dataclass(frozen=True)
class KnownLesion:
    """A lesion known from an earlier visit, as the mask told of it that the study was guided by.

    Args:
        id: its number, from 1, largest first.
        volume_mm3: in that mask.
        centre_mm: centroid in that mask, RAS+ millimetres.
        share_inside: how much of it lies in the study's images, 0 to 1.
        value: of its voxels in the study's prior; where none are its own since another lesion has them too (on a
            coarser grid), of the other's; 0 where it lies outside.
        found: whether a lesion that was found touches it; None as long as nobody looked.
        tracking_uid: of the lesion at the earlier visit, where that is known.
    """

    id: int
    volume_mm3: float
    centre_mm: Point
    share_inside: float
    value: int
    found: bool | None = None
    tracking_uid: str | None = None

    @property
    def status(self) -> KnownStatus:
        """What became of it; ``"outside"`` where it was not found, but is not wholly in the images either."""
        if self.found:
            return "found"
        return "not found" if self.share_inside == 1 else "outside"


@dataclass(frozen=True)
class LesionTable:
    """The lesions of a case, largest first, numbered 1, 2, 3 …

    Raises:
        InputError: lesions out of order or not numbered from 1.
    """

    lesions: tuple[Lesion, ...] = ()

    def __post_init__(self) -> None:
        if [lesion.id for lesion in self.lesions] != list(range(1, len(self.lesions) + 1)):
            raise InputError("The lesions of a table must be numbered 1, 2, 3 … in order.")
        volumes = [lesion.volume_mm3 for lesion in self.lesions]
        if volumes != sorted(volumes, reverse=True):
            raise InputError("The lesions of a table must be sorted, largest first.")

    def __len__(self) -> int:
        return len(self.lesions)

    def __iter__(self) -> Iterator[Lesion]:
        return iter(self.lesions)

    @property
    def total_volume_mm3(self) -> float:
        """Sum of all lesion volumes."""
        return sum(lesion.volume_mm3 for lesion in self.lesions)
