"""Heads without a tumour, into which lesions are drawn: label maps, real scans, or made from nothing."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from metseg.core.errors import InputError
from metseg.synthesis.tissues import INTRACRANIAL, tissues_from_freesurfer

# Never trained on: kept for validation.
HELD_OUT_LABELS: Final = ("training_seg_18", "training_seg_19", "training_seg_20")
HELD_OUT_SCANS: Final = ("patient26",)
# Heads made from nothing with numbers below this one may be trained on.
FIRST_UNSEEN_HEAD: Final = 1000
_THIRD_VENTRICLE: Final = 14
_CHIASM: Final = 85


Place = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class LabelHost:
    """A head as tissues, RAS+, 1 mm.

    Args:
        name: of the head.
        tissues: (i, j, k).
        landmarks: voxel of the middle of the ``third ventricle``, the ``pituitary`` and the ``pineal`` gland, as far
            as they are known.
        wide_sulci: whether the map gives the sulci too much fluid, as SynthSeg's do.
    """

    name: str
    tissues: NDArray[np.uint8]
    landmarks: dict[str, Place] = field(default_factory=dict)
    wide_sulci: bool = False

    @cached_property
    def brain(self) -> NDArray[np.bool_]:
        """What lies inside the skull."""
        return np.isin(self.tissues, INTRACRANIAL)

    @cached_property
    def brain_box(self) -> NDArray[np.float64]:
        """First and last voxel (2, 3) of what lies inside the skull."""
        box = trimmed(self.brain, margin=0)
        return np.array([[s.start for s in box], [s.stop - 1 for s in box]], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class ScanHost:
    """A real skull-stripped brain, RAS+, 1 mm, background 0; both images share one scale.

    Args:
        name: for the model card.
        plain: T1 before gadolinium (i, j, k), white matter about 1.
        enhanced: T1 after gadolinium (i, j, k), white matter about 1.
    """

    name: str
    plain: NDArray[np.float32]
    enhanced: NDArray[np.float32]

    @cached_property
    def brain(self) -> NDArray[np.bool_]:
        """Voxels that the skull stripping left."""
        return self.enhanced > 0


Host = LabelHost | ScanHost


def trimmed(mask: NDArray[np.bool_], margin: int = 2) -> tuple[slice, slice, slice]:
    """The box (three slices) around what is true in ``mask``, with ``margin`` voxels around where there is room."""
    spans = []
    for axis in range(3):
        present = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        spans.append(slice(max(int(present[0]) - margin, 0), int(present[-1]) + 1 + margin))
    return spans[0], spans[1], spans[2]


def white_matter_level(image: NDArray[np.float32], brain: NDArray[np.bool_]) -> float:
    """The most common intensity in the bright half of a T1-weighted brain: its white matter."""
    values = image[brain]
    bright = values[(values > np.median(values)) & (values <= np.percentile(values, 98))]
    counts, edges = np.histogram(bright, bins=64)
    peak = int(np.argmax(counts))
    return float((edges[peak] + edges[peak + 1]) / 2)


def _read_ras(path: Path) -> NDArray[Any]:
    """The voxels of a NIfTI file, its axes turned to RAS+."""
    import nibabel as nib

    image: Any = nib.loadsave.load(path)
    return np.asanyarray(nib.funcs.as_closest_canonical(image).dataobj)  # type: ignore[no-untyped-call]


def read_label_host(path: Path) -> LabelHost:
    """A whole-head label map in FreeSurfer/SynthSeg numbers (NIfTI, 1 mm)."""
    labels = _read_ras(path).astype(np.int32)
    tissues = tissues_from_freesurfer(labels)
    box = trimmed(tissues > 0)
    name = path.name.partition(".")[0]
    return LabelHost(name, np.ascontiguousarray(tissues[box]), _landmarks(labels[box]), wide_sulci=True)


def _landmarks(labels: NDArray[np.int32]) -> dict[str, Place]:
    """From FreeSurfer's third ventricle (14) and optic chiasm (85): the glands lie beside them."""
    found: dict[str, Place] = {}
    third, chiasm = np.argwhere(labels == _THIRD_VENTRICLE), np.argwhere(labels == _CHIASM)
    if len(third):
        x, y, z = third.mean(axis=0)
        found["third ventricle"] = (float(x), float(y), float(z))
        found["pineal"] = (float(x), float(np.percentile(third[:, 1], 2)) - 4, float(z) + 1)
    if len(chiasm):
        x, y, z = chiasm.mean(axis=0)
        found["pituitary"] = (float(x), float(y) + 2, float(z) - 9)
    return found


def read_scan_host(plain: Path, enhanced: Path, name: str) -> ScanHost:
    """A skull-stripped pair of T1 images (NIfTI, 1 mm, one grid)."""
    pair = [_read_ras(path).astype(np.float32) for path in (plain, enhanced)]
    brain = pair[1] > 0
    box = trimmed(brain)
    scaled = [np.ascontiguousarray((np.where(brain, i, 0) / white_matter_level(i, brain))[box]) for i in pair]
    return ScanHost(name, np.clip(scaled[0], 0, 8), np.clip(scaled[1], 0, 8))


@dataclass(frozen=True)
class HostFile:
    """A host that can be read when it is wanted.

    Args:
        name: of the host.
        paths: of a label map; or of a scan before and after gadolinium.
    """

    name: str
    paths: tuple[Path, ...]

    @property
    def is_map(self) -> bool:
        """A label map; else a real scan."""
        return len(self.paths) == 1

    def read(self) -> Host:
        """Read it."""
        return (
            read_label_host(self.paths[0]) if self.is_map else read_scan_host(self.paths[0], self.paths[1], self.name)
        )


def find_hosts(data: Path, *, held_out: bool | None = False) -> list[HostFile]:
    """The label maps in ``data/hosts_labels`` and brains in ``data/hosts_t1c/open_ms``.

    Args:
        data: folder.
        held_out: those kept for validation (True), those to train on (False), or all (None).

    Raises:
        InputError: neither folder holds a host.
    """
    found = [HostFile(p.name.partition(".")[0], (p,)) for p in sorted(data.glob("hosts_labels/*.nii.gz"))]
    found += [
        HostFile(p.name, (p / "T1_MNI.nii.gz", p / "T1POST_MNI.nii.gz"))
        for p in sorted(data.glob("hosts_t1c/open_ms/*"))
    ]
    wanted = [f for f in found if held_out is None or held_out == (f.name in (*HELD_OUT_LABELS, *HELD_OUT_SCANS))]
    if not wanted:
        raise InputError(
            f"There are no hosts in {data.name}.", hint="It needs hosts_labels/*.nii.gz or hosts_t1c/open_ms/*."
        )
    return wanted


def read_hosts(data: Path, *, held_out: bool | None = False) -> list[Host]:
    """All that ``find_hosts`` finds.

    Raises:
        InputError: there are none.
    """
    return [file.read() for file in find_hosts(data, held_out=held_out)]
