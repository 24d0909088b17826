"""Finished cases made of numpy, for the tests of everything that shows or writes a result."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from metseg.core.errors import MissingExtraError
from metseg.core.grid import Grid
from metseg.core.lesion import Lesion, LesionTable
from metseg.core.result import CaseResult, Provenance
from metseg.core.study import Source, Study
from metseg.core.volume import LabelMap, Volume
from metseg.report.pdf import weasyprint

PROVENANCE = Provenance(
    engine="threshold",
    model={
        "name": "mets-t1c",
        "version": "0.3.1",
        "sha256": "c0ffee" * 10,
        "limits": ["Lesions below 3 mm are missed."],
    },
    versions={"metseg": "0.1.0", "numpy": "2.4.6"},
    options={"operating_point": "balanced", "min_volume_mm3": None},
    timings_s={"read": 0.25, "predict": 12.0},
)
Box = tuple[tuple[int, int, int], tuple[int, int, int]]


def why_no_pdf() -> str:
    """Why no PDF can be drawn here; empty where one can."""
    try:
        weasyprint()
    except MissingExtraError as error:
        return str(error)
    return ""


def head(grid: Grid, level: float = 100.0) -> np.ndarray:
    """A ball of tissue in empty air that fills nine tenths of the grid's shortest side, float32."""
    distance = np.linalg.norm(_world(grid) - grid.to_world((np.array(grid.shape) - 1) / 2), axis=-1)
    radius = 0.45 * min(np.multiply(grid.shape, grid.spacing_mm))
    texture = 0.2 * level * np.sin(np.arange(distance.size)).reshape(grid.shape)
    return np.where(distance <= radius, level + texture, 0).astype(np.float32)


def make_result(
    grid: Grid,
    boxes: Sequence[Box] = (),
    *,
    case: str = "case-1",
    array: np.ndarray | None = None,
    sequence: str = "t1c",
    source: Source | None = None,
    **provenance: Any,
) -> CaseResult:
    """A result whose lesions are boxes of voxels, (first, one past the last), bright on a head.

    The lesions must be given largest first; their diameters are those of the box. ``provenance`` replaces fields of
    ``PROVENANCE``.
    """
    image = head(grid) if array is None else np.array(array)
    instances = np.zeros(grid.shape, dtype=np.uint32)
    lesions = []
    for number, box in enumerate(boxes, 1):
        place = tuple(slice(first, stop) for first, stop in zip(*box, strict=True))
        instances[place] = number
        image[place] = image.max()
        lesions.append(_lesion(grid, number, box))
    return CaseResult(
        study=Study(case, {sequence: Volume(image, grid)}, source=source or Source()),
        segmentation=LabelMap((instances > 0).astype(np.uint8), grid, {1: "lesion"}),
        instances=LabelMap(instances, grid),
        lesions=LesionTable(tuple(lesions)),
        provenance=replace(PROVENANCE, **provenance),
    )


def _lesion(grid: Grid, number: int, box: Box) -> Lesion:
    first, stop = np.array(box)
    size_mm = (stop - first) * grid.spacing_mm
    centre = (first + stop - 1) / 2
    in_plane = sorted(np.delete(size_mm, grid.axial_axis))
    return Lesion(
        id=number,
        volume_mm3=float(np.prod(stop - first) * grid.voxel_volume_mm3),
        diameter_mm=float(in_plane[1]),
        perpendicular_mm=float(in_plane[0]),
        diameter_3d_mm=float(np.linalg.norm(size_mm)),
        centre_mm=tuple(grid.to_world(centre).tolist()),
        centre_ijk=tuple(centre.tolist()),
        slice_number=int(centre[grid.axial_axis]),
        bbox_ijk=box,
        confidence=round(1 - number / 100, 2),
    )


def _world(grid: Grid) -> np.ndarray:
    return grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
