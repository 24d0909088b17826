"""How much faster a folder of studies is done than the same studies one at a time.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python bench/folder_speed.py STUDIES [-n 20] [--rounds 3] [--model BUNDLE]

``metseg segment`` reads the next study and writes the one before while the network has a study. Here the same studies
are done both ways, taking turns; the ratio of the times of each pair is taken, and the median of these is printed. That
both ways give the same files but for times is checked. Leave the machine alone meanwhile: what else runs takes the very
cores that overlapping fills.
"""

import argparse
import hashlib
import json
import re
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from metseg.config.options import SegmentOptions
from metseg.io.discover import CaseInput, find_sources
from metseg.pipeline.batch import run_batch
from metseg.pipeline.models import Models


def seconds(batches: Sequence[Sequence[CaseInput]], out: Path, models: Models, options: SegmentOptions) -> float:
    """Wall-clock seconds for all batches, one after the other."""
    start = time.perf_counter()
    for batch in batches:
        for outcome in run_batch(batch, out, models.of, options, force=True):
            if outcome.state != "done":
                raise SystemExit(f"{outcome.case}: {outcome.message}")
    return time.perf_counter() - start


def contents(out: Path) -> dict[str, str]:
    """A hash of every file, times left out."""
    found = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.name == "run.json":
            manifest = json.loads(content)
            del manifest["timings_s"]
            manifest["outputs"] = [each["name"] for each in manifest["outputs"]]
            content = json.dumps(manifest).encode()
        elif path.name == "report.html":
            content = re.sub(rb"\d+\.\d s\b", b"", content)
        found[str(path.relative_to(out))] = hashlib.sha256(content).hexdigest()
    return found


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, help="a folder of them")
    parser.add_argument("-n", type=int, default=20, help="how many of them")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of runs")
    parser.add_argument("--model", help="bundle, instead of the one that ships for the modality of each study")
    given = parser.parse_args()
    options = SegmentOptions(model=given.model)
    models, cases = Models(options), find_sources([given.studies])[: given.n]
    ways = {"together": [cases], "one at a time": [[case] for case in cases]}
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        seconds([cases[:1]], Path(folder) / "warm up", models, options)
        for number in range(given.rounds):
            order = sorted(ways, reverse=bool(number % 2))  # neither way always comes first
            times = {way: seconds(ways[way], Path(folder) / way, models, options) for way in order}
            ratios.append(times["one at a time"] / times["together"])
            told = ", ".join(f"{way} {times[way]:.1f} s" for way in ways)
            print(f"{len(cases)} studies: {told}; ratio {ratios[-1]:.2f}", flush=True)
        together, apart = (contents(Path(folder) / way) for way in ways)
    if together != apart:
        raise SystemExit(f"Files differ: {sorted(set(together.items()) ^ set(apart.items()))}")
    print(f"median ratio {statistics.median(ratios):.2f}; {len(together)} files equal both ways")
    print(f"most memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


if __name__ == "__main__":
    main()
