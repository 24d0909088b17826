"""Time the evaluator on a case of 30 lesions, and against the official BraTS 2023 script in the same run.

    python bench/evaluate_speed.py
    python bench/evaluate_speed.py --peer BraTS-2023-Metrics --peer-python peer/bin/python

The script is not ours, so it has to be fetched: BraTS-2023-Metrics at 43c9052. It needs an environment of its own,
with numpy < 2, pandas < 2, scipy, nibabel and connected-components-3d. Ours and theirs take turns; that the numbers
are the same is checked, and the ratio of the median times is printed. Use one core: OMP_NUM_THREADS=1.
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from metseg.evaluate import brats2023, brats2024, brats2025, panoptic, surface
from metseg.evaluate.pair import Case

SHAPE = (240, 240, 155)
SPACING_MM = (1.0, 1.0, 1.0)
PEER = """
import contextlib, io, json, sys, time
sys.path.insert(0, sys.argv[1])
import metrics
inner = metrics.get_LesionWiseScores
def lists(*args, **kwargs):
    # pandas since 1.4 cannot replace infinities beside arrays.
    found = list(inner(*args, **kwargs))
    found[4] = [(row[0].tolist(), *row[1:]) for row in found[4]]
    return found
metrics.get_LesionWiseScores = lists
for line in sys.stdin:
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        table = metrics.get_LesionWiseResults(sys.argv[2], sys.argv[3], "BraTS-MET")
    seconds = time.perf_counter() - start
    rows = {row.pop("Labels"): row for row in table.to_dict("records")}
    print(json.dumps({"seconds": seconds, "regions": rows}, default=float), flush=True)
"""


def ball(labels: np.ndarray, centre: np.ndarray, radius: float, value: int) -> None:
    """Fill a ball with a label."""
    low = np.maximum(np.floor(centre - radius).astype(int), 0)
    box = tuple(slice(a, b) for a, b in zip(low, np.ceil(centre + radius).astype(int) + 1))
    part = labels[box]
    distance = np.linalg.norm(np.moveaxis(np.indices(part.shape), 0, -1) + low - centre, axis=-1)
    part[distance <= radius] = value


def lesion(labels: np.ndarray, centre: np.ndarray, radius: float) -> None:
    """Oedema around a ring of enhancement around a core."""
    for size, value in ((1.6 * radius, 2), (radius, 3), (0.5 * radius, 1)):
        if value == 3 or radius > 3:
            ball(labels, centre, size, value)


def make_case(lesions: int, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and reference: a fifth of the lesions missed, the others shifted, and some false ones."""
    rng = np.random.default_rng(seed)
    prediction, reference = np.zeros(SHAPE, dtype=np.uint8), np.zeros(SHAPE, dtype=np.uint8)
    centres = rng.uniform((40, 30, 25), (200, 210, 130), (lesions + lesions // 5, 3))
    radii = rng.uniform(1.5, 8.0, len(centres))
    for n, (centre, radius) in enumerate(zip(centres, radii)):
        if n < lesions:
            lesion(reference, centre, radius)
        if n >= lesions or n % 5:
            lesion(prediction, centre + rng.normal(0, 0.7, 3), radius * rng.uniform(0.85, 1.1))
    return prediction, reference


def all_profiles(prediction: np.ndarray, reference: np.ndarray) -> tuple[dict[str, float], dict[str, Any]]:
    """Seconds by part, and the regions of 2023."""
    seconds: dict[str, float] = {}

    def timed(name: str, part: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = part()
        seconds[name] = time.perf_counter() - start
        return result

    case = timed("prepare", lambda: Case.of(prediction, reference, SPACING_MM))
    official = timed("brats2023", lambda: brats2023.score(case))
    timed("brats2024", lambda: brats2024.score(case))
    timed("brats2025", lambda: brats2025.score(case))
    timed("surface", lambda: [surface.block_of(case.pairs[region]) for region in ("WT", "TC", "ET", "RC")])
    timed("panoptic", lambda: panoptic.blocks_of(case.pairs["TC"]))
    seconds["all profiles"] = sum(seconds.values())
    start = time.perf_counter()
    brats2023.score_case(prediction, reference, SPACING_MM)
    seconds["brats2023 alone"] = time.perf_counter() - start
    return seconds, dict(official.regions)


@contextmanager
def peer(folder: Path | None, python: str, files: tuple[Path, Path]) -> Iterator[Callable[[], Any] | None]:
    """Runs the official script on the files, each time it is called."""
    if folder is None:
        yield None
        return
    command = [python, "-W", "ignore", "-c", PEER, str(folder.resolve()), *map(str, files)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # noqa: S603 - what the caller named

        def run() -> Any:
            if process.stdin is None or process.stdout is None:
                raise RuntimeError("no pipe")
            process.stdin.write("go\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield run
        if process.stdin is not None:
            process.stdin.close()


def differing(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Fields of 2023 that are not the same."""
    pairs = [(f"{r} {n}", ours[r][n], value) for r, row in theirs.items() for n, value in row.items()]
    return [f"{name}: {a} and {b}" for name, a, b in pairs if not math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="folder of the official 2023 script")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that can run it")
    parser.add_argument("--lesions", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    sides = make_case(options.lesions)
    ours: list[dict[str, float]] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "prediction.nii.gz"), Path(folder, "reference.nii.gz")
        for path, array in zip(files, sides):
            nib.save(nib.Nifti1Image(array, np.diag([-1.0, -1.0, 1.0, 1.0])), path)
        with peer(options.peer, options.peer_python, files) as run:
            for _ in range(options.repeats):
                seconds, regions = all_profiles(*sides)
                ours.append(seconds)
                if run:
                    answer = run()
                    theirs.append(answer["seconds"])
                    wrong = differing(regions, answer["regions"])
                    print("same numbers" if not wrong else "DIFFERENT: " + "; ".join(wrong))
    for name in ours[0]:
        print(f"{name:18} {statistics.median(run[name] for run in ours):8.3f} s")
    print(f"{'peak memory':18} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8.0f} MiB, the process's")
    if theirs:
        median = statistics.median(theirs)
        print(f"{'official 2023':18} {median:8.3f} s")
        for name in ("brats2023 alone", "all profiles"):
            print(f"{'ratio to ' + name:26} {median / statistics.median(run[name] for run in ours):8.1f}")


if __name__ == "__main__":
    main()
