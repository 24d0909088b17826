"""One visit of one patient: images by sequence, all on one grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from jaxtyping import Float

from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.core.lesion import KnownLesion
from metseg.core.volume import LabelMap, Volume

SEQUENCES: Final = ("t1c", "t1n", "t2f", "t2w", "ct")
Modality = Literal["MR", "CT"]
Space = Literal["native", "atlas"]


@dataclass(frozen=True)
class Source:
    """Where a study came from: enough to know it again, nothing about the patient.

    Args:
        paths: the files read, as the user gave them.
        sha256: one hash over all the bytes that were read, in reading order.
        format: ``"nifti"``, ``"dicom"``, ``"mha"``, ``"nrrd"`` or ``"memory"``.
        notes: what the reader repaired, chose or doubted, a sentence each; they reach the report.
        headers: technical facts from the header, by DICOM keyword (``Modality``, ``ContrastBolusAgent`` as
            "present"/"absent", ``SliceThickness`` …); never identity.
        slice_names: for DICOM, what each slice along the third voxel axis is called there: ``"12"`` (InstanceNumber) or
            ``"frame 12"``; empty text for a slice without a number, and no names at all for other formats.
        sides_known: whether the file leaves no doubt about which side is the patient's left.
    """

    paths: tuple[Path, ...] = ()
    sha256: str = ""
    format: str = "memory"
    notes: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    slice_names: tuple[str, ...] = ()
    sides_known: bool = True


@dataclass(frozen=True)
class Identity:
    """Who was imaged and when, as a DICOM header writes it; empty where it does not say.

    No study and no result holds it. It is read only where it is asked for, and goes into the report's head alone.
    """

    name: str = ""
    patient_id: str = ""
    birth_date: str = ""
    study_date: str = ""


@dataclass(frozen=True, eq=False)
class Study:
    """Images of one visit, by sequence, all on one grid.

    Args:
        case: name of the case: names its output folder.
        images: volumes by sequence name, out of ``SEQUENCES``.
        source: where they came from.
        space: ``"native"`` (the scanner's) or ``"atlas"``.
        skull_stripped: None where nobody knows.
        prior: lesions known from an earlier visit, one number each, on the same grid; they guide engines that can be
            guided, and the operating point. None where nothing is known.
        known: these lesions as the mask told of them that ``prior`` was made of, and those of it that lie outside the
            images; empty where ``prior`` itself is all there is.

    Raises:
        InputError: no image, an unknown sequence, MR mixed with CT, or grids that differ by over 1e-3 mm.
    """

    case: str
    images: Mapping[str, Volume]
    source: Source = field(default_factory=Source)
    space: Space = "native"
    skull_stripped: bool | None = None
    prior: LabelMap | None = None
    known: tuple[KnownLesion, ...] = ()

    def __post_init__(self) -> None:
        if not self.images:
            raise InputError(f"Study {self.case} has no image.")
        unknown = sorted(set(self.images) - set(SEQUENCES))
        if unknown:
            raise InputError(f"Study {self.case} has unknown sequences {unknown}; known are {', '.join(SEQUENCES)}.")
        if "ct" in self.images and len(self.images) > 1:
            raise InputError(f"Study {self.case} mixes CT with MR sequences: {sorted(self.images)}.")
        for name, volume in self.images.items():
            if not volume.grid.matches(self.grid):
                raise InputError(
                    f"The images of study {self.case} lie on different grids: {next(iter(self.images))} has "
                    f"{self.grid}, {name} has {volume.grid}.",
                    hint="Register and resample them to one grid first.",
                )
        if self.prior is not None and not self.prior.grid.matches(self.grid):
            raise InputError(
                f"The prior of study {self.case} lies on {self.prior.grid}, but its images on {self.grid}.",
                hint="Bring the known lesions to the study's grid first.",
            )
        object.__setattr__(self, "images", MappingProxyType(dict(self.images)))

    @property
    def grid(self) -> Grid:
        """The grid that all images share."""
        return next(iter(self.images.values())).grid

    @property
    def modality(self) -> Modality:
        """``"CT"`` or ``"MR"``."""
        return "CT" if "ct" in self.images else "MR"

    def stack(self, sequences: Sequence[str]) -> Float[np.ndarray, "channel i j k"]:
        """The named images as float32 channels, in the order asked for.

        Raises:
            InputError: a sequence that the study lacks.
        """
        missing = [name for name in sequences if name not in self.images]
        if missing:
            raise InputError(
                f"Study {self.case} lacks {', '.join(missing)}; it has {', '.join(self.images)}.",
                hint="Give the missing sequence, or choose a model that does without it.",
            )
        channels = [np.asarray(self.images[name].array, dtype=np.float32) for name in sequences]
        return channels[0][np.newaxis] if len(channels) == 1 else np.stack(channels)  # one needs no copy
