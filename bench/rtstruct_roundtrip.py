"""Volumes after mask → RTSTRUCT → mask, by size of lesion and by geometry of the series: the table of dicom-results.md.

    PYTHONPATH=src:tests python bench/rtstruct_roundtrip.py [--plastimatch]

Contours are read by tests/rt_reader.py (centres of the source's pixels; 5×5 points a pixel; area), or by plastimatch.
"""

import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread

from dicom_cases import GEOMETRIES, balls, drawn, series
from metseg.io.rt_regions import make_regions
from metseg.io.rtstruct import make_rtstruct
from rt_reader import area_mm2, fill, read_rois

Array = NDArray[np.float64]
DIAMETERS = (20, 15, 12, 10, 8, 7, 6, 5, 4.5, 4, 3.5, 3)


def plastimatch(folder: Path, path: Path) -> dict[str, float]:
    """Volumes in mm³ by name, from plastimatch's own masks on the series."""
    out = folder / "masks"
    command = ["plastimatch", "convert", "--input", path, "--referenced-ct", folder / "in", "--output-prefix", out]
    subprocess.run([*command, "--prefix-format", "nii.gz"], check=True, capture_output=True)  # noqa: S603
    found = {}
    for file in out.glob("*.nii.gz"):
        image = nib.load(file)
        voxel = abs(np.linalg.det(image.affine[:3, :3]))
        found[file.name.removesuffix(".nii.gz")] = float(np.count_nonzero(image.get_fdata()) * voxel)
    return found


def errors(name: str, *, other: bool) -> Array:
    """Relative errors of each way of reading, by lesion of at least 3 mm."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made, reference = series(folder / "in", name)
        instances, lesions = drawn(reference.grid, balls(reference.grid, DIAMETERS, seed=3))
        regions = make_regions(reference.carry(instances.array), reference)
        structures = make_rtstruct(regions, reference, "model 1", datetime.now(UTC))
        structures.save_as(folder / "rtstruct.dcm", enforce_file_format=True)
        i, j, k = reference.grid.spacing_mm
        theirs = plastimatch(folder, folder / "rtstruct.dcm") if other else {}
        rows = []
        for roi, lesion in zip(read_rois(dcmread(folder / "rtstruct.dcm")), lesions, strict=True):
            true = lesion.volume_mm3
            volumes = [
                fill(roi, made).sum() * i * j * k,
                fill(roi, made, samples=5).sum() * i * j * k,
                sum(map(area_mm2, roi.contours)) * k,
                theirs.get(roi.name, np.nan),
            ]
            rows.append([abs(volume - true) / true for volume in volumes])
        return np.array(rows)


def main() -> None:
    """Print the table."""
    other = "--plastimatch" in sys.argv
    print("| series | lesions | pixel centres | 5×5 points a pixel | area | plastimatch |\n|---|---|---|---|---|---|")
    every = []
    for name in GEOMETRIES:
        found = errors(name, other=other)
        every.append(found)
        print(row(name, found))
    print(row("all", np.concatenate(every)))


def row(name: str, found: Array) -> str:
    """Median and worst error of each way, in percent."""
    cells = [f"{100 * np.median(column):.2f}, {100 * column.max():.2f} %" for column in found.T]
    return f"| {name} | {len(found)} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
