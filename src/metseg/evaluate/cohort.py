"""Which case is whose: cases of one patient are drawn together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def patient_indices(patients: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The patients, sorted, and the index of each case's patient. So the order of cases changes no interval."""
    names = sorted(set(patients))
    places = {name: place for place, name in enumerate(names)}
    return tuple(names), np.array([places[patient] for patient in patients], dtype=np.int64)
