"""Simple statistics of one scan, the same code for real and synthetic ones: contrasts, edges, noise, lesions.

Arrays are (i, j, k) on a grid of 1 mm. Intensities of MR are relative to white matter, those of CT are HU.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from metseg.lesions.components import label_instances
from metseg.synthesis.hosts import trimmed, white_matter_level

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]
_BRAIN_EDGE = 3  # mm of the brain's surface that are left out: dura, sinuses, what stripping left
_BRIDGED_MM = 12  # half of the widest gap in the bone
_AWAY_FROM_LESION_MM = 8
_FEWEST_VOXELS = 50
_OF_27 = math.sqrt(27 / 26)  # a voxel is part of the mean of 27 that is taken from it
_BALL = ndimage.generate_binary_structure(3, 1)


@dataclass(frozen=True, eq=False)
class Scan:
    """One scan on a grid of 1 mm.

    Args:
        name: of the scan.
        image: (i, j, k), 0 around a stripped brain.
        parts: masks (i, j, k) by name: ``enhancing``, ``core``, ``oedema``, and ``other`` that is no healthy brain.
    """

    name: str
    image: Field
    parts: dict[str, Mask]


def on_1mm(array: NDArray[np.generic], spacing_mm: tuple[float, float, float], order: int) -> Field:
    """``array`` on a grid of 1 mm with the same first voxel, by linear (1) or nearest (0) interpolation."""
    spacing = np.array(spacing_mm)
    shape = tuple(int((n - 1) * s + 1e-6) + 1 for n, s in zip(array.shape, spacing, strict=True))
    values = np.asarray(array, dtype=np.float32)
    return np.asarray(ndimage.affine_transform(values, 1 / spacing, output_shape=shape, order=order, mode="nearest"))


def robust_sd(values: Field) -> float:
    """Standard deviation by the median absolute deviation."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _within(mask: Mask, mm: int) -> Mask:
    return np.asarray(ndimage.binary_erosion(mask, _BALL, iterations=mm))


def _around(mask: Mask, mm: int) -> Mask:
    return np.asarray(ndimage.binary_dilation(mask, _BALL, iterations=mm)) if mask.any() else mask


def _local_mean(image: Field, mask: Mask, sigma: float) -> Field:
    """Gaussian mean of what lies in ``mask``."""
    weight = ndimage.gaussian_filter(mask.astype(np.float32), sigma)
    return np.asarray(ndimage.gaussian_filter(image * mask, sigma) / np.maximum(weight, 1e-3))


def _two_classes(values: Field) -> tuple[float, float, float]:
    """Otsu's threshold, and the medians below and above it."""
    counts, edges = np.histogram(values, bins=256)
    middles = (edges[1:] + edges[:-1]) / 2
    below, total = np.cumsum(counts), counts.sum()
    sums = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (sums[-1] * below / total - sums) ** 2 / (below * (total - below))
    at = float(middles[int(np.nanargmax(between[:-1]))])
    return at, float(np.median(values[values <= at])), float(np.median(values[values > at]))


def _level_around(image: Field, healthy: Mask) -> Field:
    """The local mean of healthy tissue, fluid and vessels left out, which goes on into lesions."""
    usual = healthy & (image > 0.6) & (image < 1.4)
    return np.maximum(_local_mean(image, usual, 15), 0.1)


def _tissue_statistics(image: Field, healthy: Mask, level: Field) -> dict[str, float]:
    """Grey over white, edge between the two, and noise, grain and shading of the white matter.

    Args:
        image: white matter about 1.
        healthy: brain away from lesions and from its own surface.
        level: the local mean.
    """
    flat = np.where(healthy, image / level, 1).astype(np.float32)
    smooth = ndimage.gaussian_filter(flat, 0.7)
    tissue = healthy & (smooth > 0.65) & (smooth < 1.35)
    at, grey, white = _two_classes(smooth[tissue])
    slopes = np.sqrt(sum(np.square(g) for g in np.gradient(smooth)))
    edge = tissue & (np.abs(smooth - at) < 0.1 * (white - grey))
    mostly_white = (ndimage.gaussian_filter(flat, 1.5) > at) & tissue
    inner = _within(mostly_white, 2)
    if np.count_nonzero(inner) < _FEWEST_VOXELS:
        inner = mostly_white
    fine = flat - ndimage.uniform_filter(flat, 3)
    medium = ndimage.gaussian_filter(flat, 1.5) - ndimage.gaussian_filter(flat, 5)
    return {
        "grey / white": grey / white,
        "slope of the grey-white edge, share of the step per mm": float(np.median(slopes[edge]) / (white - grey)),
        "noise: SD in white matter below 3 mm / white": robust_sd(fine[inner]) * _OF_27,
        "grain: SD in white matter at 2 to 5 mm / white": robust_sd(medium[inner]),
        "shading: SD of the local mean over 15 mm / white": float(np.std(level[healthy])),
    }


def _part_statistics(image: Field, level: Field, parts: dict[str, Mask]) -> dict[str, float]:
    """Brightness of what is there of a tumour, against white matter, and against the brain around it."""
    found = {}
    for name in ("enhancing", "core", "oedema"):
        mask = parts.get(name)
        if mask is not None and np.count_nonzero(mask) >= _FEWEST_VOXELS:
            found[f"{name} / white"] = float(np.median(image[mask]))
            found[f"{name} / brain around"] = float(np.median(image[mask] / level[mask]))
    return found


def measure_t1c(scan: Scan) -> dict[str, float]:
    """Statistics of a stripped T1-weighted brain; what the scan does not show is left out."""
    box = trimmed(scan.image > 0)
    image, parts = scan.image[box], {name: mask[box] for name, mask in scan.parts.items()}
    brain = np.asarray(ndimage.binary_fill_holes(np.pad(image > 0, 1)))[1:-1, 1:-1, 1:-1]
    lesion = np.zeros(image.shape, dtype=bool)
    for mask in parts.values():
        lesion |= mask
    healthy = _within(brain, _BRAIN_EDGE) & ~_around(lesion, _AWAY_FROM_LESION_MM)
    image = (image / white_matter_level(image, healthy)).astype(np.float32)
    level = _level_around(image, healthy)
    p1, p15, p85, top = np.percentile(image[healthy], (1, 15, 85, 99.9))
    return {
        **_part_statistics(image, level, {name: mask & brain for name, mask in parts.items()}),
        "vessels: 99.9th percentile / white": float(top),
        "bright: share of brain above 1.5 white, per mille": float(1000 * np.mean(image[healthy] > 1.5)),
        "fluid: 1st percentile / white": float(p1),
        "fluid: share of brain below 0.6 white, per cent": float(100 * np.mean(image[healthy] < 0.6)),
        "15th percentile / white": float(p15),
        "85th percentile / white": float(p85),
        **_tissue_statistics(image, healthy, level),
    }


def measure_lesions_of(labels: NDArray[np.integer], voxel_mm3: float) -> tuple[dict[str, float], list[float]]:
    """One case's metastases, and each one's diameter (mm, of the ball of its volume).

    Args:
        labels: (i, j, k), 1 core that does not enhance, 2 oedema, 3 enhancing.
        voxel_mm3: volume of a voxel.
    """
    instances = label_instances(np.isin(labels, (1, 3)))
    volumes = np.bincount(instances.ravel())[1:] * voxel_mm3
    diameters = np.cbrt(6 * volumes / np.pi)
    tumour = max(float(volumes.sum()), 1e-9)
    return {
        "lesions": float(len(volumes)),
        "median diameter, mm": float(np.median(diameters)),
        "largest diameter, mm": float(diameters.max()),
        "tumour volume, mL": tumour / 1000,
        "core that does not enhance / tumour": float(np.count_nonzero(labels == 1) * voxel_mm3 / tumour),
        "oedema / tumour": float(np.count_nonzero(labels == 2) * voxel_mm3 / tumour),
    }, [float(d) for d in diameters]


def brain_on_ct(hounsfield: Field) -> Mask:
    """What the skull encloses in axial slices, 6 mm and more below the bone.

    No mask of the brain is needed; gaps of the bone of up to 24 mm do not matter; slices without a ring do not count.
    """
    near = np.asarray(ndimage.distance_transform_edt(hounsfield < 200)) <= _BRIDGED_MM
    deep = np.stack([ndimage.binary_fill_holes(s) & ~s for s in np.moveaxis(near, 2, 0)], axis=2)
    pieces, count = ndimage.label(deep)
    if not count:
        return deep
    largest = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    brain = np.asarray(ndimage.distance_transform_edt(~largest)) <= _BRIDGED_MM - 6
    return np.asarray(brain & (np.abs(ndimage.gaussian_filter(hounsfield, 1.0) - 40) < 70))


def measure_ct(scan: Scan) -> dict[str, float]:
    """Statistics (HU) of a head CT."""
    brain, lesion = brain_on_ct(scan.image), np.zeros(scan.image.shape, dtype=bool)
    for mask in scan.parts.values():
        lesion |= mask
    healthy = brain & ~_around(lesion, _AWAY_FROM_LESION_MM)
    box = trimmed(healthy)
    image, healthy = scan.image[box], healthy[box]
    quiet = ndimage.gaussian_filter(np.clip(image, -50, 120), 2.0)
    at, white, grey = _two_classes(quiet[healthy & (quiet > 18) & (quiet < 50)])
    inner = _within(healthy & (quiet > 18) & (quiet < at), 1)
    fine = image - ndimage.uniform_filter(image, 3)
    fluid = healthy & (quiet < 15)
    found = {"fluid, HU": float(np.median(image[fluid]))} if np.count_nonzero(fluid) >= _FEWEST_VOXELS else {}
    return {
        "white matter, HU": white,
        "grey matter, HU": grey,
        "grey - white, HU": grey - white,
        **found,
        "noise: SD in white matter below 3 mm, HU": robust_sd(fine[inner]) * _OF_27,
        "vessels: 99.9th percentile after a blur of 2 mm, HU": float(np.percentile(quiet[healthy], 99.9)),
    }
