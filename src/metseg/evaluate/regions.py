"""The regions that the BraTS challenges score, as label values."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Integer
from numpy.typing import NDArray

from metseg.core.errors import InputError

Regions = Mapping[str, tuple[int, ...]]

LABELS: Final[Mapping[int, str]] = MappingProxyType({1: "NETC", 2: "SNFH", 3: "ET", 4: "RC"})
# Whole tumour, tumour core, enhancing tumour, resection cavity; the core that does not enhance decides in 2024 which
# enhancing lesions belong together.
OFFICIAL: Final[Regions] = MappingProxyType({"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,), "RC": (4,), "NETC": (1,)})
# A mask that only tells lesion from no lesion has one region.
BINARY: Final[Regions] = MappingProxyType({"lesion": (1,)})


def check_labels(values: NDArray[Any], regions: Regions, what: str) -> None:
    """Refuse label values that no region has.

    Args:
        values: any label values, in any order.
        regions: the label values of each.
        what: whose labels they are, for the message.

    Raises:
        InputError: there are others.
    """
    known = {0, *(label for labels in regions.values() for label in labels)}
    unknown = sorted(set(np.unique(values).tolist()) - known)
    if unknown:
        names = ", ".join(str(value) for value in unknown[:10]) + (" …" if len(unknown) > 10 else "")
        official = regions is OFFICIAL
        meant = ", ".join(f"{label} {LABELS[label]}" if official else str(label) for label in sorted(known - {0}))
        raise InputError(
            f"The {what} has label values that are not scored: {names}.",
            hint=f"Known are 0 for background and {meant}; map the others to these first.",
        )


def region_mask(labels: Integer[np.ndarray, "i j k"], region: str) -> Bool[np.ndarray, "i j k"]:
    """One of the official regions as a mask.

    Args:
        labels: label values.
        region: ``"WT"``, ``"TC"``, ``"ET"``, ``"RC"`` or ``"NETC"``.
    """
    return np.isin(labels, OFFICIAL[region])
