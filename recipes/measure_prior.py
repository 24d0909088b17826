"""What a prior does: sensitivity by size and false components a study, without one, with a good one, with a wrong one.

``metseg synthesise VAL -n 60 --hosts DATA --unseen --seed 5000 --workers 0`` makes a data set;
``python recipes/measure_prior.py src/metseg/models/mets-t1c VAL`` prints a table at the default operating point.

The good prior stands for an earlier visit: the study's own truth, a voxel taken off each lesion all around (what would
vanish keeps one voxel), moved by 1 mm, as registration is never exact. The wrong one is the truth of the next study
that has any, at the same coordinates: it points to places where mostly nothing is.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, find_objects

from metseg.config.options import SegmentOptions
from metseg.core.grid import Grid
from metseg.core.study import Study
from metseg.core.volume import LabelMap
from metseg.engines.base import Engine
from metseg.engines.registry import load_engine
from metseg.evaluate.bootstrap import BootstrapOptions
from metseg.evaluate.field import FieldCase, FieldOptions, score_case, summarise
from metseg.io.nifti import read_nifti
from metseg.pipeline.segment import segment
from metseg.preprocess.nearest import carried_to_grid

SHIFT_MM = 1.0
CONDITIONS = ("no prior", "earlier visit", "wrong places")


@dataclass(frozen=True, eq=False)
class Truth:
    """The metastases of a study, a number each."""

    name: str
    instances: NDArray[np.uint32]
    grid: Grid


def truths(data: Path, most: int | None) -> list[Truth]:
    """Of all studies of a data set of ``metseg synthesise``, or of the first few."""
    found = []
    for path in sorted((data / "instancesTr").glob("*.nii.gz"))[:most]:
        stored = Nifti1Image.from_filename(path)  # may be empty, which the strict reader of images refuses
        array = np.asarray(stored.dataobj).astype(np.uint32)
        i, j, k = array.shape
        found.append(Truth(path.name.removesuffix(".nii.gz"), array, Grid((i, j, k), stored.affine)))
    return found


def earlier(truth: Truth) -> NDArray[np.uint32]:
    """The truth as an earlier visit might have it: smaller, and not quite in place."""
    smaller = np.zeros_like(truth.instances)
    for number, box in enumerate(find_objects(truth.instances), 1):
        if box is None:
            continue
        lesion = truth.instances[box] == number
        core = binary_erosion(lesion)
        if not core.any():
            voxels = np.argwhere(lesion)
            core[tuple(voxels[np.linalg.norm(voxels - voxels.mean(axis=0), axis=1).argmin()])] = True
        smaller[box][core] = number
    moved = truth.grid.affine.copy()
    moved[0, 3] += SHIFT_MM
    return carried_to_grid(smaller, Grid(truth.grid.shape, moved), truth.grid)


def priors(every: list[Truth], number: int) -> Iterator[NDArray[np.uint32] | None]:
    """In the order of ``CONDITIONS``; None where there is nothing to know."""
    own = every[number]
    yield None
    known = earlier(own)
    yield known if known.any() else None
    for other in (*every[number + 1 :], *every[:number]):
        elsewhere = carried_to_grid(other.instances, other.grid, own.grid)
        if elsewhere.any():
            yield elsewhere
            return
    yield None


def judged(data: Path, every: list[Truth], engine: Engine, options: FieldOptions) -> dict[str, list[FieldCase]]:
    """The evaluator's verdict on each study under each condition."""
    (sequence,) = engine.card.sequences
    verdicts: dict[str, list[FieldCase]] = {name: [] for name in CONDITIONS}
    for number, truth in enumerate(every):
        image = read_nifti(data / "imagesTr" / f"{truth.name}_0000.nii.gz")[0]
        counts = []
        for name, known in zip(CONDITIONS, priors(every, number), strict=True):
            prior = None if known is None else LabelMap(known, image.grid)
            study = Study(truth.name, {sequence: image}, prior=prior)
            result = segment(study, engine, SegmentOptions())
            case = score_case(np.asarray(result.instances.array), truth.instances, image.grid, options)
            verdicts[name].append(case)
            false = sum(one.false for one in case.components)
            counts.append(f"{sum(one.found for one in case.lesions)} of {len(case.lesions)} found, {false} false")
        print(f"{truth.name}: {'; '.join(counts)}", flush=True)
    return verdicts


def table(verdicts: dict[str, list[FieldCase]], options: FieldOptions) -> str:
    """As Markdown: lesions found by diameter, of all, and false components a study."""
    lines = []
    for name, cases in verdicts.items():
        summary = summarise([(str(n), case) for n, case in enumerate(cases)], options)
        if not lines:
            sizes = [f"{one.label} mm" for one in summary.by_diameter]
            lines = [f"| {' | '.join(['prior', *sizes, 'all', 'false components a study'])} |"]
            lines.append(f"|{'---|' * (len(sizes) + 3)}")
        bins = [(one.found, one.lesions) for one in summary.by_diameter]
        bins.append((sum(found for found, _ in bins), sum(lesions for _, lesions in bins)))
        shares = [f"{found} of {lesions}" + (f" ({found / lesions:.2f})" if lesions else "") for found, lesions in bins]
        false = sum(one.false for case in cases for one in case.components) / len(cases)
        lines.append(f"| {' | '.join([name, *shares, f'{false:.2f}'])} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="name or folder of a bundle")
    parser.add_argument("dataset", type=Path, help="folder that metseg synthesise made")
    parser.add_argument("--studies", type=int, help="only so many, the first ones")
    given = parser.parse_args()
    options = FieldOptions(bootstrap=BootstrapOptions(resamples=100))
    engine = load_engine("openvino", given.model)
    verdicts = judged(given.dataset, truths(given.dataset, given.studies), engine, options)
    print(f"\n{table(verdicts, options)}")


if __name__ == "__main__":
    main()
