"""Who has how many metastases, how large, where and of what kind: published distributions, and those for training.

The sources and numbers stand in ``docs/reference/synthesis.md``. Training does not follow the cohorts: it wants more
lesions a scan than patients have, and more of the rare ones, for it is lesions that teach.
"""

from typing import Final, Literal

import numpy as np

from metseg.synthesis.fields import log_uniform

Kind = Literal["solid", "ring", "cyst"]
Compartment = Literal["supratentorial", "cerebellum", "brainstem", "surface"]

# Share of patients with from … to lesions (geometric within the last two).
_COUNTS: Final = (((1, 1), 0.40), ((2, 3), 0.26), ((4, 10), 0.24), ((11, 20), 0.07), ((21, 60), 0.03))
# Share of lesions with a diameter from … to millimetres (log-uniform within).
_DIAMETERS: Final = (
    ((2.0, 3.0), 0.12), ((3.0, 5.0), 0.25), ((5.0, 10.0), 0.33), ((10.0, 20.0), 0.20), ((20.0, 45.0), 0.10)
)  # fmt: skip
_TRAINING_DIAMETERS: Final = (((2.0, 6.0), 0.30), ((6.0, 14.0), 0.30), ((14.0, 28.0), 0.22), ((28.0, 62.0), 0.18))
COMPARTMENTS: Final[dict[Compartment, float]] = {
    "supratentorial": 0.77, "cerebellum": 0.15, "brainstem": 0.03, "surface": 0.05
}  # fmt: skip


def _pick(rng: np.random.Generator, table: tuple[tuple[tuple[float, float], float], ...]) -> tuple[float, float]:
    return table[rng.choice(len(table), p=np.array([share for _, share in table]))][0]


def draw_patient_count(rng: np.random.Generator) -> int:
    """Metastases of one patient."""
    low, high = _pick(rng, _COUNTS)
    return round(log_uniform(rng, low - 0.49, high + 0.49))


def draw_patient_diameter(rng: np.random.Generator) -> float:
    """Diameter in millimetres of one of a cohort's metastases."""
    return log_uniform(rng, *_pick(rng, _DIAMETERS))


def draw_training_count(rng: np.random.Generator) -> int:
    """Lesions in one patch: none now and then, else more than patients have."""
    return int(rng.choice((0, 1, 2, 4, 6, 9), p=(0.22, 0.15, 0.18, 0.2, 0.15, 0.1)))


def draw_training_diameter(rng: np.random.Generator) -> float:
    """A diameter in millimetres: many small ones, but enough large ones to learn their insides."""
    return log_uniform(rng, *_pick(rng, _TRAINING_DIAMETERS))


def draw_kind(rng: np.random.Generator, diameter: float) -> Kind:
    """Small ones are mostly solid; from 5 mm up rings and cysts are as common."""
    solid, ring = (0.9, 0.08) if diameter < 5 else ((0.55, 0.33) if diameter < 14 else (0.28, 0.52))
    return ("solid", "ring", "cyst")[rng.choice(3, p=(solid, ring, 1 - solid - ring))]
