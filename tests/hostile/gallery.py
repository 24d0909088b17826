"""Makes every hostile kind, runs ``metseg segment`` on each, and prints command, exit code and sentence as a table.

``PYTHONPATH=tests python tests/hostile/gallery.py FOLDER`` leaves the files in FOLDER, to be looked at.
"""

# ruff: noqa: T201 (a script: its table is its result)

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from hostile import make_nifti, make_text_images, make_zip
from hostile.make_dicom import enhanced, phantom, save, slices
from metseg.core.errors import InputError, exit_code

_REFUSED = exit_code(InputError("refused"))


def _changed(keyword, value, at=5):
    made = slices()
    setattr(made[at], keyword, value)
    return made


def _without(keyword, at=5):
    made = slices()
    del made[at][keyword]
    return made


def _truncated(syntax):
    made = slices(phantom((40, 36, 8)))
    for ds in made:
        ds.compress(syntax, generate_instance_uid=False)
    return made


def _lying_frames():
    ds = enhanced()
    ds.NumberOfFrames = 2_000_000_000
    return [ds]


def _deflated():
    made = slices()
    made[3].file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return made


# Each gives the data sets of a folder, and bytes to cut from the last file.
DICOM: dict[str, tuple[Callable[[], list], int]] = {
    "dicom: slice missing": (lambda: [ds for k, ds in enumerate(slices()) if k != 5], 0),
    "dicom: slices unevenly spaced": (lambda: _changed("ImagePositionPatient", [-13.25, 21.5, -27.85]), 0),
    "dicom: slice shifted sideways": (lambda: _changed("ImagePositionPatient", [-10.25, 21.5, -40.75], 0), 0),
    "dicom: two slices at one place": (lambda: [*slices(), slices(phantom(seed=5))[4]], 0),
    "dicom: mixed matrix sizes": (lambda: [*slices()[:5], slices(phantom((21, 16, 12)))[5], *slices()[6:]], 0),
    "dicom: mixed pixel sizes": (lambda: _changed("PixelSpacing", [0.9, 1.3]), 0),
    "dicom: mixed orientations": (lambda: _changed("ImageOrientationPatient", [0, 1, 0, 0, 0, -1]), 0),
    "dicom: mixed frames of reference": (lambda: _changed("FrameOfReferenceUID", "1.2.4.4"), 0),
    "dicom: two patients": (lambda: [*slices(patient="A"), *slices(patient="B", series=2)], 0),
    "dicom: two visits": (lambda: [*slices(study="1.2.3"), *slices(study="1.2.4", series=2)], 0),
    "dicom: CT for an MR model": (lambda: slices(modality="CT"), 0),
    "dicom: screen captures only": (lambda: slices(modality="secondary capture")[:1], 0),
    "dicom: too few slices": (lambda: slices(phantom((21, 18, 7))), 0),
    "dicom: position missing": (lambda: _without("ImagePositionPatient"), 0),
    "dicom: pixel size missing": (lambda: _without("PixelSpacing"), 0),
    "dicom: pixels missing": (lambda: _without("PixelData"), 0),
    "dicom: pixels cut": (slices, 40),
    "dicom: RLE cut": (lambda: _truncated(RLELossless), 40),
    "dicom: JPEG 2000 cut": (lambda: _truncated(JPEG2000Lossless), 40),
    "dicom: JPEG-LS cut": (lambda: _truncated(JPEGLSLossless), 40),
    "dicom: header cut": (slices, 1100),
    "dicom: deflated": (_deflated, 0),
    "dicom: constant": (lambda: slices(np.full((21, 18, 12), 7)), 0),
    "dicom: two thousand million frames": (_lying_frames, 0),
}


def make_all(folder: Path) -> Iterator[tuple[str, Path]]:
    """Write each kind into a folder of its own; yield its name and what to give to the command."""
    kinds = {**make_nifti.REFUSED, **make_text_images.REFUSED}
    files = [(kind, hostile.name, hostile.make) for kind, hostile in kinds.items()]
    files += [(kind, "study.zip", hostile.make) for kind, hostile in make_zip.REFUSED.items()]
    for number, (kind, name, make) in enumerate(files):
        path = folder / f"{number:03d}" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(make())
        yield kind, path
    for number, (kind, (make_series, lost)) in enumerate(DICOM.items(), start=len(files)):
        paths = save(folder / f"{number:03d}", make_series())
        if lost:
            paths[-1].write_bytes(paths[-1].read_bytes()[:-lost])
        yield kind, paths[0].parent


def main() -> None:
    """Run the command on each; the exit code tells whether all were refused and nothing was left behind."""
    folder = Path(sys.argv[1])
    bad = 0
    print("| kind | command | exit code | sentence |\n|---|---|---|---|")
    for kind, path in make_all(folder):
        out = folder / "results"
        command = ["metseg", "segment", str(path.relative_to(folder)), "-o", "results", "--quiet"]
        done = subprocess.run(
            [Path(sys.executable).with_name("metseg"), *command[1:]],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        left = sorted(out.rglob("*")) if out.exists() else []
        bad += done.returncode != _REFUSED or bool(left)
        sentence = " ".join(done.stderr.split()).replace("|", "\\|")
        print(f"| {kind} | `{' '.join(command)}` | {done.returncode} | {sentence} |", flush=True)
    print(f"\n{bad} passed or left something behind.")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
