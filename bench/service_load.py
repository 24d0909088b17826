"""The service under load and under fire: many uploads at once, kill -9 meanwhile, and what became of all.

    python bench/service_load.py [-n 50] [--at-once 50] [--kills 12] [--every 2] [--database URL] [--json FILE]

Starts ``metseg serve`` with the threshold engine in a temporary folder, sends N different small heads from as many
clients, and kills worker, API, runner and supervisor in turn, every few seconds. Clients send again, with their
idempotency key, what got no answer. Each accepted study must end in exactly one terminal state with the masks that
``metseg segment`` makes. Prints latencies (of requests that were cut off by a kill, too), the most memory of each
process, and a table of kills. ``--kills 0`` gives latencies without fire. Only every twelfth kill is a runner's: a job
whose runner dies twice is set aside, as it should be, and under such fire one job is begun many times.
"""

import argparse
import hashlib
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from end_to_end.cases import LESIONS, QUICK, make_grid
from metseg.engines.registry import load_engine
from metseg.io.discover import find_sources
from metseg.io.nifti import write_nifti
from metseg.pipeline.case import run_case
from metseg.service.client import Client
from metseg.service.runner_process import resident_bytes
from metseg.testing.phantoms import make_phantom
from service_under_fire import ROLES, Fire, Served, different, ends_of, send_all, watch_until_ended

TURN = ("worker", "API", "runner", "supervisor", *("worker", "API", "worker", "supervisor") * 2)


def main() -> None:
    """Run it and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=50)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--every", type=float, default=2.0)
    parser.add_argument("--database", default="")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given, Path(folder))
    for name, value in found.items():
        print(f"{name}: {value}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")
    sys.exit(found["verdict"] != "all right")


def measure(given: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Everything, as plain data."""
    head = make_head(folder / "head.nii.gz")
    studies = [different(head, number) for number in range(given.n)]
    served = Served(
        {
            "METSEG_DATA_DIR": str(folder / "data"), "METSEG_ENGINE": "threshold", "METSEG_FREE_BYTES": "0",
            "METSEG_DATABASE_URL": given.database, "METSEG_RATE_PER_MINUTE": "100000",
        }
    )  # fmt: skip
    served.start()
    served.wait_ready()
    fire, memory, over = Fire(), Counter(), threading.Event()
    sampler = threading.Thread(target=sample, args=(served, memory, over))
    sampler.start()
    started = time.perf_counter()
    senders = send_all(served, studies, given.at_once, fire)
    kills = shoot(served, given.kills, given.every, started)
    for sender in senders:
        sender.join()
    accepted_s = time.perf_counter() - started
    jobs = watch_until_ended(served, given.n, fire, 1800)
    ended_s = time.perf_counter() - started
    over.set()
    sampler.join()
    wrong = check(served, jobs, fire, studies, folder)
    served.stop()
    return {
        "studies": given.n,
        "states": dict(Counter(job["state"] for job in jobs)),
        "seconds until all were accepted": round(accepted_s, 1),
        "seconds until all had ended": round(ended_s, 1),
        "latency": {name: percentiles(values) for name, values in fire.seconds.items()},
        "requests that broke": dict(fire.broken),
        "most memory, MiB": {role: round(size / 2**20) for role, size in memory.items()},
        "kills": kills,
        "verdict": "; ".join(wrong) or "all right",
    }


def make_head(path: Path) -> bytes:
    """The phantom of the tests."""
    write_nifti(path, make_phantom(make_grid(), LESIONS, noise=16).study.images["t1c"])
    return path.read_bytes()


def shoot(served: Served, count: int, every: float, started: float) -> list[str]:
    """Kill one process after the other; returns when and which."""
    done = []
    for number in range(count):
        time.sleep(every)
        role = TURN[number % len(TURN)]
        hit = served.kill(role, seconds=30)
        done.append(f"{role} at {time.perf_counter() - started:.1f} s" if hit else f"no {role} to kill")
    return done


def sample(served: Served, most: Counter, over: threading.Event) -> None:
    """The most memory that any process of each role had."""
    while not over.wait(0.5):
        for role in ROLES:
            most[role] = max([most[role], *(resident_bytes(pid) for pid in served.pids(role))])


def check(served: Served, jobs: list[dict], fire: Fire, studies: list[bytes], folder: Path) -> list[str]:
    """What is wrong; nothing, one hopes."""
    wrong = [f"refused: {code}" for code in fire.refused]
    if sorted(job["id"] for job in jobs) != sorted(fire.jobs.values()):
        wrong.append(f"{len(jobs)} jobs for {len(fire.jobs)} accepted studies")
    engine = load_engine("threshold")
    with Client(served.url) as client:
        for number, job_id in fire.jobs.items():
            if (ends := ends_of(client, job_id)) != ["succeeded"]:
                problem = client.job(job_id)["problem"] or {}
                wrong.append(f"job {number} ended {ends}: {problem.get('code')}, {problem.get('detail')}")
                continue
            place = folder / "expected" / number
            place.mkdir(parents=True)
            (place / "study.nii.gz").write_bytes(studies[int(number)])
            (case,) = find_sources([place / "study.nii.gz"])
            run_case(case, place / "out", engine, QUICK)
            for name in ("segmentation.nii.gz", "lesions.nii.gz", "lesions.json"):
                right = hashlib.sha256((place / "out" / "study" / name).read_bytes()).digest()
                if hashlib.sha256(client.read(job_id, name)).digest() != right:
                    wrong.append(f"job {number} has another {name}")
    return wrong


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p99 and the longest, in milliseconds."""
    return {
        "count": len(values),
        **{f"p{q}": round(float(np.percentile(values, q)) * 1000, 1) for q in (50, 99, 100)},
    }


if __name__ == "__main__":
    main()
