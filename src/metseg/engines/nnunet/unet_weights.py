"""Weights of nnU-Net's networks by their names in the state that torch saved, and whether they fit a plan."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from metseg.core.errors import ModelError

Weights = Mapping[str, NDArray[Any]]
_TWICE: Final = ("decoder.encoder.", ".all_modules.")  # names under which torch holds the same weights once more


def once(weights: Weights) -> dict[str, NDArray[Any]]:
    """The weights, each under one name: torch holds those of shared layers under others too."""
    return {name: w for name, w in weights.items() if not any(part in name for part in _TWICE)}


def under_all_names(weights: Weights, *, dropout: bool) -> dict[str, NDArray[Any]]:
    """The other way round: each weight under every name under which torch saves it.

    Args:
        weights: as ``once`` gives them.
        dropout: whether each convolution is followed by one, which stands before its normalisation.
    """
    place = {"conv": 0, "norm": 2 if dropout else 1}
    named = dict(weights)
    for name, w in weights.items():
        if match := re.fullmatch(r"(.+)\.(conv|norm)\.(\w+)", name):
            named[f"{match[1]}.all_modules.{place[match[2]]}.{match[3]}"] = w
    return named | {f"decoder.{name}": w for name, w in named.items() if name.startswith("encoder.")}


def fitting(weights: Weights, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A weight of the shape that the plan asks for.

    Raises:
        ModelError: it is missing, or of another shape.
    """
    if name not in weights:
        raise ModelError(f"The network lacks the weight {name}.", hint="It is another network than its plan says.")
    found = weights[name]
    if found.shape != shape:
        raise ModelError(
            f"The weight {name} has shape {found.shape}, but its plan asks for {shape}.",
            hint="Plans and checkpoint are not of one training.",
        )
    return np.ascontiguousarray(found, dtype=np.float32)


def refuse_left_over(unused: Iterable[str]) -> None:
    """Nothing but the heads of lower resolutions may be left over.

    Raises:
        ModelError: something else is.
    """
    if left := sorted(name for name in unused if not name.startswith("decoder.seg_layers.")):
        raise ModelError(
            f"{len(left)} weights of the network have no place in it, {left[0]} for one.",
            hint="It is another architecture than its plan says.",
        )
