"""How bright tissues and substances are in one imaginary scan: T1 after and before gadolinium, T2, FLAIR, CT.

MR intensities are relative to white matter (= 1); CT is in Hounsfield units. Each scan draws its own numbers from
the ranges, which are wider than any one scanner's: a model must not depend on one. Where they come from stands in
``docs/reference/synthesis.md``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from metseg.synthesis.fields import Field
from metseg.synthesis.substances import Response, Substance
from metseg.synthesis.tissues import Tissue

Sequence = Literal["t1c", "t1n", "t2w", "t2f", "ct"]
Ranges = dict[Tissue, tuple[float, float, float, float]]


@dataclass(frozen=True, eq=False)
class Palette:
    """One scan's brightnesses.

    Args:
        mean: (tissue,) of each tissue.
        spread: (tissue,) standard deviation of the texture inside one tissue.
        responses: of each substance.
        hounsfield: whether the unit is HU; else white matter is about 1.
    """

    mean: Field
    spread: Field
    responses: dict[Substance, Response]
    hounsfield: bool = False


# Each: lowest and highest mean, lowest and highest standard deviation inside the tissue.
_T1C: Final[Ranges] = {
    Tissue.AIR: (0.0, 0.03, 0.0, 0.01),
    Tissue.WHITE: (1.0, 1.0, 0.02, 0.06),
    Tissue.CORTEX: (0.74, 1.0, 0.03, 0.10),
    Tissue.DEEP_GREY: (0.78, 1.02, 0.02, 0.06),
    Tissue.FLUID: (0.10, 0.5, 0.03, 0.10),
    Tissue.VENTRICLE: (0.10, 0.4, 0.01, 0.05),
    Tissue.CEREBELLAR_WHITE: (0.92, 1.06, 0.02, 0.07),
    Tissue.CEREBELLAR_CORTEX: (0.72, 0.98, 0.03, 0.10),
    Tissue.BRAINSTEM: (0.85, 1.03, 0.02, 0.06),
    Tissue.CHOROID: (0.9, 2.4, 0.1, 0.4),
    Tissue.SINUS: (0.8, 2.6, 0.1, 0.5),
    Tissue.BONE: (0.05, 0.5, 0.03, 0.15),
    Tissue.MARROW: (0.2, 1.6, 0.1, 0.4),
    Tissue.MUSCLE: (0.4, 1.1, 0.1, 0.35),
    Tissue.SKIN: (0.8, 2.2, 0.1, 0.5),
    Tissue.EYE: (0.15, 0.5, 0.02, 0.1),
    Tissue.MUCOSA: (0.5, 2.4, 0.1, 0.6),
    Tissue.NECK_VESSEL: (0.3, 2.6, 0.1, 0.4),
}

_T1N: Final[Ranges] = {
    **_T1C,
    Tissue.CORTEX: (0.6, 0.92, 0.03, 0.09),
    Tissue.DEEP_GREY: (0.72, 0.95, 0.02, 0.06),
    Tissue.CEREBELLAR_CORTEX: (0.6, 0.92, 0.03, 0.09),
    Tissue.CHOROID: (0.45, 0.8, 0.03, 0.1),
    Tissue.SINUS: (0.2, 0.8, 0.05, 0.2),
    Tissue.MUCOSA: (0.4, 0.9, 0.1, 0.3),
    Tissue.NECK_VESSEL: (0.1, 0.8, 0.05, 0.3),
}

_T2W: Final[Ranges] = {
    Tissue.AIR: (0.0, 0.03, 0.0, 0.01),
    Tissue.WHITE: (1.0, 1.0, 0.03, 0.08),
    Tissue.CORTEX: (1.25, 1.75, 0.05, 0.15),
    Tissue.DEEP_GREY: (0.9, 1.4, 0.04, 0.1),
    Tissue.FLUID: (2.2, 4.2, 0.1, 0.5),
    Tissue.VENTRICLE: (2.6, 4.4, 0.05, 0.2),
    Tissue.CEREBELLAR_WHITE: (0.95, 1.15, 0.03, 0.09),
    Tissue.CEREBELLAR_CORTEX: (1.3, 1.8, 0.05, 0.15),
    Tissue.BRAINSTEM: (0.95, 1.25, 0.03, 0.1),
    Tissue.CHOROID: (1.6, 2.8, 0.1, 0.4),
    Tissue.SINUS: (0.1, 0.9, 0.05, 0.2),
    Tissue.BONE: (0.05, 0.4, 0.03, 0.1),
    Tissue.MARROW: (0.3, 1.4, 0.1, 0.3),
    Tissue.MUSCLE: (0.4, 0.9, 0.1, 0.25),
    Tissue.SKIN: (0.8, 2.0, 0.1, 0.4),
    Tissue.EYE: (2.4, 4.2, 0.05, 0.2),
    Tissue.MUCOSA: (1.2, 3.2, 0.2, 0.6),
    Tissue.NECK_VESSEL: (0.1, 0.9, 0.05, 0.2),
}

_FLAIR: Final[Ranges] = {
    **_T2W,
    Tissue.CORTEX: (1.12, 1.5, 0.04, 0.12),
    Tissue.DEEP_GREY: (0.95, 1.3, 0.03, 0.1),
    Tissue.FLUID: (0.15, 0.6, 0.05, 0.15),
    Tissue.VENTRICLE: (0.1, 0.45, 0.02, 0.08),
    Tissue.CEREBELLAR_CORTEX: (1.12, 1.5, 0.04, 0.12),
    Tissue.CHOROID: (0.9, 1.7, 0.1, 0.3),
    Tissue.EYE: (0.1, 0.5, 0.02, 0.1),
    Tissue.MUCOSA: (1.0, 2.4, 0.2, 0.5),
}

# After contrast agent.
_CT: Final[Ranges] = {
    Tissue.AIR: (-1005, -980, 1, 6),
    Tissue.WHITE: (24, 33, 0.5, 2),
    Tissue.CORTEX: (35, 45, 1, 3),
    Tissue.DEEP_GREY: (34, 44, 0.5, 2),
    Tissue.FLUID: (2, 14, 1, 4),
    Tissue.VENTRICLE: (1, 12, 0.5, 1.5),
    Tissue.CEREBELLAR_WHITE: (26, 36, 0.5, 2),
    Tissue.CEREBELLAR_CORTEX: (34, 46, 1, 3),
    Tissue.BRAINSTEM: (26, 36, 0.5, 2.5),
    Tissue.CHOROID: (45, 110, 5, 20),
    Tissue.SINUS: (60, 190, 4, 15),
    Tissue.BONE: (600, 1500, 100, 300),
    Tissue.MARROW: (100, 600, 60, 200),
    Tissue.MUSCLE: (0, 65, 15, 50),
    Tissue.SKIN: (-80, 50, 20, 50),
    Tissue.EYE: (0, 16, 1, 3),
    Tissue.MUCOSA: (10, 70, 5, 30),
    Tissue.NECK_VESSEL: (60, 250, 5, 20),
}


def draw_tissues(rng: np.random.Generator, ranges: Ranges) -> tuple[Field, Field]:
    """Mean and standard deviation of each tissue (tissue,) in one imaginary scan."""
    table = np.array([ranges[tissue] for tissue in Tissue])
    mean, spread = rng.uniform(table[:, 0], table[:, 1]), rng.uniform(table[:, 2], table[:, 3])
    return mean.astype(np.float32), spread.astype(np.float32)


def draw_t1c(rng: np.random.Generator) -> Palette:
    """T1-weighted after gadolinium; one scan in twelve suppresses the blood in vessels."""
    mean, spread = draw_tissues(rng, _T1C)
    uptake = float(rng.uniform(0.5, 2.2))
    dark_blood = rng.random() < 1 / 12
    tissue, fluid = float(rng.uniform(0.72, 1.0)), float(mean[Tissue.VENTRICLE])
    if dark_blood:
        mean[[Tissue.SINUS, Tissue.NECK_VESSEL]] = rng.uniform(0.1, 0.8)
    return Palette(mean, spread, {
        Substance.VESSEL: Response(float(rng.uniform(0.2, 0.7))) if dark_blood else Response(1.0, uptake),
        Substance.ENHANCING: Response(1.0, uptake),
        Substance.WATER: Response(tissue, fluid - tissue),
        Substance.BLOOD: Response(float(rng.uniform(0.4, 0.9)), float(rng.uniform(0.3, 1.2))),
        Substance.CALCIUM: Response(float(rng.uniform(0.3, 0.8)), -0.25),
        Substance.OEDEMA: Response(0, 0, 1, -float(rng.uniform(0.2, 0.5))),
    })  # fmt: skip


def draw_t1n(rng: np.random.Generator) -> Palette:
    """T1-weighted without contrast agent: tumour is about as dark as oedema."""
    mean, spread = draw_tissues(rng, _T1N)
    tissue, fluid = float(rng.uniform(0.62, 0.9)), float(mean[Tissue.VENTRICLE])
    return Palette(mean, spread, {
        Substance.VESSEL: Response(float(rng.uniform(0.3, 0.85))),
        Substance.ENHANCING: Response(tissue),
        Substance.WATER: Response(tissue, fluid - tissue),
        Substance.BLOOD: Response(float(rng.uniform(0.4, 0.9)), float(rng.uniform(0.3, 1.2))),
        Substance.CALCIUM: Response(float(rng.uniform(0.3, 0.8)), -0.25),
        Substance.OEDEMA: Response(0, 0, 1, -float(rng.uniform(0.2, 0.45))),
    })  # fmt: skip


def draw_t2w(rng: np.random.Generator) -> Palette:
    """T2-weighted: water is bright, flowing and clotted blood dark."""
    mean, spread = draw_tissues(rng, _T2W)
    tissue, fluid = float(rng.uniform(1.1, 2.0)), float(mean[Tissue.VENTRICLE])
    return Palette(mean, spread, {
        Substance.VESSEL: Response(float(rng.uniform(0.1, 0.8))),
        Substance.ENHANCING: Response(tissue),
        Substance.WATER: Response(tissue, fluid - tissue),
        Substance.BLOOD: Response(float(rng.uniform(0.3, 2.2)), float(rng.uniform(-0.2, 0.8))),
        Substance.CALCIUM: Response(float(rng.uniform(0.4, 0.9)), -0.35),
        Substance.OEDEMA: Response(0, float(rng.uniform(0.6, 1.5)), 1),
    })  # fmt: skip


def draw_flair(rng: np.random.Generator) -> Palette:
    """T2-weighted with free water suppressed: oedema is bright, cysts are grey to dark."""
    mean, spread = draw_tissues(rng, _FLAIR)
    tissue, fluid = float(rng.uniform(1.0, 1.8)), float(mean[Tissue.VENTRICLE])
    return Palette(mean, spread, {
        Substance.VESSEL: Response(float(rng.uniform(0.2, 0.8))),
        Substance.ENHANCING: Response(tissue),
        Substance.WATER: Response(tissue, fluid + float(rng.uniform(0.0, 0.7)) - tissue),
        Substance.BLOOD: Response(float(rng.uniform(0.3, 1.6)), float(rng.uniform(-0.2, 0.8))),
        Substance.CALCIUM: Response(float(rng.uniform(0.4, 0.9)), -0.35),
        Substance.OEDEMA: Response(0, float(rng.uniform(0.5, 1.3)), 1),
    })  # fmt: skip


def draw_ct(rng: np.random.Generator) -> Palette:
    """Head CT after contrast agent, in HU; tumour takes up less of it than blood has."""
    mean, spread = draw_tissues(rng, _CT)
    vessel = float(rng.uniform(60, 170))
    mean[[Tissue.SINUS, Tissue.NECK_VESSEL]] = vessel * rng.uniform(0.75, 1.15, 2)
    tissue, fluid = float(rng.uniform(28, 40)), float(mean[Tissue.VENTRICLE])
    return Palette(mean, spread, {
        Substance.VESSEL: Response(40, vessel - 40),
        Substance.ENHANCING: Response(tissue, float(rng.uniform(0.3, 0.7)) * vessel),
        Substance.WATER: Response(tissue - 4, fluid - tissue + 4),
        Substance.BLOOD: Response(float(rng.uniform(35, 50)), float(rng.uniform(15, 45))),
        Substance.CALCIUM: Response(float(rng.uniform(70, 140)), float(rng.uniform(150, 600))),
        Substance.OEDEMA: Response(0, -float(rng.uniform(6, 16)), 1),
    }, hounsfield=True)  # fmt: skip


_DRAW: Final[dict[Sequence, Callable[[np.random.Generator], Palette]]] = {
    "t1c": draw_t1c, "t1n": draw_t1n, "t2w": draw_t2w, "t2f": draw_flair, "ct": draw_ct,
}  # fmt: skip


def draw_palette(rng: np.random.Generator, sequence: Sequence) -> Palette:
    """One scan of ``sequence``."""
    return _DRAW[sequence](rng)
