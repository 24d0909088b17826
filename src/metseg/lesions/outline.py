"""Outlines of a mask along its pixel edges: what is drawn is exactly what was segmented."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

Outline = NDArray[np.float64]


def outlines(mask: Bool[np.ndarray, "rows columns"]) -> list[Outline]:
    """Closed outlines of a mask, along the edges between its pixels and the others.

    The edges are followed with the mask on the right hand, so an outer outline runs clockwise on the screen and has a
    positive ``signed_area``; a hole's is negative, and their sum is the number of pixels, exactly. Pixels that touch
    at a corner only get outlines of their own. Unlike marching squares at level ½, a single pixel keeps its size.

    Returns:
        One (points, 2) array of corners (x, y) for each outline, in pixels from the top left corner of the mask;
        the last corner joins the first.
    """
    starts, ends = _edges(mask)
    following: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for start, end in zip(starts.tolist(), ends.tolist()):
        following[start[0], start[1]].append((end[0], end[1]))
    found = []
    while following:
        found.append(_corners(_follow(following)))
    return found


def signed_area(outline: Float[np.ndarray, "points 2"]) -> float:
    """Area inside a closed outline (the shoelace formula); positive if it runs clockwise with y down."""
    following = np.roll(outline, -1, axis=0)
    return float(np.sum(outline[:, 0] * following[:, 1] - following[:, 0] * outline[:, 1]) / 2)


def enclosed_area(loops: Sequence[Float[np.ndarray, "_ 2"]]) -> float:
    """Area inside outlines, holes taken out, in pixels."""
    return sum(signed_area(loop) for loop in loops)


def _edges(mask: Bool[np.ndarray, "rows columns"]) -> tuple[Int[np.ndarray, "edges 2"], Int[np.ndarray, "edges 2"]]:
    """Start and end (x, y) of each edge between a pixel inside and one outside, inside on the right hand."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    # Of each pixel: which neighbour is looked at, and where its edge towards that one starts and ends.
    neighbours = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),  # above: left to right
        (padded[1:-1, 2:], (1, 0), (1, 1)),  # right: downwards
        (padded[2:, 1:-1], (1, 1), (0, 1)),  # below: right to left
        (padded[1:-1, :-2], (0, 1), (0, 0)),  # left: upwards
    )
    starts, ends = [], []
    for neighbour, start, end in neighbours:
        corner = np.argwhere(inside & ~neighbour)[:, ::-1]
        starts.append(corner + start)
        ends.append(corner + end)
    return np.concatenate(starts), np.concatenate(ends)


def _follow(following: dict[tuple[int, int], list[tuple[int, int]]]) -> list[tuple[int, int]]:
    """Take one closed chain of edges out of ``following``."""
    start = point = next(iter(following))
    heading = (0, 0)
    chain = []
    while True:
        chain.append(point)
        choices = following[point]
        # Where two pixels touch at a corner, a right turn stays with the same pixel.
        right = (point[0] - heading[1], point[1] + heading[0])
        after = right if len(choices) > 1 and right in choices else choices[0]
        choices.remove(after)
        if not choices:
            del following[point]
        heading = (after[0] - point[0], after[1] - point[1])
        point = after
        if point == start and (point not in following or not _goes_on(point, heading, following[point])):
            return chain


def _goes_on(point: tuple[int, int], heading: tuple[int, int], choices: list[tuple[int, int]]) -> bool:
    """Back at the start, where two pixels touch: does the right turn from here belong to this chain still?"""
    return (point[0] - heading[1], point[1] + heading[0]) in choices


def _corners(chain: list[tuple[int, int]]) -> Outline:
    """Drop the points in the middle of straight runs."""
    points = np.asarray(chain, dtype=np.float64)
    before = points - np.roll(points, 1, axis=0)
    after = np.roll(points, -1, axis=0) - points
    return np.ascontiguousarray(points[(before != after).any(axis=1)])
