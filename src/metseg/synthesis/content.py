"""What a scene holds before anything looks at it: tissues, what looks like a metastasis, and metastases."""

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from metseg.synthesis.cohort import (
    draw_patient_count,
    draw_patient_diameter,
    draw_training_count,
    draw_training_diameter,
)
from metseg.synthesis.fields import Field, Shape, blurred, grown
from metseg.synthesis.hosts import Host, LabelHost, ScanHost
from metseg.synthesis.metastases import (
    Metastasis,
    cavity_shape,
    draw_cavity,
    draw_metastasis,
    draw_primary,
    oedema_reach,
)
from metseg.synthesis.mimics import (
    Inside,
    draw_dura_and_plexus,
    draw_falx,
    draw_gland,
    draw_plaques_and_infarcts,
    draw_sinuses,
    draw_vessels,
)
from metseg.synthesis.shapes import LesionShape, draw_shape
from metseg.synthesis.sites import Sites, Voxel
from metseg.synthesis.substances import Layer
from metseg.synthesis.tissues import Tissue
from metseg.synthesis.warp import Placement, nearest_tissues, push_aside

_PUSHES_FROM_MM: Final = 4.0
_MOST_OVERLAP: Final = 0.3
_SHARE_OF_SCANS_WITH_VESSELS: Final = 0.3  # real ones have their own


@dataclass(frozen=True)
class ContentOptions:
    """What a scene may hold.

    Args:
        count: lesions; None: draw a number.
        largest_mm: largest diameter of a lesion.
        like_patients: numbers and sizes as patients have them; else as training wants them.
        mimics: whether there is anything that looks like a metastasis and is none.
        cavities: chance of a resection cavity.
        thicken_cortex: chance that the cortex of a label map is thickened into its sulci.
    """

    count: int | None = None
    largest_mm: float = 62.0
    like_patients: bool = False
    mimics: bool = True
    cavities: float = 0.06
    thicken_cortex: float = 0.7


@dataclass(frozen=True, eq=False)
class Content:
    """A scene, 1 mm.

    Args:
        inside: its tissues.
        scans: of a real host, by sequence (i, j, k), white matter about 1; of a label map, nothing.
        mimics: layers to paint first.
        metastases: in the order of their numbers.
        allowed: (i, j, k), where tumour may grow: the inside of the skull, and the sinuses beside it.
    """

    inside: Inside
    scans: dict[str, Field]
    mimics: list[Layer]
    metastases: list[Metastasis]
    allowed: NDArray[np.bool_]


def _tissues_of_scan(image: Field) -> NDArray[np.uint8]:
    """Roughly what a T1-weighted image (white matter = 1) shows: enough to keep tumours out of sinuses and fluid."""
    smooth = blurred(image, 1.0)
    kinds = (Tissue.FLUID, Tissue.CORTEX, Tissue.WHITE, Tissue.SINUS)
    tissues = np.array(kinds, dtype=np.uint8)[np.searchsorted((0.5, 0.85, 1.25), smooth)]
    return np.where((image > 0.02) | (smooth > 0.3), tissues, np.uint8(Tissue.AIR))


def _look(
    host: Host, placement: Placement, uptake: float, *, thicken: int
) -> tuple[NDArray[np.uint8], dict[str, Field]]:
    """Tissues and, of a real host, scans."""
    if isinstance(host, ScanHost):
        blend = np.clip(host.plain + np.float32(uptake) * (host.enhanced - host.plain), 0, None) * host.brain
        image = ndimage.map_coordinates(blend, placement.coordinates, order=1)
        return _tissues_of_scan(image), {"t1c": image}
    tissues = nearest_tissues(host.tissues, placement.coordinates)
    if thicken:
        near = grown(tissues == Tissue.CORTEX, thicken)
        tissues = np.where(near & (tissues == Tissue.FLUID), np.uint8(Tissue.CORTEX), tissues)
    return tissues, {}


def _position(host: LabelHost, placement: Placement, voxel: Voxel) -> tuple[float, float, float]:
    first, last = host.brain_box
    place = np.array([axis[voxel] for axis in placement.coordinates])
    x, y, z = (2 * (place - first) / (last - first) - 1).tolist()
    return x, y, z


def _draw_mimics(rng: np.random.Generator, host: Host, placement: Placement, it: Inside) -> list[Layer]:
    if isinstance(host, ScanHost):
        return draw_vessels(rng, it) if rng.random() < _SHARE_OF_SCANS_WITH_VESSELS else []
    layers = [*draw_plaques_and_infarcts(rng, it), *draw_dura_and_plexus(rng, it)]
    third = host.landmarks.get("third ventricle")
    if third is not None:
        from_midline = np.where(
            placement.coordinates[2] > third[2] + 5, placement.coordinates[0] - third[0], np.float32(9)
        ).astype(np.float32)
        layers += draw_falx(rng, it, from_midline)
    for gland, size_mm, calcified in (("pituitary", 9, 0.0), ("pineal", 6, 0.7)):
        if gland in host.landmarks:
            layers += draw_gland(rng, it, placement.voxel_of(host.landmarks[gland]), size_mm, calcified)
    return [*layers, *draw_vessels(rng, it), *draw_sinuses(rng, it)]


def _draw_shapes(
    rng: np.random.Generator, sites: Sites, shape: Shape, options: ContentOptions
) -> list[tuple[LesionShape, float]]:
    """Surfaces of the lesions, and how far oedema spreads around each."""
    draw_count = draw_patient_count if options.like_patients else draw_training_count
    draw_diameter = draw_patient_diameter if options.like_patients else draw_training_diameter
    shapes = []
    for _ in range(draw_count(rng) if options.count is None else options.count):
        voxel = sites.draw(rng)
        if voxel is None:
            break
        diameter = min(draw_diameter(rng), options.largest_mm)
        reach = oedema_reach(rng, diameter / 2)
        pushes = diameter / 2 > _PUSHES_FROM_MM
        margin = max(reach, diameter * 0.5 if pushes else 0.0)
        shapes.append((draw_shape(rng, shape, voxel, diameter, margin), reach))
    return shapes


def _make_room(
    rng: np.random.Generator, placement: Placement, intracranial: NDArray[np.bool_], shapes: list[LesionShape]
) -> bool:
    """Let the larger lesions push the tissue around them (``placement`` changes in place); whether any did."""
    pushing = [s for s in shapes if s.radius > _PUSHES_FROM_MM and rng.random() < 0.7]
    for shape in pushing:
        free = blurred(intracranial[shape.box].astype(np.float32), 2.0)
        movable = np.clip(2 * free - 1, 0, 1)
        push_aside(placement, shape.box, shape.depth, shape.radius, float(rng.uniform(0.1, 0.6)), movable)
    return bool(pushing)


def draw_content(rng: np.random.Generator, host: Host, placement: Placement, options: ContentOptions) -> Content:
    """Fill a scene of ``host`` (``placement`` changes in place: mass effect).

    The same generator state, host, placement and options give the same content.
    """
    uptake = float(rng.choice((1.0, rng.uniform(0.3, 1.6))))
    wide_sulci = isinstance(host, LabelHost) and host.wide_sulci
    thicken = int(rng.integers(1, 3)) if wide_sulci and rng.random() < options.thicken_cortex else 0
    tissues, scans = _look(host, placement, uptake, thicken=thicken)
    first = Inside.of(tissues)
    sites = Sites.of(tissues, partial(_position, host, placement) if isinstance(host, LabelHost) else None)
    drawn = _draw_shapes(rng, sites, first.shape, options)
    cavity = sites.draw(rng) if rng.random() < options.cavities else None
    hole = None if cavity is None else cavity_shape(rng, first.shape, cavity)
    if _make_room(rng, placement, first.intracranial, [s for s, _ in drawn]):
        tissues, scans = _look(host, placement, uptake, thicken=thicken)
    it = Inside.of(tissues)
    allowed = it.intracranial | (tissues == Tissue.SINUS)
    mimics = _draw_mimics(rng, host, placement, it) if options.mimics else []
    metastases = _fill(rng, drawn, hole, allowed, it.white)
    return Content(it, scans, mimics, metastases, np.asarray(allowed))


def _fill(
    rng: np.random.Generator,
    drawn: list[tuple[LesionShape, float]],
    hole: LesionShape | None,
    allowed: NDArray[np.bool_],
    white: NDArray[np.bool_],
) -> list[Metastasis]:
    """Lesions where there is room: none grows into another, and one that mostly would is left out."""
    free, primary = allowed.astype(np.float32), draw_primary(rng)
    made: list[Metastasis] = []
    if hole is not None:
        made.append(draw_cavity(rng, 0, hole, free, white))
        free[hole.box] -= made[0].fraction
    number = 0
    for shape, reach in drawn:
        room, size = np.minimum(shape.filled, free[shape.box]).sum(), shape.filled.sum()
        if room <= 0 or (np.minimum(shape.filled, allowed[shape.box]).sum() - room) > _MOST_OVERLAP * size:
            continue
        number += 1
        one = draw_metastasis(rng, number, shape, free, white, primary, reach)
        free[shape.box] -= one.fraction
        made.append(one)
    return made
