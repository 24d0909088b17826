"""A phantom of two lesions, the quickest options, and how to run a case on them."""

import hashlib
import json
from pathlib import Path

import numpy as np

from metseg.config.options import SegmentOptions
from metseg.core.grid import Grid
from metseg.io.discover import find_sources
from metseg.pipeline.case import run_case
from metseg.testing.phantoms import Ellipsoid

QUICK = SegmentOptions(engine="threshold", formats="nifti,json,csv")
SHAPE, SPACING = (44, 50, 40), (3.6, 3.2, 2.9)


def make_grid() -> Grid:
    affine = np.diag([-SPACING[0], SPACING[1], SPACING[2], 1.0])
    affine[:3, 3] = 77, -80, -58
    return Grid(SHAPE, affine)


LESIONS = (Ellipsoid.sphere((20, 12, 5), 20), Ellipsoid.sphere((-30, -20, -8), 15))


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def manifest_of(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def run(path, out, engine, options=QUICK, **more):
    (case,) = find_sources([path])
    return run_case(case, out, engine, options, **more)
