"""Whole heads on a coarse grid, in contrasts real and absurd: what the brain finder learns from.

A network that has met every contrast relies on shape alone (Billot et al. 2023, "SynthSeg"; Hoopes et al. 2022,
"SynthStrip"), so one brain finder serves scans with and without contrast agent.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from metseg.synthesis.ct_scanner import AIR_HU, scan_ct
from metseg.synthesis.fields import Field, Shape, log_uniform, smooth_field
from metseg.synthesis.hosts import LabelHost
from metseg.synthesis.palettes import draw_ct, draw_t1c
from metseg.synthesis.scanner import scan, stripped_brain
from metseg.synthesis.shapes import draw_shape
from metseg.synthesis.tissues import INTRACRANIAL, N_TISSUES, Tissue
from metseg.synthesis.warp import nearest_tissues, sampling

SPACING_MM: Final = 2.0


@dataclass(frozen=True, eq=False)
class WholeHead:
    """A head on a grid of ``SPACING_MM``, RAS+.

    Args:
        image: (i, j, k), arbitrary scale.
        brain: (i, j, k), the inside of the skull, or what was left of it.
    """

    image: Field
    brain: NDArray[np.bool_]


def _contrast(rng: np.random.Generator) -> tuple[Field, Field]:
    """Mean and standard deviation of each tissue: of a T1-weighted scan, or of no scan there is."""
    palette = draw_t1c(rng)
    mean, spread = palette.mean, palette.spread
    if rng.random() < 0.4:
        mean = rng.uniform(0.05, 2.0, N_TISSUES).astype(np.float32)
        spread = rng.uniform(0.02, 0.3, N_TISSUES).astype(np.float32)
        mean[Tissue.AIR], spread[Tissue.AIR] = 0, 0.01
    for dark in (Tissue.EYE, Tissue.MUCOSA, Tissue.BONE, Tissue.MARROW):  # these hold air here and there
        if rng.random() < 0.3:
            mean[dark] *= rng.uniform(0, 0.3)
    return mean, spread


def _draw_tumours(
    rng: np.random.Generator, image: Field, inside: NDArray[np.bool_], darkest: float = 0.0, brightest: float = 2.5
) -> None:
    """Patches of any brightness inside the skull (in place): the brain does not end at a tumour, a cyst or a bleed."""
    shape: Shape = image.shape
    places = np.flatnonzero(inside.ravel())
    for _ in range(int(rng.choice((0, 1, 2, 4), p=(0.4, 0.3, 0.2, 0.1)))):
        if not len(places):
            return
        i, j, k = (int(n) for n in np.unravel_index(int(rng.choice(places)), shape))
        lesion = draw_shape(rng, shape, (i, j, k), log_uniform(rng, 10, 70) / SPACING_MM)
        region = image[lesion.box]
        part = lesion.filled * inside[lesion.box]
        rim, middle = rng.uniform(darkest, brightest, 2)
        region += part * (np.float32(rim) - region) + np.minimum(lesion.hollow, part) * np.float32(middle - rim)


def _cut_field_of_view(rng: np.random.Generator, image: Field, empty: float = 0.0) -> None:
    """Empty what lies beyond the field of view (in place): below the neck or half-way up the face, now and then."""
    if rng.random() < 0.6:
        image[:, :, : int(rng.uniform(0, 0.35) * image.shape[2])] = empty
    if rng.random() < 0.15:
        image[:, :, -int(rng.uniform(0.02, 0.3) * image.shape[2]) :] = empty
    if rng.random() < 0.2:  # faces are taken off so that nobody is known by them
        front = int(rng.uniform(0.6, 0.85) * image.shape[1])
        image[:, front:, : int(rng.uniform(0.2, 0.5) * image.shape[2])] = empty


def _turned(rng: np.random.Generator, host: LabelHost, shape: Shape) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Tissues of the head, turned and bent, and the inside of its skull."""
    centre = (np.array(host.tissues.shape) - 1) / 2 + rng.normal(0, 10, 3)
    tissues = nearest_tissues(host.tissues, sampling(rng, shape, centre, SPACING_MM, tilt_deg=12).coordinates)
    inside: NDArray[np.bool_] = np.isin(tissues, INTRACRANIAL)
    return tissues, inside | np.asarray(ndimage.binary_closing(inside, iterations=2))


def _texture(rng: np.random.Generator, shape: Shape) -> Field:
    return 0.5 * smooth_field(rng, shape, 1.5) + 0.8 * smooth_field(rng, shape, rng.uniform(3, 10))


def make_whole_head(rng: np.random.Generator, host: LabelHost, edge: int, stripped: float = 0.25) -> WholeHead:
    """One head from a label map, in a cube of ``edge`` voxels; the same generator state gives the same head.

    Args:
        rng: source of chance.
        host: its tissues.
        edge: voxels of ``SPACING_MM``.
        stripped: chance that a skull stripping has left the brain alone.
    """
    shape: Shape = (edge, edge, edge)
    tissues, inside = _turned(rng, host, shape)
    mean, spread = _contrast(rng)
    texture = _texture(rng, shape)
    coarse = np.where(inside, np.float32(0), np.float32(rng.uniform(0, 0.5)) * smooth_field(rng, shape, 8))
    image = np.clip(mean[tissues] * (1 + coarse) + spread[tissues] * texture, 0, None).astype(np.float32)
    _draw_tumours(rng, image, inside)
    seen = scan(rng, image, thick_slices=0.25)
    if rng.random() < stripped:
        inside = stripped_brain(rng, inside)
        seen = np.where(inside, seen, np.float32(0))
    _cut_field_of_view(rng, seen)
    return WholeHead(seen, inside & (seen > 0))


def make_ct_head(rng: np.random.Generator, host: LabelHost, edge: int) -> WholeHead:
    """One head as CT shows it (HU), in a cube of ``edge`` voxels: on its table, now and then with a hole in the skull.

    Args:
        rng: source of chance.
        host: its tissues.
        edge: voxels of ``SPACING_MM``.
    """
    shape: Shape = (edge, edge, edge)
    tissues, inside = _turned(rng, host, shape)
    if rng.random() < 0.15:  # after a craniotomy
        window = smooth_field(rng, shape, rng.uniform(12, 25)) > rng.uniform(1.0, 2.0)
        tissues = np.where(window & (tissues == Tissue.BONE), np.uint8(Tissue.MUSCLE), tissues)
    palette = draw_ct(rng)
    image = (palette.mean[tissues] + palette.spread[tissues] * _texture(rng, shape)).astype(np.float32)
    _draw_tumours(rng, image, inside, -5, 120)
    if rng.random() < 0.5:  # the head rest
        rest = np.zeros(shape, dtype=bool)
        behind = int(rng.uniform(0.0, 0.12) * edge)
        rest[:, behind : behind + int(rng.integers(1, 4))] = True
        image[rest & (tissues == Tissue.AIR)] = rng.uniform(-200, 600)
    seen = scan_ct(rng, image, thick_slices=0.5, largest_slice_mm=3.0)
    _cut_field_of_view(rng, seen, AIR_HU)
    return WholeHead(seen, inside & (seen > AIR_HU))
