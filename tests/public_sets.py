"""Miniature replicas of public data sets: oblique, anisotropic images of 16 to 24 voxels, each with known lesions."""

import csv
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image
from typer.testing import CliRunner

from conftest import oblique_affine
from metseg.cli.main import app

SHAPE = (20, 18, 16)
AFFINE = oblique_affine((0.9, 1.2, 2.1))
# Boxes in voxels, by label; the replica's enhancing tumour (3) is bright on t1c, its oedema (2) dark.
BOXES = {1: (6, 8), 3: (8, 11), 2: (11, 14), 4: (14, 16)}
BRIGHT = {1: 300, 3: 900, 2: 200, 4: 100}


@dataclass
class Replica:
    """A folder that files are planted in, with another seed for each image so that none is another's twin."""

    root: Path
    seed: int = 0
    shape: tuple[int, int, int] = SHAPE
    affine: np.ndarray = field(default_factory=AFFINE.copy)

    def image(self, path, *, seed=None, affine=None, shape=None, order=BRIGHT, low=100):
        """Plant an image; returns its voxels."""
        self.seed += 1
        array = np.random.default_rng(self.seed if seed is None else seed).integers(low, low + 60, shape or self.shape)
        for label, (start, stop) in BOXES.items():
            array[start:stop, 5:9, 4:8] += order[label]
        return self.write(path, array.astype(np.int16), affine)

    def mask(self, path, values=(3,), *, affine=None, strays=None, dtype=np.uint8, shape=None):
        """Plant a mask with the boxes of some labels, under the values given for them; returns its voxels."""
        values = dict(values) if isinstance(values, dict) else {label: label for label in values}
        array = np.zeros(shape or self.shape, dtype=dtype)
        for label, value in values.items():
            start, stop = BOXES[label]
            array[start:stop, 5:9, 4:8] = value
        for voxel, value in (strays or {}).items():
            array[voxel] = value
        return self.write(path, array, affine)

    def write(self, path, array, affine=None):
        """Write NIfTI at a path below the root."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(array, self.affine if affine is None else affine), target)
        return array

    def slices(self, folder, array):
        """Write (column, row, slice) as PNGs without leading zeros, so that names do not sort as numbers do."""
        (self.root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(array.shape[2]):
            Image.fromarray(array[:, :, number].T).save(self.root / folder / f"{number + 1}.png")
        return array

    def text(self, path, content):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(content, encoding="utf-8")

    def zip(self, name, folder):
        """Put a folder into a zip beside it, and take the folder away."""
        with zipfile.ZipFile(self.root / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted((self.root / folder).rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(self.root).as_posix())
                    path.unlink()


def brats_case(replica, name, *, top="", labels=(1, 2, 3), sequences=("t1c", "t1n", "t2f", "t2w"), **mask):
    """One case of the BraTS-METS family; returns its mask."""
    folder = Path(top) / name
    for sequence in sequences:
        replica.image(folder / f"{name}-{sequence}.nii.gz")
    return replica.mask(folder / f"{name}-seg.nii.gz", labels, **mask)


def voxels_of(path):
    return np.asarray(nibabel.load(path).dataobj)


def description(dst):
    return json.loads((dst / "dataset.json").read_text(encoding="utf-8"))


def call(*arguments, code=0):
    """``metseg datasets …`` with an exit code to be; what it prints as JSON."""
    result = CliRunner().invoke(app, ["datasets", *map(str, arguments), "--json"])
    assert result.exit_code == code, result.output + str(result.exception)
    return json.loads(result.stdout)


def run_import(layout, replica, dst, *flags, code=0):
    return call("import", layout, replica.root, dst, *flags, code=code)


def manifest(dst):
    """The manifest's rows, by case and role."""
    with (dst / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return {(row["case"], row["role"]): row for row in csv.DictReader(file)}


def messages(done, kind):
    return [f["message"] for f in done["findings"] if f["kind"] == kind]


def labels_in(dst, case):
    return voxels_of(dst / "labelsTr" / f"{case}.nii.gz")
