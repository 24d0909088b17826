"""Outlines without holes: each hole is joined to what surrounds it by a channel of no width (a keyhole)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from metseg.lesions.outline import Outline, outlines, signed_area


def simple_outlines(mask: Bool[np.ndarray, "rows columns"]) -> list[Outline]:
    """Closed outlines of a mask along its pixel edges, each around a piece of its own.

    A polygon per piece: its area, holes taken out, is its number of pixels. A channel runs along an edge between pixel
    rows, there and back, so it holds no pixel's centre and encloses nothing. Readers that fill, that count crossings
    and that combine polygons by exclusive or all find the same pixels.

    Returns:
        One (points, 2) array of corners (x, y) for each, as ``outlines`` gives them; at least 4 points each.
    """
    loops = outlines(mask)
    whole = [loop for loop in loops if signed_area(loop) > 0]
    # From left to right: what a hole meets on its left is the outer outline, or a hole that is joined to it already.
    holes = sorted((loop for loop in loops if signed_area(loop) < 0), key=lambda loop: loop[:, 0].min())
    for hole in holes:
        _join(whole, hole)
    return whole


def _join(whole: list[Outline], hole: Outline) -> None:
    """Put ``hole`` into the outline that lies next to it on the left."""
    left = hole[hole[:, 0] == hole[:, 0].min()]
    x, y = left[left[:, 1].argmin()].tolist()
    which, place, meeting = _next_on_the_left(whole, x, y)
    outer = whole[which]
    first = int(np.flatnonzero((hole == (x, y)).all(axis=1))[0])
    there = np.roll(hole, -first, axis=0)
    bridge = np.array([[meeting, y]])
    spliced = np.concatenate([outer[: place + 1], bridge, there, there[:1], bridge, outer[place + 1 :]])
    # A bridge that begins at a corner repeats it.
    same = (spliced == np.roll(spliced, 1, axis=0)).all(axis=1)
    whole[which] = np.ascontiguousarray(spliced[~same])


def _next_on_the_left(whole: Sequence[Outline], x: float, y: float) -> tuple[int, int, float]:
    """The outline that a walk to the left from (x, y) meets first; after which of its corners; and at which x."""
    found: list[tuple[float, int, int]] = []
    for which, loop in enumerate(whole):
        starts, ends = loop, np.roll(loop, -1, axis=0)
        low, high = np.minimum(starts, ends), np.maximum(starts, ends)
        # An edge that runs along the walk is met at its nearest point; one across it, where it crosses.
        at = np.minimum(high[:, 0], x)
        meets = (low[:, 1] <= y) & (y <= high[:, 1]) & (low[:, 0] <= x)
        found += [(float(at[place]), which, int(place)) for place in np.flatnonzero(meets)]
    meeting, which, place = max(found, key=lambda one: one[0])
    return which, place, meeting


def slice_outlines(
    mask: Bool[np.ndarray, "i j k"], start: tuple[int, int, int] = (0, 0, 0), finer: tuple[int, int] = (1, 1)
) -> list[tuple[int, Outline]]:
    """The outlines of a mask on each of its slices across k.

    Args:
        mask: a part of a grid, or of one that is finer in i and j.
        start: the grid's voxel that the part begins with.
        finer: how many pixels of the mask one voxel of the grid has along i and j.

    Returns:
        The slice and a (points, 2) array of indices (i, j) on the grid for each outline; voxel (0, 0) reaches from
        -0.5 to 0.5.
    """
    found = []
    for k in np.flatnonzero(mask.any(axis=(0, 1))).tolist():
        for loop in simple_outlines(mask[:, :, k].T):
            found.append((start[2] + k, loop / finer - 0.5 + start[:2]))  # noqa: PERF401 - two loops read better so
    return found
