"""Tiny data sets in nnU-Net raw layout, whose two kinds of balls a network can learn."""

import json

import numpy as np

from metseg.core.grid import Grid
from metseg.core.volume import LabelMap, Volume
from metseg.io.nifti import write_nifti

SHAPE = (36, 32, 30)
LABELS = {"background": 0, "tumour": 1, "oedema": 2}


def make_study(number, shape=SHAPE):
    """An image, oblique, of anisotropic voxels, and its labels: each value is a brighter ball."""
    rng = np.random.default_rng(number)
    turn = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1.0, 1.1, 1.3])
    affine[:3, 3] = 7, -3, 11
    image = rng.normal(100, 10, shape).astype(np.float32)
    labels = np.zeros(shape, np.uint8)
    at = np.stack(np.indices(shape), -1)
    for value, radius in ((1, 7), (2, 3.5)):
        centre = rng.uniform(np.array(shape) / 4, np.array(shape) * 3 / 4)
        ball = np.linalg.norm(at - centre, axis=-1) < radius
        image[ball] += 80 * value
        labels[ball] = value
    grid = Grid(shape, affine)
    return Volume(image, grid), LabelMap(labels, grid)


def write_study(folder, case, image, labels, channels=1):
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for channel in range(channels):
        write_nifti(folder / "imagesTr" / f"{case}_{channel:04d}.nii.gz", image)
    write_nifti(folder / "labelsTr" / f"{case}.nii.gz", labels)


def write_json(path, content):
    path.write_text(json.dumps(content))


def make_raw(folder, count=5, shape=SHAPE, channels=("t1c",), folds=2):
    """A data set whose studies are ``case_0`` …; fold n holds out every study whose number leaves n."""
    for number in range(count):
        write_study(folder, f"case_{number}", *make_study(number, shape), channels=len(channels))
    write_json(folder / "dataset.json", {
        "channel_names": {str(n): name for n, name in enumerate(channels)}, "labels": LABELS, "numTraining": count,
        "file_ending": ".nii.gz",
    })  # fmt: skip
    names = [f"case_{n}" for n in range(count)]
    held = [names[fold::folds] for fold in range(folds)]
    write_json(folder / "splits_final.json", [
        {"train": [name for name in names if name not in own], "val": own} for own in held
    ])  # fmt: skip
    return folder
