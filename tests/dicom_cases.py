"""Series on disk whose geometry is awkward, lesions drawn on them, and what checks DICOM objects."""

import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from hostile.make_dicom import geometry, save, slices
from metseg.core.grid import Grid
from metseg.core.lesion import LesionTable
from metseg.core.volume import LabelMap
from metseg.io.dicom_reference import read_reference
from metseg.lesions.measure import measure_lesions
from metseg.testing.phantoms import Ellipsoid, draw_mask

NOW = datetime(2026, 11, 23, 12, 30)  # noqa: DTZ001 - DICOM's times are local
SHAPE = (70, 60, 34)  # columns, rows, slices


def placed(plane="axial", *, pixel_mm=(0.9, 0.8), step_mm=1.5, tilt=(0.0, 0.0), reverse=False):
    """A geometry with its slices drifting by ``tilt`` mm a slice along rows and columns, stored from either end."""
    row, column, pixel, step, origin = geometry(plane, pixel_mm, step_mm)
    step = step + tilt[0] * row + tilt[1] * column
    if reverse:
        origin, step = origin + (SHAPE[2] - 1) * step, -step
    return row, column, pixel, step, origin


GEOMETRIES = {
    "axial": placed(),
    "axial, stored from the top": placed(reverse=True),
    "axial, 0.5×0.5×3 mm": placed(pixel_mm=(0.5, 0.5), step_mm=3.0),
    "axial, 1.3×0.6×1 mm": placed(pixel_mm=(1.3, 0.6), step_mm=1.0),
    "sagittal": placed("sagittal"),
    "coronal": placed("coronal", step_mm=2.0),
    "oblique": placed("oblique"),
    "oblique, stored from the end": placed("oblique", pixel_mm=(1.0, 0.7), step_mm=2.0, reverse=True),
    "tilted": placed(tilt=(0.0, 0.3719)),
    "oblique and tilted": placed("oblique", tilt=(0.2137, -0.3371)),
}


def series(folder: Path, name: str, modality="MR", **more):
    """The data sets of a geometry, written, and what results refer to."""
    rng = np.random.default_rng(4)
    array = rng.integers(0, 1200, SHAPE).astype(np.int32)
    made = slices(array, modality, geometry=GEOMETRIES[name], **more)
    paths = save(folder, made)
    return made, read_reference(paths, modality)


def balls(grid: Grid, diameters_mm, seed=1) -> list[Ellipsoid]:
    """Balls of these diameters at places that are apart, whatever the grid."""
    rng = np.random.default_rng(seed)
    chosen: list[Ellipsoid] = []
    while len(chosen) < len(diameters_mm):
        radius = diameters_mm[len(chosen)] / 2
        grown = np.array(grid.shape) - SHAPE  # by a tilt: what lies there is not on every slice
        margin = radius / np.array(grid.spacing_mm) + 2 + grown
        place = margin + rng.random(3) * (np.array(grid.shape) - 1 - 2 * margin)
        centre = grid.to_world(place)
        if all(np.linalg.norm(centre - one.centre_mm) > radius + max(one.radii_mm) + 4 for one in chosen):
            chosen.append(Ellipsoid.sphere(tuple(centre.tolist()), 2 * radius))
    return chosen


def drawn(grid: Grid, shapes) -> tuple[LabelMap, LesionTable]:
    """Shapes as numbered lesions, measured."""
    array = np.zeros(grid.shape, dtype=np.uint32)
    for number, shape in enumerate(shapes, 1):
        array[draw_mask(shape, grid)] = number
    return measure_lesions(LabelMap(array, grid))


def findings(path: Path) -> list[str]:
    """The errors that dciodvfy has with a file."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("needs dciodvfy (Debian: dicom3tools)")
    run = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", check=False)
    return [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("Error")]
