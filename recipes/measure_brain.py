"""Measure a bundle's brain finder on heads that it was not trained on.

``python recipes/measure_brain.py mets-t1c DATA``

DATA holds ``hosts_labels/`` (the label maps kept out of training, painted in made-up contrasts, skull on) and
``templates/mricron_templates/`` (Colin27: a real head, ``ch2``, and what BET left of it, ``ch2bet``).
"""

import argparse
from pathlib import Path
from statistics import median

import numpy as np

from metseg.core.grid import Grid
from metseg.core.study import Study
from metseg.core.volume import Volume
from metseg.engines.catalogue import find_bundle
from metseg.engines.openvino_engine import OpenVinoEngine
from metseg.evaluate.overlap import dice
from metseg.io.nifti import read_nifti
from metseg.synthesis.hosts import LabelHost, read_hosts
from metseg.synthesis.whole_head import SPACING_MM, make_whole_head


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="name or folder of a bundle")
    parser.add_argument("data", type=Path)
    parser.add_argument("--heads", type=int, default=30)
    given = parser.parse_args()
    stripper = OpenVinoEngine(find_bundle(given.model)).stripper
    if stripper is None:
        parser.error(f"{given.model} has no brain finder")
    hosts = [host for host in read_hosts(given.data, held_out=True) if isinstance(host, LabelHost)]
    scores = []
    for number in range(given.heads):
        head = make_whole_head(np.random.default_rng([986, number]), hosts[number % len(hosts)], 112, stripped=0.0)
        i, j, k = head.brain.shape
        volume = Volume(head.image, Grid.isotropic((i, j, k), SPACING_MM))
        scores.append(dice(stripper.brain(Study(f"head {number}", {"t1c": volume})), head.brain))
        print(f"head {number:2d} Dice {scores[-1]:.3f}", flush=True)
    print(f"{len(scores)} heads: median Dice {median(scores):.3f}, lowest {min(scores):.3f}")
    folder = given.data / "templates/mricron_templates"
    head_image, brain_image = (read_nifti(folder / f"{name}.nii.gz")[0] for name in ("ch2", "ch2bet"))
    found = stripper.brain(Study("Colin27", {"t1c": head_image}))
    for path in (
        given.data / "templates/brainchop_t1/t1_crop.nii.gz", folder / "ch2.nii.gz", folder / "ch2bet.nii.gz",
        *sorted(given.data.glob("mets/*/*-t1c.nii.gz")), *sorted(given.data.glob("hosts_t1c/*/*/T1POST_MNI.nii.gz")),
        *sorted(given.data.glob("tumours/*/*_t1ce.nii.gz")),
    ):  # fmt: skip
        study = Study(path.name, {"t1c": read_nifti(path)[0]})
        share = stripper.share_around(study, stripper.brain(study))
        print(f"{path.parent.name} {path.name}: {share:.0%} foreground in the 10 mm around the brain", flush=True)
    print(f"Colin27, against BET's mask: Dice {dice(found, np.asarray(brain_image.array) > 0):.3f}")


if __name__ == "__main__":
    main()
