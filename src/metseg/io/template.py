"""The brain of many brains that ships with metseg."""

from functools import cache
from importlib.resources import files

import numpy as np

from metseg.core.grid import Grid
from metseg.lesions.registration import Template

_FILE = "icbm152-2009a-sym-3mm.npz"


@cache
def read_template() -> Template:
    """Tissues of the ICBM 152 symmetric nonlinear average of 2009, every 3 mm; its notice lies beside the file."""
    with (files("metseg.io") / "atlas" / _FILE).open("rb") as file, np.load(file, allow_pickle=False) as stored:
        tissues = stored["tissues"].astype(np.float32) / 255
        i, j, k = tissues.shape[1:]
        return Template(tissues, Grid((i, j, k), stored["affine"]))
