"""In which part of the brain a lesion lies, where a map into the template can be trusted."""

from dataclasses import replace
from typing import Final

import numpy as np

from metseg.core.lesion import Lesion, LesionTable, Location
from metseg.lesions.midline import LEAST_OVERLAP, NEAR_MIDLINE_MM, Midline
from metseg.lesions.regions import region_shares
from metseg.lesions.registration import Fit

# How precisely places are taken to be known, each axis; chosen, not fitted (docs/reference/location.md).
SPREAD_MM: Final = 5.0
SURE: Final = 0.75
# What a map must fulfil.
LEAST_FIT: Final = 0.94
LEAST_EXPLAINED: Final = -0.1
LEAST_SEEN: Final = 0.4
MOST_SPREAD_MM: Final = 5.0
ZOOMS: Final = (0.8, 1.4)
MOST_STRETCH: Final = 1.35  # largest zoom by smallest
MOST_TURN_DEG: Final = 50.0
MOST_TILT_DEG: Final = 6.0  # against the brain's own plane of symmetry
MOST_SHIFT_MM: Final = 5.0


def why_not(fit: Fit, midline: Midline | None) -> str:
    """Why a map is not to be trusted, as the end of a sentence; empty where nothing speaks against it.

    Args:
        fit: the map.
        midline: the brain's own plane of symmetry, found without the template; None where there is none.
    """
    turn, zooms = _parts(fit)
    doubts = {
        f"only {fit.seen:.0%} of a whole brain is in the image": fit.seen < LEAST_SEEN,
        f"the brain's shape does not fit (overlap {fit.overlap:.2f})": fit.overlap < LEAST_FIT,
        "grey matter, white matter and fluid do not lie where they should": fit.explained < LEAST_EXPLAINED,
        "the fit is ambiguous": fit.spread_mm > MOST_SPREAD_MM,
        "the brain would have an unlikely size": min(zooms) < ZOOMS[0] or max(zooms) > ZOOMS[1],
        "the brain would have unlikely proportions": max(zooms) / min(zooms) > MOST_STRETCH,
        f"the head would be turned by {turn:.0f}°": turn > MOST_TURN_DEG,
        "its middle is not the brain's plane of symmetry": not _agree(fit, midline),
    }
    return next((doubt for doubt, holds in doubts.items() if holds), "")


def with_locations(lesions: LesionTable, fit: Fit) -> LesionTable:
    """Say of each lesion in which part of the brain its centre lies, and take back sides that the map contradicts."""
    return LesionTable(tuple(_placed(one, fit) for one in lesions))


def rightwards_mm(fit: Fit, point_mm: tuple[float, float, float]) -> float:
    """How far a point of the patient's world lies to the right of the template's middle, in its own millimetres."""
    across = fit.matrix[0, :3]
    return float((across @ np.array(point_mm) + fit.matrix[0, 3]) / np.linalg.norm(across))


def _placed(lesion: Lesion, fit: Fit) -> Lesion:
    shares = region_shares(fit.to_template(np.array(lesion.centre_mm)), SPREAD_MM)
    names, parts = list(shares), list(shares.values())
    some = next((n for n in (1, 2) if sum(parts[:n]) >= SURE), 0)
    location = Location(tuple(names[:some]), min(sum(parts[:some]), 1.0)) if some else None
    return replace(lesion, side=None if _contradicted(lesion, fit) else lesion.side, location=location)


def _contradicted(lesion: Lesion, fit: Fit) -> bool:
    rightwards = rightwards_mm(fit, lesion.centre_mm)
    if lesion.side == "midline":
        return abs(rightwards) > 2 * NEAR_MIDLINE_MM
    return lesion.side is not None and (rightwards > 0) != (lesion.side == "right")


def _parts(fit: Fit) -> tuple[float, list[float]]:
    """By how many degrees a map turns, and its three zooms."""
    left, zooms, right = np.linalg.svd(fit.matrix[:3, :3])
    turn = left @ right
    cosine = (np.trace(turn) * np.sign(np.linalg.det(turn)) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))), [float(zoom) for zoom in zooms]


def _agree(fit: Fit, midline: Midline | None) -> bool:
    """Whether the template's middle is the plane of symmetry, where there is one to tell by."""
    if midline is None or midline.overlap < LEAST_OVERLAP:
        return True
    across = fit.matrix[0, :3]
    tilt = np.degrees(np.arccos(np.clip(across @ np.array(midline.normal) / np.linalg.norm(across), -1, 1)))
    middle = np.linalg.inv(fit.matrix) @ np.array((0, -18, 5, 1.0))  # of the template's brain
    return bool(tilt <= MOST_TILT_DEG and abs(midline.distance_mm(middle[:3])) <= MOST_SHIFT_MM)
