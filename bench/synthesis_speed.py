"""How fast studies and training scenes are made, on one core.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python bench/synthesis_speed.py [--hosts DATA] [--studies 4] [--scenes 20]

Prints studies a minute and core for each modality (reading hosts and writing files left out), and scenes of 96³ voxels
a second. Times are processor times of one thread, so that other work on the machine counts little.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from metseg.synthesis.head import make_head
from metseg.synthesis.hosts import FIRST_UNSEEN_HEAD, Host, find_hosts
from metseg.synthesis.scene import SceneOptions, make_scene
from metseg.synthesis.study import SEQUENCES, make_study


def seconds(work: Callable[[], object]) -> float:
    """Processor time of ``work``."""
    before = time.process_time()
    work()
    return time.process_time() - before


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=Path, help="folder with hosts_labels/; without it heads are made up")
    parser.add_argument("--studies", type=int, default=4)
    parser.add_argument("--scenes", type=int, default=20)
    given = parser.parse_args()
    hosts: list[Host]
    if given.hosts:
        hosts = [file.read() for file in find_hosts(given.hosts, held_out=None) if file.is_map][: given.studies]
    else:
        hosts = [make_head(FIRST_UNSEEN_HEAD + n) for n in range(2)]
    for modality in SEQUENCES:
        times = [
            seconds(lambda n=n, m=modality: make_study(9, n, hosts[n % len(hosts)], m)) for n in range(given.studies)
        ]
        print(
            f"{modality}: {60 / np.mean(times):.1f} studies a minute and core "
            f"({median(times):.1f} s median, {min(times):.1f}-{max(times):.1f} s)"
        )
    for sequence in ("t1c", "ct"):
        options = SceneOptions(sequences=(sequence,), stripped=1.0)
        times = [
            seconds(lambda n=n, o=options: make_scene(np.random.default_rng(n), hosts[n % len(hosts)], (96, 96, 96), o))
            for n in range(given.scenes)
        ]
        print(f"scenes of 96^3, {sequence}: {1 / np.mean(times):.2f} a second and core ({median(times):.2f} s median)")


if __name__ == "__main__":
    main()
