"""Measure a bundle's brain finder on heads that it was not trained on.

``python recipes/measure_brain.py mets-t1c DATA``

DATA holds ``hosts_labels/`` (the label maps kept out of training, painted as MR in made-up contrasts, or as CT, skull
on) and, for MR, ``templates/mricron_templates/`` (Colin27: a real head, ``ch2``, and what BET left of it, ``ch2bet``),
for CT, ``templates/rorden_ct/`` (a mean head, and its brain).
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from real_ct import mean_brain, mean_head, real_heads

from metseg.core.grid import Grid
from metseg.core.study import Study
from metseg.core.volume import Volume
from metseg.engines.catalogue import find_bundle
from metseg.engines.openvino_engine import OpenVinoEngine
from metseg.evaluate.overlap import dice
from metseg.io.nifti import read_nifti
from metseg.synthesis.hosts import LabelHost, read_hosts
from metseg.synthesis.whole_head import SPACING_MM, WholeHead, make_ct_head, make_whole_head


def made_head(host: LabelHost, number: int, sequence: str) -> WholeHead:
    """A head with skull, the same for the same number."""
    rng = np.random.default_rng([986, number])
    return make_ct_head(rng, host, 128) if sequence == "ct" else make_whole_head(rng, host, 112, stripped=0.0)


def real_scans(data: Path, sequence: str) -> Iterator[tuple[str, Volume]]:
    """Heads and stripped brains, by name."""
    if sequence == "ct":
        yield from real_heads(data)
        return
    folder = data / "templates/mricron_templates"
    for path in (
        data / "templates/brainchop_t1/t1_crop.nii.gz", folder / "ch2.nii.gz", folder / "ch2bet.nii.gz",
        *sorted(data.glob("mets/*/*-t1c.nii.gz")), *sorted(data.glob("hosts_t1c/*/*/T1POST_MNI.nii.gz")),
        *sorted(data.glob("tumours/*/*_t1ce.nii.gz")),
    ):  # fmt: skip
        yield f"{path.parent.name} {path.name}", read_nifti(path)[0]


def known_brain(data: Path, sequence: str) -> tuple[str, Volume, NDArray[np.bool_]]:
    """A real head whose brain others have masked."""
    if sequence == "ct":
        return "Mean head CT, against its makers' mask", mean_head(data), mean_brain(data)
    head, brain = (read_nifti(data / f"templates/mricron_templates/{name}.nii.gz")[0] for name in ("ch2", "ch2bet"))
    return "Colin27, against BET's mask", head, np.asarray(brain.array) > 0


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="name or folder of a bundle")
    parser.add_argument("data", type=Path)
    parser.add_argument("--heads", type=int, default=30)
    given = parser.parse_args()
    engine = OpenVinoEngine(find_bundle(given.model))
    stripper, sequence = engine.stripper, engine.card.sequences[0]
    if stripper is None:
        parser.error(f"{given.model} has no brain finder")
    hosts = [host for host in read_hosts(given.data, held_out=True) if isinstance(host, LabelHost)]
    scores = []
    for number in range(given.heads):
        head = made_head(hosts[number % len(hosts)], number, sequence)
        i, j, k = head.brain.shape
        volume = Volume(head.image, Grid.isotropic((i, j, k), SPACING_MM))
        scores.append(dice(stripper.brain(Study(f"head {number}", {sequence: volume})), head.brain))
        print(f"head {number:2d} Dice {scores[-1]:.3f}", flush=True)
    print(f"{len(scores)} heads: median Dice {median(scores):.3f}, lowest {min(scores):.3f}")
    for name, image in real_scans(given.data, sequence):
        study = Study("real", {sequence: image})
        share = stripper.share_around(study, stripper.brain(study))
        print(f"{name}: {share:.0%} foreground in the 10 mm around the brain", flush=True)
    name, image, brain = known_brain(given.data, sequence)
    print(f"{name}: Dice {dice(stripper.brain(Study('real', {sequence: image})), brain):.3f}")


if __name__ == "__main__":
    main()
