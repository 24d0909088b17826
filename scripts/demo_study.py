"""Writes the study that the app offers for a try: ``python scripts/demo_study.py`` (about a minute).

It is the made-up head of ``metseg demo`` (seed 0, no patient), with 256 grey values, to keep it small.
"""

from pathlib import Path

import numpy as np

from metseg.core.volume import Volume
from metseg.io.nifti import write_nifti
from metseg.synthesis.demo import make_demo_study

TARGET = Path(__file__).resolve().parent.parent / "src" / "metseg" / "app" / "demo" / "demo-t1c.nii.gz"
STEP = 8  # white matter is about 400


def main() -> None:
    """Make and write it."""
    image, _ = make_demo_study(0)
    grey = np.clip(np.rint(np.asarray(image.array) / STEP), 0, 255).astype(np.uint8)
    write_nifti(TARGET, Volume(grey, image.grid))


if __name__ == "__main__":
    main()
