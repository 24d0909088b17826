"""Draw metastases into a scene, and remember exactly where they are."""

import numpy as np
from numpy.typing import NDArray

from metseg.synthesis.fields import Field, Shape, log_uniform, smooth_field
from metseg.synthesis.shapes import LesionShape, draw_diameter, draw_shape


def draw_count(rng: np.random.Generator) -> int:
    """Lesions in one patch: none now and then, else more than patients have, for it is lesions that teach."""
    return int(rng.choice((0, 1, 2, 4, 6, 9), p=(0.22, 0.15, 0.18, 0.2, 0.15, 0.1)))


def _contrast(rng: np.random.Generator, brightest: float) -> float:
    """Brightness of enhancing tumour, white matter = 1: from the range that vessels have, or barely enhancing."""
    return log_uniform(rng, 1.12, 1.35) if rng.random() < 0.15 else log_uniform(rng, 1.25, max(brightest, 1.4))


def _inside(rng: np.random.Generator, lesion: LesionShape, enhancing: float) -> Field:
    """Brightness (i, j, k) of the lesion's box if all of it were tumour."""
    shape: Shape = lesion.depth.shape
    grain = smooth_field(rng, shape, max(lesion.radius * rng.uniform(0.15, 0.6), 1.5))
    tumour = enhancing * (1 + rng.uniform(0.02, 0.28) * grain)
    if lesion.kind == "solid":
        return tumour
    dark = rng.uniform(0.18, 0.5) if lesion.kind == "cyst" else rng.uniform(0.25, 1.0)
    if rng.random() < 0.08:  # blood or protein
        dark = rng.uniform(1.0, 1.4)
    rim = lesion.rim if lesion.kind == "ring" else np.minimum(lesion.rim, 2.5)
    core = dark * (1 + rng.uniform(0.0, 0.3) * smooth_field(rng, shape, max(lesion.radius * 0.4, 2.0)))
    if lesion.kind == "ring" and lesion.radius > 6 and rng.random() < 0.5:  # strands of tumour across the necrosis
        core = np.where(smooth_field(rng, shape, max(lesion.radius * 0.35, 2.0)) > 0.7, tumour, core)
    part = np.clip((lesion.depth - rim) / rng.uniform(0.8, 2.0) + 0.5, 0, 1)
    return np.asarray(tumour + part * (core - tumour), dtype=np.float32)


def _oedema(rng: np.random.Generator, image: Field, lesion: LesionShape, white: NDArray[np.bool_]) -> None:
    """Darken the white matter around a lesion (in place)."""
    shape: Shape = lesion.depth.shape
    reach = log_uniform(rng, 2, 3 + lesion.radius * 0.9)
    halo = lesion.depth + reach * (1 + 0.4 * smooth_field(rng, shape, max(reach, 3.0)))
    strength = np.clip(halo / 3, 0, 1) * rng.uniform(0.05, 0.4)
    image[lesion.box] *= 1 - strength * np.where(white[lesion.box], 1.0, 0.25).astype(np.float32)


def draw_metastases(
    rng: np.random.Generator,
    image: Field,
    sites: NDArray[np.float32],
    allowed: NDArray[np.bool_],
    white: NDArray[np.bool_],
    brightest: float,
    count: int,
    largest: float = 62.0,
) -> NDArray[np.uint8]:
    """Draw ``count`` metastases into ``image`` (changed in place).

    Args:
        rng: source of chance.
        image: (i, j, k), 1 mm, white matter = 1.
        sites: (i, j, k), relative chance that a lesion's centre lies there.
        allowed: (i, j, k), where tumour may grow: it is cut off elsewhere.
        white: (i, j, k), where oedema spreads.
        brightest: upper end of the enhancement.
        count: how many.
        largest: largest diameter in millimetres.

    Returns:
        (i, j, k): number of the lesion whose tissue, core included, fills at least half of the voxel; 0 elsewhere.
        Lesions that touch keep their numbers; one that fills no voxel by half is not drawn.
    """
    truth = np.zeros(image.shape, dtype=np.uint8)
    chance = np.cumsum(sites.ravel(), dtype=np.float64)
    if chance[-1] <= 0:
        return truth
    base = _contrast(rng, brightest)  # the lesions of one patient look alike
    scene: Shape = image.shape
    for number in range(1, count + 1):
        flat = int(np.searchsorted(chance, rng.random() * chance[-1], side="right"))
        i, j, k = (int(n) for n in np.unravel_index(min(flat, chance.size - 1), scene))
        lesion = draw_shape(rng, scene, (i, j, k), draw_diameter(rng, largest))
        part = np.clip(lesion.depth + 0.5, 0, 1) * allowed[lesion.box]
        filled = part >= 0.5
        if not filled.any():
            continue
        if lesion.radius > 2 and rng.random() < 0.6:
            _oedema(rng, image, lesion, white)
        enhancing = base * float(np.exp(rng.normal(0, 0.12))) if rng.random() < 0.7 else _contrast(rng, brightest)
        if lesion.kind == "solid" and lesion.radius > 7:  # a wide, faint, even brightness is a coil's, not a tumour's
            enhancing = max(enhancing, 1.3)
        region = image[lesion.box]
        region += part * (_inside(rng, lesion, enhancing) - region)
        truth[lesion.box][filled] = number
    return truth
