"""Whole studies with known truth: one patient's head as a scanner would have stored it."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from metseg.core.errors import ConfigError
from metseg.core.grid import Grid
from metseg.core.volume import LabelMap, Volume
from metseg.lesions.diameter import diameter_in_space, diameters_in_slice
from metseg.synthesis.acquisition import Acquisition, Protocol, draw_ct_protocol, draw_mr_protocol
from metseg.synthesis.content import Content, ContentOptions, draw_content
from metseg.synthesis.ct_scanner import quantum_noise, streaks
from metseg.synthesis.fields import Field, Shape, log_uniform, shape_of, smooth_field
from metseg.synthesis.hosts import Host, LabelHost
from metseg.synthesis.metastases import Metastasis
from metseg.synthesis.palettes import Sequence, draw_palette
from metseg.synthesis.render import render
from metseg.synthesis.scanner import badly_stripped, ghosts, noisy, stripped_brain, uneven, wrapped
from metseg.synthesis.truth import LABELS, Parts, mark
from metseg.synthesis.warp import sampling

Modality = Literal["t1c", "ct", "mr4"]
SEQUENCES: Final[dict[Modality, tuple[Sequence, ...]]] = {
    "t1c": ("t1c",), "ct": ("ct",), "mr4": ("t1c", "t1n", "t2f", "t2w"),
}  # fmt: skip
_SHARE_OF_SCANS: Final = 0.2
_ROOM: Final = 1.12  # a turned and scaled head needs more room than it had


@dataclass(frozen=True)
class TrueLesion:
    """What is known of one metastasis, or resection cavity (``number`` 0), because it was made.

    ``volume_mm3`` is the integral of the shape that was drawn, cut where it would have left the skull or entered
    another lesion; the diameters are its own, too, found on a grid of 1 mm, or a third of that for lesions up to
    10 mm. ``labelled_mm3`` is what the label map of the scan holds. ``uptake`` of contrast agent: a vein's is 1.
    """

    number: int
    nature: str
    kind: str
    volume_mm3: float
    equivalent_diameter_mm: float
    axial_diameter_mm: float
    diameter_3d_mm: float
    centre_mm: tuple[float, float, float]
    core_share: float
    oedema_mm3: float
    uptake: float
    labelled_mm3: float


@dataclass(frozen=True)
class Made:
    """How a study came to be: name of the host, the scan's protocol, and whether the skull was kept or stripped."""

    host: str
    protocol: Protocol
    skull: str


@dataclass(frozen=True, eq=False)
class SyntheticStudy:
    """One study.

    Args:
        images: by sequence, on one grid: MR as uint16, CT as int16 in HU.
        labels: see ``truth.LABELS``.
        instances: number of each metastasis.
        lesions: what is known of each.
        made: how.
    """

    images: dict[str, Volume]
    labels: LabelMap
    instances: LabelMap
    lesions: tuple[TrueLesion, ...]
    made: Made


def _room(host: Host) -> Shape:
    i, j, k = (round(n * _ROOM) for n in host.brain.shape)
    return i, j, k


def choose_host(seed: int, number: int, maps: list[bool], modality: Modality) -> int:
    """Which of some hosts study ``number`` of the series ``seed`` is drawn into.

    The modalities of one seed and number choose the same head, unless ``t1c`` takes a real scan.

    Args:
        seed: of the series.
        number: of the study.
        maps: of each host, whether it is a label map; else it is a real scan.
        modality: of the study.

    Raises:
        ConfigError: a modality that real scans cannot show, and no label map among the hosts.
    """
    found = {kind: [n for n, is_map in enumerate(maps) if is_map == kind] for kind in (True, False)}
    map_number, kind, scan_number = np.random.default_rng([seed, number, 1]).random(3)
    if not found[True] and modality != "t1c":
        raise ConfigError(
            f"Studies of modality {modality} need label maps as hosts; there are real scans only.",
            hint="Give a folder with hosts_labels/, or none: then heads are made from nothing.",
        )
    if found[False] and (not found[True] or (modality == "t1c" and kind < _SHARE_OF_SCANS)):
        return found[False][int(scan_number * len(found[False]))]
    return found[True][int(map_number * len(found[True]))]


def draw_head_seed(seed: int, number: int, first: int) -> int:
    """Which head, at least ``first``, is made from nothing for study ``number`` of the series ``seed``."""
    return int(np.random.default_rng([seed, number, 2]).integers(first, 2**31))


def make_study(seed: int, number: int, host: Host, modality: Modality) -> SyntheticStudy:
    """Study ``number`` of the series ``seed``, drawn into ``host``; the same arguments give the same study.

    Each part draws from a stream of its own, so that the modalities of one seed, number and host show the same head
    with the same metastases.
    """
    streams = np.random.default_rng([seed, number]).spawn(4)
    shape = _room(host)
    placement = sampling(streams[0], shape, (np.array(host.brain.shape) - 1) / 2)
    content = draw_content(streams[1], host, placement, ContentOptions(like_patients=True))
    protocol = draw_ct_protocol(streams[2]) if modality == "ct" else draw_mr_protocol(streams[2])
    acquisition = Acquisition.of(shape, protocol)
    skull = "stripped" if not isinstance(host, LabelHost) else draw_skull(streams[2], modality)
    kept = _kept(streams[2], host, content, skull)
    images = {}
    for sequence, rng in zip(SEQUENCES[modality], streams[3].spawn(len(SEQUENCES[modality])), strict=True):
        palette = draw_palette(rng, sequence)
        image = render(rng, content, palette, content.scans.get(sequence))
        if sequence == "ct":
            images[str(sequence)] = Volume(_acquire_ct(rng, image, acquisition, protocol), acquisition.grid)
        else:
            images[str(sequence)] = Volume(_acquire_mr(rng, image, acquisition, protocol, kept), acquisition.grid)
    labels, instances, lesions = _truth(content, acquisition)
    return SyntheticStudy(images, labels, instances, lesions, Made(host.name, protocol, skull))


def draw_skull(rng: np.random.Generator, modality: Modality) -> str:
    """``"kept"``, ``"stripped"`` or ``"badly stripped"``; CT keeps it."""
    return "kept" if modality == "ct" else str(rng.choice(("kept", "stripped", "badly stripped"), p=(0.5, 0.38, 0.12)))


def _kept(rng: np.random.Generator, host: Host, content: Content, skull: str) -> NDArray[np.bool_] | None:
    """What is left of the head; None: all of it. Tumour is never cut away."""
    if skull == "kept":
        return None
    if not isinstance(host, LabelHost):
        return content.allowed
    kept = stripped_brain(rng, content.allowed)
    if skull == "badly stripped":
        kept = badly_stripped(rng, kept, content.inside.tissues > 0)
    for one in content.metastases:
        kept[one.shape.box] |= one.fraction > 0
    return kept


def _acquire_mr(
    rng: np.random.Generator, image: Field, acquisition: Acquisition, protocol: Protocol, kept: NDArray[np.bool_] | None
) -> NDArray[np.uint16]:
    phase = int(rng.choice([axis for axis in range(3) if axis != protocol.slice_axis]))
    seen = uneven(rng, image)
    if rng.random() < 0.12:
        seen = ghosts(rng, seen, phase)
    seen = acquisition.sees(seen)
    if rng.random() < 0.06 and phase != 2:
        seen = wrapped(rng, seen, phase)
    seen = noisy(rng, seen)
    if kept is not None:
        seen = np.where(acquisition.sees(kept.astype(np.float32)) >= 0.5, seen, np.float32(0))
    return np.asarray(np.rint(np.clip(seen, 0, 12) * log_uniform(rng, 150, 2500)), dtype=np.uint16)


def _acquire_ct(
    rng: np.random.Generator, image: Field, acquisition: Acquisition, protocol: Protocol
) -> NDArray[np.int16]:
    seen = acquisition.sees(image + streaks(rng, image))
    sigma = log_uniform(rng, 3.5, 10.0) / np.sqrt(min(protocol.thickness_mm, 3.0))
    seen = seen + quantum_noise(rng, seen, float(sigma))
    seen += np.float32(rng.uniform(-4, 4)) + np.float32(rng.uniform(0, 2.5)) * smooth_field(rng, shape_of(seen), 100)
    return np.rint(np.clip(seen, -1024, 3071)).astype(np.int16)


def _truth(content: Content, acquisition: Acquisition) -> tuple[LabelMap, LabelMap, tuple[TrueLesion, ...]]:
    """Labels, lesion numbers and table, on the scan's grid."""
    labels, instances = (np.zeros(acquisition.grid.shape, dtype=np.uint8) for _ in range(2))
    lesions = []
    for one in content.metastases:
        box, source = acquisition.box(one.shape.box), one.shape.box
        oedema = None if one.oedema is None else acquisition.sees_box(one.oedema, source)
        parts = Parts(
            one.number,
            one.nature == "cavity",
            acquisition.sees_box(one.fraction, source),
            acquisition.sees_box(one.dark, source),
            oedema,
        )
        before = labels[box].copy()
        mark(labels[box], instances[box], parts)
        changed = int(np.count_nonzero((labels[box] != before) & (labels[box] != 2)))
        lesions.append(_describe(one, acquisition.scene, changed * acquisition.grid.voxel_volume_mm3))
    names = {number: f"lesion {number}" for number in range(1, 1 + int(instances.max()))}
    return (
        LabelMap(labels, acquisition.grid, LABELS),
        LabelMap(instances, acquisition.grid, names),
        tuple(lesions),
    )


def _describe(one: Metastasis, scene: Grid, labelled_mm3: float) -> TrueLesion:
    volume = float(one.fraction.sum(dtype=np.float64))
    ratio = one.fraction >= 0.5 * one.shape.filled
    n = one.shape.refined
    mask = one.shape.fine & np.kron(ratio & (one.fraction > 0), np.ones((n, n, n), dtype=bool))
    start = np.array([s.start for s in one.shape.box])
    fine = scene.affine.copy()
    fine[:3, :3] /= n
    fine[:3, 3] = scene.to_world(start - 0.5 + 0.5 / n)
    grid = Grid(shape_of(mask), fine)
    indices = np.argwhere(one.fraction > 0)
    weights = one.fraction[tuple(indices.T)][:, None]
    centre = (indices * weights).sum(axis=0) / weights.sum() + start if len(indices) else start.astype(float)
    x, y, z = scene.to_world(centre).tolist()
    return TrueLesion(
        number=one.number,
        nature=one.nature,
        kind=one.shape.kind,
        volume_mm3=volume,
        equivalent_diameter_mm=float(np.cbrt(6 * volume / np.pi)),
        axial_diameter_mm=diameters_in_slice(mask, grid).diameter_mm if mask.any() else 0.0,
        diameter_3d_mm=diameter_in_space(mask, grid) if mask.any() else 0.0,
        centre_mm=(x, y, z),
        core_share=float(one.dark.sum(dtype=np.float64) / max(volume, 1e-9)),
        oedema_mm3=0.0 if one.oedema is None else float((one.oedema * (1 - one.fraction)).sum(dtype=np.float64)),
        uptake=one.uptake,
        labelled_mm3=labelled_mm3,
    )
