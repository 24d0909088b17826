"""Where lesions lie, held against atlases that metseg does not ship: how often a told place is right.

``python recipes/measure_places.py DATA``

DATA holds ``templates/mricron_templates`` (Colin 27 with AAL) and ``hosts_labels`` (whole-head label maps with
FreeSurfer's labels). Each head is laid onto the template as it is, turned, cut, with thick slices; the label maps are
given the values of a T1 or of a CT, and noise. Places are random voxels that the reference labels.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Final

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from metseg.core.grid import Grid
from metseg.core.lesion import REGIONS
from metseg.core.study import Study
from metseg.core.volume import LabelMap, Volume
from metseg.io.template import read_template
from metseg.lesions.location import SPREAD_MM, SURE, rightwards_mm, why_not
from metseg.lesions.midline import find_midline
from metseg.lesions.regions import region_numbers, region_shares
from metseg.lesions.registration import Fit, register
from metseg.pipeline.location import brain_sample

_PLACES: Final = 1500
_TURNS: Final = {
    "as it is": (0, 0, 0), "nods by 30°": (30, 0, 0), "nods by -30°": (-30, 0, 0), "leans by 30°": (0, 30, 0),
    "turns by 30°": (0, 0, 30), "by 15° each": (15, 15, 15),
}  # fmt: skip
_CUTS: Final = {"without the upper 40 mm": (0.0, 0.74), "without the lower 50 mm": (0.33, 1.0)}
_TISSUES: Final = {"white": (2, 41, 7, 46, 16, 28, 60, 85), "fluid": (4, 5, 14, 15, 24, 43, 44, 72)}
_MEANS: Final = {"T1": (60.0, 100.0, 20.0), "CT": (38.0, 30.0, 8.0)}
# AAL's numbers of its areas, and FreeSurfer's labels; what has no one part of ours is left out.
_AAL: Final = {
    "frontal lobe": (2000, 2999), "insula": (3000, 3009), "temporal lobe": (4100, 4299), "occipital lobe": (5000, 5399),
    "parietal lobe": (6000, 6399), "basal ganglia": (7000, 7099), "thalamus": (7100, 7109), "cerebellum": (9000, 9999),
}  # fmt: skip
_ALSO_TEMPORAL: Final = ((5400, 5409), (8000, 8999))
_COARSE: Final = {"cerebellum": (7, 8, 46, 47), "brainstem": (16,), "above the tentorium": (2, 3, 41, 42, 10, 49)}
_LEFT: Final = (2, 3, 7, 8, 10)


@dataclass(frozen=True, eq=False)
class Head:
    """An image, its brain, and a reference's part of each voxel, -1 where it has none."""

    image: NDArray[np.float32]
    brain: NDArray[np.bool_]
    parts: NDArray[np.int64]
    affine: NDArray[np.float64]

    def turned(self, degrees: tuple[float, float, float]) -> "Head":
        """As if the head had lain otherwise."""
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_rotvec(degrees, degrees=True).as_matrix()
        return Head(self.image, self.brain, self.parts, turn @ self.affine)

    def cut(self, low: float, high: float, step: int = 1) -> "Head":
        """Slices between two shares of the brain's height only, every so many of them."""
        levels = np.flatnonzero(self.brain.any(axis=(0, 1)))
        first, last = (round(levels[0] + share * (levels[-1] + 1 - levels[0])) for share in (low, high))
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, 2] * first
        affine[:3, 2] *= step
        some = (slice(None), slice(None), slice(first, last, step))
        return Head(self.image[some], self.brain[some], self.parts[some], affine)

    def fit(self) -> tuple[Fit | None, str, float]:
        """The map into the template, why it would not be used, and seconds."""
        grid = Grid(self.image.shape, self.affine)
        brain = LabelMap(self.brain.astype(np.uint8), grid, {1: "brain"})
        start = process_time()
        sample = brain_sample(Study("h", {"t1c": Volume(self.image, grid)}), brain)
        fit = None if sample is None else register(sample, read_template())
        reason = "no fit" if fit is None else why_not(fit, find_midline(self.brain, grid))
        return fit, reason, process_time() - start

    def places(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Random labelled voxels, RAS+ millimetres, and their parts."""
        voxels = np.argwhere(self.parts >= 0)
        chosen = voxels[np.random.default_rng(0).choice(len(voxels), _PLACES, replace=False)]
        return Grid(self.image.shape, self.affine).to_world(chosen), self.parts[tuple(chosen.T)]


def variants(head: Head) -> Iterator[tuple[str, Head]]:
    """The same head, taken otherwise."""
    for name, degrees in _TURNS.items():
        yield name, head.turned(degrees)
    for name, (low, high) in _CUTS.items():
        yield name, head.cut(low, high)
    yield "slices of 6 mm", head.cut(0, 1, step=6)


def colin(folder: Path) -> tuple[Head, Head]:
    """Colin 27: stripped, in the parts of AAL; and all that is not air, which is no brain."""
    image, aal, whole = (nib.load(folder / f"{name}.nii.gz") for name in ("ch2bet", "aal", "ch2"))
    rows = [line.split() for line in (folder / "aal.nii.txt").read_text(encoding="utf-8").splitlines() if line.strip()]
    table = np.full(len(rows) + 1, -1)
    for row in rows:
        number = int(row[2])
        for name, (first, last) in _AAL.items():
            if first <= number <= last:
                table[int(row[0])] = REGIONS.index(name)
        if any(first <= number <= last for first, last in _ALSO_TEMPORAL):
            table[int(row[0])] = REGIONS.index("temporal lobe")
    parts = table[np.asarray(aal.dataobj).astype(int)]
    array, outside = (np.asarray(each.dataobj, dtype=np.float32) for each in (image, whole))
    return Head(array, array > 0, parts, image.affine), Head(outside, outside > 30, parts, image.affine)


def label_head(path: Path, kind: str) -> Head:
    """A label map as an image of tissues with noise; its labels as parts."""
    file = nib.load(path)
    labels = np.asarray(file.dataobj).astype(int)
    brain = (labels > 0) & (labels < 100)
    grey, white, fluid = _MEANS[kind]
    image = np.where(np.isin(labels, _TISSUES["white"]), white, grey)
    image[np.isin(labels, _TISSUES["fluid"])] = fluid
    noise = np.random.default_rng(0).normal(0, 5, labels.shape)
    known = np.isin(labels, [each for group in _COARSE.values() for each in group])
    return Head((np.where(brain, image, 0) + noise).astype(np.float32), brain, np.where(known, labels, -1), file.affine)


def lobes(head: Head, fit: Fit) -> str:
    """How often the parts told are right."""
    points, truth = head.places()
    there = fit.to_template(points)
    voxels = np.mean(region_numbers(there) == truth)
    one, two, right_one, right_two = 0, 0, 0, 0
    for place, part in zip(there, truth):
        shares = region_shares(place, SPREAD_MM)
        names, values = [REGIONS.index(name) for name in shares], list(shares.values())
        if values[0] >= SURE:
            one, right_one = one + 1, right_one + (part == names[0])
        elif sum(values[:2]) >= SURE:
            two, right_two = two + 1, right_two + (part in names[:2])
    both = f"{one / len(truth):.0%} | {right_one / max(one, 1):.1%} | {two / len(truth):.0%}"
    return f"{voxels:.1%} | {both} | {right_two / max(two, 1):.1%}"


def coarse(head: Head, fit: Fit) -> str:
    """How often side, cerebellum, brainstem and the rest are right."""
    points, labels = head.places()
    numbers = region_numbers(fit.to_template(points))
    told = {name: numbers == REGIONS.index(name) for name in ("cerebellum", "brainstem")}
    told["above the tentorium"] = ~told["cerebellum"] & ~told["brainstem"]
    cells = [f"{np.mean(told[name][np.isin(labels, group)]):.1%}" for name, group in _COARSE.items()]
    rightwards = np.array([rightwards_mm(fit, tuple(point)) for point in points])
    sided = (labels != _COARSE["brainstem"][0]) & (np.abs(rightwards) > 5)
    wrong = np.mean((rightwards < 0) != np.isin(labels, _LEFT), where=sided)
    return " | ".join([*cells, f"{wrong:.2%}"])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    if (folder := data / "templates" / "mricron_templates").is_dir():
        stripped, whole = colin(folder)
        print("| Colin 27 | overlap | seconds | voxels | one part | right | two | right |\n|" + "---|" * 8)
        for name, head in variants(stripped):
            fit, reason, seconds = head.fit()
            told = reason or (lobes(head, fit) if fit else "")
            print(f"| {name} | {fit.overlap if fit else 0:.3f} | {seconds:.1f} | {told} |", flush=True)
        print("head as brain:", whole.fit()[1])
    names = ("overlap", *_COARSE, "wrong side")
    print(f"| label maps | {' | '.join(names)} |\n|" + "---|" * (len(names) + 1))
    for number, path in enumerate(sorted((data / "hosts_labels").glob("training_seg_*.nii.gz"))):
        name, degrees = list(_TURNS.items())[number % len(_TURNS)]
        kind = list(_MEANS)[number // 2 % 2]
        head = label_head(path, kind).turned(degrees)
        fit, reason, _ = head.fit()
        told = reason or (coarse(head, fit) if fit else "")
        print(f"| {number + 1}, {kind}, {name} | {fit.overlap if fit else 0:.3f} | {told} |", flush=True)


if __name__ == "__main__":
    main()
