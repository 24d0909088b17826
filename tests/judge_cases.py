"""Small label maps whose scores are known by hand, and judges that misbehave in a process of their own."""

import os
import signal
from pathlib import Path

import numpy as np

from metseg.core.grid import Grid
from metseg.core.volume import LabelMap, Volume
from metseg.io.nifti import write_nifti
from metseg.pipeline.judge_case import judge_pair

GRID = Grid.isotropic((20, 18, 16))
# Dice of the whole case: 48 shared voxels of 72 and 91.
CASE_DICE = 96 / 163


def cubes(*boxes, label=1, grid=GRID) -> np.ndarray:
    """Cubes of (start, edge), all with one label."""
    array = np.zeros(grid.shape, dtype=np.uint8)
    for (i, j, k), edge in boxes:
        array[i : i + edge, j : j + edge, k : k + edge] = label
    return array


def truth(label=1) -> np.ndarray:
    """Lesions of 64 and 8 voxels."""
    return cubes(((3, 3, 3), 4), ((12, 12, 10), 2), label=label)


def guess(label=1) -> np.ndarray:
    """Finds the large one, a voxel beside its place (Dice 0.75), misses the small one, and invents one of 27."""
    return cubes(((4, 3, 3), 4), ((12, 3, 10), 3), label=label)


def write(path: Path, array: np.ndarray, grid: Grid = GRID) -> Path:
    """Write labels, or, of floats, an image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = Volume if array.dtype.kind == "f" else LabelMap
    write_nifti(path, kind(array, grid))
    return path


def write_pairs(folder: Path, names=("a", "b"), label=1) -> tuple[Path, Path]:
    """Two folders with the same pair under several names."""
    for name in names:
        write(folder / "preds" / f"{name}.nii.gz", guess(label))
        write(folder / "refs" / f"{name}.nii.gz", truth(label))
    return folder / "preds", folder / "refs"


def judge_or_die(pair, options):
    """Cases whose names begin with "dies" kill their process, as a system without memory would."""
    if pair.case.startswith("dies"):
        os.kill(os.getpid(), signal.SIGKILL)
    return judge_pair(pair, options)


class UnsendableError(Exception):
    """An answer that no process can send."""

    def __reduce__(self):
        raise TypeError("not to be sent")


def judge_and_stay_silent(pair, options):
    """Answers to cases whose names begin with "mute" cannot be sent."""
    return UnsendableError() if pair.case.startswith("mute") else judge_pair(pair, options)
