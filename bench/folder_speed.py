"""How much faster a folder of studies is done than the same studies one at a time.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python bench/folder_speed.py STUDIES [-n 20] [--rounds 3] [--model BUNDLE]

``metseg segment`` reads the next study and writes the one before while the network has a study. Here the same studies
are done in three ways, taking turns: together; one at a time, by one process that has its model ready; and by a command
for each, as from a loop of the shell. The ratios to the first way are taken in each round, and their medians printed.
That all ways give the same files but for times is checked. Leave the machine alone meanwhile: what else runs takes the
very cores that overlapping fills.
"""

import argparse
import hashlib
import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from metseg.config.options import SegmentOptions
from metseg.io.discover import CaseInput, find_sources
from metseg.pipeline.batch import run_batch
from metseg.pipeline.models import Models

METSEG = "from metseg.cli.main import app; app()"


def seconds(batches: Sequence[Sequence[CaseInput]], out: Path, models: Models, options: SegmentOptions) -> float:
    """Wall-clock seconds for all batches, one after the other."""
    start = time.perf_counter()
    for batch in batches:
        for outcome in run_batch(batch, out, models.of, options, force=True):
            if outcome.state != "done":
                raise SystemExit(f"{outcome.case}: {outcome.message}")
    return time.perf_counter() - start


def commands(cases: Sequence[CaseInput], out: Path, model: str | None) -> float:
    """Wall-clock seconds for a command for each study, one after the other."""
    start = time.perf_counter()
    for case in cases:
        words = ["segment", *map(str, case.files), "-o", str(out), "--force", "-q"]
        subprocess.run([sys.executable, "-c", METSEG, *words, *(["--model", model] if model else [])], check=True)  # noqa: S603  # our own
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
    parser.add_argument("--rounds", type=int, default=3, help="of all ways")
    parser.add_argument("--model", help="bundle, instead of the one that ships for the modality of each study")
    given = parser.parse_args()
    options = SegmentOptions(model=given.model)
    models, cases = Models(options), find_sources([given.studies])[: given.n]
    ways: dict[str, Callable[[Path], float]] = {
        "together": lambda out: seconds([cases], out, models, options),
        "one at a time": lambda out: seconds([[case] for case in cases], out, models, options),
        "a command each": lambda out: commands(cases, out, given.model),
    }
    ratios: dict[str, list[float]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        seconds([cases[:1]], Path(folder) / "warm up", models, options)
        for number in range(given.rounds):
            order = sorted(ways, reverse=bool(number % 2))  # no way always comes first
            times = {way: ways[way](Path(folder) / way) for way in order}
            for way in ways:
                ratios[way].append(times[way] / times["together"])
            told = ", ".join(f"{way} {times[way]:.1f} s ({ratios[way][-1]:.2f})" for way in ways)
            print(f"{len(cases)} studies: {told}", flush=True)
        together, *others = (contents(Path(folder) / way) for way in ways)
    for other in others:
        if other != together:
            raise SystemExit(f"Files differ: {sorted(set(together.items()) ^ set(other.items()))}")
    print("median ratios: " + ", ".join(f"{way} {statistics.median(ratios[way]):.2f}" for way in list(ways)[1:]))
    print(f"{len(together)} files equal in all ways")
    print(f"most memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


if __name__ == "__main__":
    main()
