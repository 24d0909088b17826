"""Put it together: a host, bent a little, with vessels and metastases, seen by a scanner."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from metseg.preprocess.normalise import ForegroundStatistics, foreground_statistics
from metseg.synthesis.fields import Field, Shape, smooth_field
from metseg.synthesis.hosts import Host, LabelHost, ScanHost
from metseg.synthesis.metastases import draw_count, draw_metastases
from metseg.synthesis.scanner import scan, stripped_brain
from metseg.synthesis.tissues import BRAIN, INTRACRANIAL, N_TISSUES, Tissue, draw_t1c
from metseg.synthesis.vessels import draw_sinuses, draw_vessels
from metseg.synthesis.warp import nearest_tissues, sampling

Mask = NDArray[np.bool_]

_SITES = np.zeros(N_TISSUES, dtype=np.float32)
_SITES[[Tissue.WHITE, Tissue.CORTEX, Tissue.CEREBELLAR_WHITE, Tissue.CEREBELLAR_CORTEX]] = (1.0, 1.6, 1.2, 1.2)
_SITES[[Tissue.DEEP_GREY, Tissue.BRAINSTEM, Tissue.FLUID]] = (0.5, 0.4, 0.12)


@dataclass(frozen=True, eq=False)
class Scene:
    """A piece of a head, or all of it, RAS+, 1 mm.

    Args:
        image: (i, j, k), contrast-enhanced T1, arbitrary scale.
        truth: (i, j, k), number of each lesion, 0 elsewhere.
        brain: (i, j, k), the inside of the skull.
        statistics: foreground statistics of the whole image that this is a piece of.
    """

    image: Field
    truth: NDArray[np.uint8]
    brain: NDArray[np.bool_]
    statistics: ForegroundStatistics


@dataclass(frozen=True, eq=False)
class _Anatomy:
    """A scene before vessels, lesions and scanner; ``sparse`` is the whole head, every fourth voxel."""

    image: Field
    tissues: NDArray[np.uint8]
    white: NDArray[np.bool_]
    sparse: Field
    sparse_brain: NDArray[np.bool_]


@dataclass(frozen=True)
class SceneOptions:
    """How a scene may vary.

    Args:
        bend: the anatomy.
        anywhere: chance that a piece of a label map lies anywhere in the head, skull kept, not around a point of
            the brain.
        stripped: chance of no skull, where the piece does not lie anywhere.
        count: lesions; None: draw a number.
        largest_mm: largest diameter of a lesion.
        thick_slices: chance of slices 2–6 mm thick.
    """

    bend: bool = True
    stripped: float = 0.6
    anywhere: float = 0.0
    count: int | None = None
    largest_mm: float = 62.0
    thick_slices: float = 0.3


def _paint_tissues(
    rng: np.random.Generator, tissues: NDArray[np.uint8], mean: Field, spread: Field
) -> tuple[Field, NDArray[np.bool_]]:
    """Tissues (i, j, k) to intensities, with texture, dura and choroid plexus; and where the white matter is."""
    shape: Shape = tissues.shape
    texture = 0.6 * smooth_field(rng, shape, 2) + 0.8 * smooth_field(rng, shape, rng.uniform(4, 12))
    image = mean[tissues] + spread[tissues] * texture
    bone = tissues == Tissue.BONE
    if rng.random() < 0.6:  # enhancing dura, in patches
        dura = ndimage.binary_dilation(bone, iterations=1) & (tissues == Tissue.FLUID)
        dura &= smooth_field(rng, shape, 14) > rng.uniform(-1, 1.2)
        image[dura] = rng.uniform(0.8, 2.0)
    plexus = (tissues == Tissue.VENTRICLE) & (smooth_field(rng, shape, rng.uniform(3, 7)) > rng.uniform(1.2, 2.2))
    image[plexus] = mean[Tissue.CHOROID]
    white = (tissues == Tissue.WHITE) | (tissues == Tissue.CEREBELLAR_WHITE)
    if rng.random() < 0.4:  # old lesions of the white matter: dark, and not ours
        plaque = white & (smooth_field(rng, shape, rng.uniform(3, 9)) > rng.uniform(1.8, 2.6))
        image[plaque] *= rng.uniform(0.55, 0.9)
    return np.clip(image, 0, None), white


def _from_labels(rng: np.random.Generator, host: LabelHost, where: list[NDArray[np.float32]] | None) -> _Anatomy:
    tissues = host.tissues if where is None else nearest_tissues(host.tissues, where)
    if host.name.startswith("training") and rng.random() < 0.7:  # these maps give the sulci too much fluid
        grown = ndimage.binary_dilation(tissues == Tissue.CORTEX, iterations=int(rng.integers(1, 3)))
        tissues = np.where(grown & (tissues == Tissue.FLUID), np.uint8(Tissue.CORTEX), tissues)
    mean, spread = draw_t1c(rng)
    image, white = _paint_tissues(rng, tissues, mean, spread)
    sparse = host.tissues[::4, ::4, ::4]
    return _Anatomy(image, tissues, white, mean[sparse], np.isin(sparse, INTRACRANIAL))


def _tissues_of_scan(image: Field) -> NDArray[np.uint8]:
    """Roughly what a T1-weighted image (white matter = 1) shows: enough to keep tumours out of sinuses and fluid."""
    smooth = ndimage.gaussian_filter(image, 1.0, truncate=2.5)
    kinds = (Tissue.FLUID, Tissue.CORTEX, Tissue.WHITE, Tissue.SINUS)
    tissues = np.array(kinds, dtype=np.uint8)[np.searchsorted((0.5, 0.85, 1.25), smooth)]
    return np.where((image > 0.02) | (smooth > 0.3), tissues, np.uint8(Tissue.AIR))


def _from_scan(rng: np.random.Generator, host: ScanHost, where: list[NDArray[np.float32]] | None) -> _Anatomy:
    """A real brain; the uptake of contrast is made weaker or stronger than it was."""
    uptake = np.float32(rng.choice((1.0, rng.uniform(0.3, 1.6))))
    blend = np.clip(host.plain + uptake * (host.enhanced - host.plain), 0, None)
    blend *= host.brain
    image = blend if where is None else ndimage.map_coordinates(blend, where, order=1)
    tissues = _tissues_of_scan(image)
    white = tissues == Tissue.WHITE
    sparse = blend[::4, ::4, ::4]
    return _Anatomy(image.copy(), tissues, white, sparse, sparse > 0)


def make_scene(
    rng: np.random.Generator, host: Host, shape: Shape | None = None, options: SceneOptions | None = None
) -> Scene:
    """A scene from ``host``: a piece of ``shape`` voxels around some point of the brain, or all of the head.

    The same generator state, host and options give the same scene, bit for bit.
    """
    options = options or SceneOptions()
    size: Shape = shape or host.brain.shape
    made_of_labels = isinstance(host, LabelHost)
    anywhere = made_of_labels and bool(options.anywhere) and rng.random() < options.anywhere
    where = None
    if shape is not None or options.bend:
        centre = (np.array(host.brain.shape) - 1) / 2
        if shape is not None:
            within = host.tissues > 0 if anywhere and isinstance(host, LabelHost) else host.brain
            middles = np.argwhere(within[::4, ::4, ::4]) * 4
            centre = middles[rng.integers(len(middles))] + rng.uniform(-8, 8, 3)
        where = sampling(rng, size, centre)
    it = _from_labels(rng, host, where) if isinstance(host, LabelHost) else _from_scan(rng, host, where)
    intracranial: Mask = np.isin(it.tissues, INTRACRANIAL)
    solid: Mask = np.isin(it.tissues, BRAIN)
    brightest = rng.uniform(1.5, 3.2)
    if made_of_labels or rng.random() < 0.3:
        level = brightest * rng.uniform(0.8, 1.1)
        draw_vessels(rng, it.image, intracranial & ~solid, solid, level)
        if made_of_labels:
            draw_sinuses(rng, it.image, intracranial, intracranial & ~solid, level)
    count = draw_count(rng) if options.count is None else options.count
    allowed = intracranial | (it.tissues == Tissue.SINUS)
    truth = draw_metastases(
        rng, it.image, _SITES[it.tissues], allowed, it.white, brightest, count, largest=options.largest_mm
    )  # fmt: skip
    seen = scan(rng, it.image, options.thick_slices)
    if anywhere or (made_of_labels and rng.random() >= options.stripped):
        closed = np.asarray(ndimage.binary_closing(intracranial, iterations=2)) | intracranial
        return Scene(seen, truth, closed, foreground_statistics(it.sparse))
    kept = stripped_brain(rng, allowed if rng.random() < 0.7 else intracranial) if made_of_labels else allowed
    kept = np.asarray(kept | ndimage.binary_dilation(truth > 0))
    statistics = foreground_statistics(np.where(it.sparse_brain, np.maximum(it.sparse, 1e-3), 0).astype(np.float32))
    return Scene(np.where(kept, seen, np.float32(0)), truth, kept, statistics)
