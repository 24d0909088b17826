"""A case of a source as arrays on one grid, its labels in metseg's terms, and all that had to be done to get there."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.core.volume import LabelMap, Volume
from metseg.datasets.label_order import ENHANCING, OEDEMA, oedema_outshines
from metseg.datasets.source import SourceCase, SourceMask
from metseg.datasets.source_files import read_source_image, read_source_labels
from metseg.io.image_file import ImageFile
from metseg.io.labels import LabelFile
from metseg.io.nifti_header import NiftiCodes
from metseg.lesions.components import label_instances
from metseg.preprocess.nearest import nearest_on_grid
from metseg.preprocess.reorient import Reorient
from metseg.preprocess.sample import resample_volume

_AIR_HU: Final = -1024.0
_SAME_SPACING: Final = 0.01
_SUBREGION: Final = "enhancing tumour"


@dataclass(frozen=True)
class Finding:
    """Something that was done, left out or doubted.

    Args:
        kind: one word: ``repaired``, ``resampled``, ``geometry``, ``doubt``, ``note``, ``failed``, ``left-out`` …
        message: a sentence.
        case: whose; empty: the whole set's.
        hint: what to do about it.
    """

    kind: str
    message: str
    case: str = ""
    hint: str = ""


@dataclass(frozen=True, eq=False)
class ReadyCase:
    """One case, ready to be written.

    Args:
        images: by sequence, all on one grid.
        codes: how the first image's header said its geometry.
        labels: on the same grid; None where the case is unlabelled.
        source_sha256: of each file that was read, images first, then masks.
        voxels_sha256: of each image as it was read, by sequence.
        findings: what was done.
    """

    images: Mapping[str, Volume]
    codes: NiftiCodes | None
    labels: LabelMap | None
    source_sha256: tuple[str, ...]
    voxels_sha256: Mapping[str, str]
    findings: tuple[Finding, ...]


def voxels_sha256(volume: Volume) -> str:
    """Hash over an image's voxels as float32 in RAS order: the same however they are stored, turned or packed."""
    array, grid = Reorient().apply(np.asarray(volume.array, dtype=np.float32), volume.grid)
    digest = hashlib.sha256(repr(grid.shape).encode())
    digest.update((array + np.float32(0)).astype("<f4").tobytes())  # -0 becomes 0
    return digest.hexdigest()


def prepare_case(case: SourceCase, sequences: Sequence[str], scheme: Mapping[int, str]) -> ReadyCase:
    """Read a case, and bring it to the grid of its first image.

    Args:
        case: has all of the sequences.
        sequences: wanted, in order.
        scheme: name of each label that the result may hold.

    Raises:
        InputError: a file is refused, a mask holds a value that nobody explained, or lies elsewhere.
    """
    read = {sequence: read_source_image(case.images[sequence]) for sequence in sequences}
    masks = [(mask, read_source_labels(mask.file)) for mask in case.masks]
    notes = [note for image in read.values() for note in image.notes]
    notes += [note for _, labels in masks for note in labels.notes]
    findings = [Finding("note", note) for note in (*case.notes, *notes)]
    volumes = {sequence: image.volume for sequence, image in read.items()}
    if case.geometry_of_mask and masks:
        volumes, moved = _moved_to_mask(volumes, masks[0][1].labels.grid)
        findings += moved
    first = volumes[sequences[0]]
    images: dict[str, Volume] = {}
    for sequence, volume in volumes.items():
        images[sequence], done = _on_grid(sequence, volume, first.grid)
        findings += done
    labels = None
    if masks:
        labels, done = _labels(masks, first.grid, scheme)
        findings += [*done, *_doubts(images, labels)]
    hashes = {sequence: voxels_sha256(image.volume) for sequence, image in read.items()}
    twins = [sequence for sequence in sequences if list(hashes.values()).count(hashes[sequence]) > 1]
    if twins:
        findings.append(Finding("doubt", f"{' and '.join(twins)} hold the same voxels."))
    return ReadyCase(
        images=images,
        codes=NiftiCodes.from_headers(read[sequences[0]].headers),
        labels=labels,
        source_sha256=_hashes(read, masks),
        voxels_sha256=hashes,
        findings=tuple(findings),
    )


def _hashes(read: Mapping[str, ImageFile], masks: Sequence[tuple[SourceMask, LabelFile]]) -> tuple[str, ...]:
    return (*(image.sha256 for image in read.values()), *(labels.sha256 for _, labels in masks))


def _moved_to_mask(volumes: Mapping[str, Volume], grid: Grid) -> tuple[dict[str, Volume], list[Finding]]:
    """Images with as many and as large voxels as the mask, put where the mask lies."""
    moved, findings = {}, []
    for sequence, volume in volumes.items():
        apart = grid.distance_mm(volume.grid)
        alike = np.isfinite(apart) and np.allclose(volume.grid.spacing_mm, grid.spacing_mm, rtol=_SAME_SPACING)
        differs = alike and not grid.matches(volume.grid)
        moved[sequence] = Volume(volume.array, grid) if differs else volume
        if differs:
            findings.append(
                Finding("geometry", f"{sequence} was given the mask's geometry; its header put it {apart:.3g} mm off.")
            )
    return moved, findings


def _on_grid(sequence: str, volume: Volume, grid: Grid) -> tuple[Volume, list[Finding]]:
    """The image on the grid of the first; what lies outside it is 0, of CT air."""
    if volume.grid.matches(grid):
        return Volume(volume.array, grid), []
    level = _AIR_HU if sequence == "ct" else 0.0
    raised = Volume(np.asarray(volume.array, dtype=np.float32) - np.float32(level), volume.grid)
    result = resample_volume(raised, grid).array + np.float32(level)
    if result.min() == result.max():
        raise InputError(
            f"The image {sequence} lies wholly outside the first image.", hint="Register them, or leave it out."
        )
    return Volume(result, grid), [Finding("resampled", f"{sequence} ({volume.grid}) was brought to {grid}.")]


def _labels(
    masks: Sequence[tuple[SourceMask, LabelFile]], grid: Grid, scheme: Mapping[int, str]
) -> tuple[LabelMap, list[Finding]]:
    merged = np.zeros(grid.shape, dtype=np.uint8)
    findings: list[Finding] = []
    for mask, read in masks:
        mapped, repairs = _mapped(mask, np.asarray(read.labels.array))
        own, moved = _mask_on_grid(mapped, read.labels.grid, grid)
        merged[own > 0] = own[own > 0]
        findings += [*repairs, *moved]
    if not merged.any():
        findings.append(Finding("empty", "Its mask is empty."))
    return LabelMap(merged, grid, scheme), findings


def _mapped(mask: SourceMask, values: NDArray[Any]) -> tuple[NDArray[np.uint8], list[Finding]]:
    """The mask in metseg's labels.

    Raises:
        InputError: it holds a value that is neither mapped nor repaired.
    """
    name = mask.file.told(mask.file.path.parent)
    result = np.zeros(values.shape, dtype=np.uint8)
    findings = []
    found, counts = np.unique(values[values > 0], return_counts=True)
    for value, count in zip(found.tolist(), counts.tolist()):
        if value in mask.repairs:
            label = mask.repairs[value]
            findings.append(Finding("repaired", f"{count} voxels of {name} held the stray {value}; now {label}."))
        elif value in mask.labels:
            label = mask.labels[value]
        elif mask.other is not None:
            label = mask.other
        else:
            known = ", ".join(map(str, sorted(mask.labels))) or "none"
            raise InputError(
                f"{name} holds the value {value} ({count} voxels), outside its scheme ({known}).",
                hint=f"Say what it means with --labels, or give it a label with --repair {value}=0.",
            )
        result[values == value] = label
    return result, findings


def _mask_on_grid(mask: NDArray[np.uint8], own: Grid, grid: Grid) -> tuple[NDArray[np.uint8], list[Finding]]:
    if own.matches(grid):
        return mask, []
    moved = nearest_on_grid(mask, own, grid)
    if mask.any() and not moved.any():
        raise InputError(
            "Nothing of the mask lies inside the image.", hint="Check that they belong together and are registered."
        )
    findings = [Finding("resampled", f"The mask ({own}) was brought to {grid}, nearest voxel.")]
    before, after = (int(label_instances(array > 0).max()) for array in (mask, moved))
    if before != after:
        findings.append(Finding("doubt", f"The mask had {before} components, and has {after} on the image's grid."))
    return moved, findings


def _doubts(images: Mapping[str, Volume], labels: LabelMap) -> list[Finding]:
    """Doubts about labels with sub-regions."""
    if "t1c" not in images or labels.labels.get(ENHANCING) != _SUBREGION:
        return []
    if oedema_outshines(images["t1c"].array, labels.array, OEDEMA, ENHANCING):
        return [Finding("doubt", "Its oedema is brighter on t1c than its enhancing tumour: labels may be swapped.")]
    return []
