"""What a scene holds besides its tissues: layers of substances, each filling part of each voxel of a box."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from metseg.synthesis.fields import Field

Box = tuple[slice, slice, slice]


class Substance(IntEnum):
    """What a layer is made of, and what its ``strength`` means there."""

    VESSEL = 0  # blood in a vessel; strength: contrast agent, the scan's typical vein having 1
    ENHANCING = 1  # tissue that takes up contrast agent; strength: as for VESSEL
    WATER = 2  # necrosis or cyst; strength: 0 like tissue without uptake, 1 like cerebrospinal fluid
    BLOOD = 3  # outside vessels; strength: 0 old, 1 fresh (dense on CT, and the bright stage on T1)
    CALCIUM = 4  # strength: 0 specks, 1 solid
    OEDEMA = 5  # water between cells: oedema, plaque, infarct; strength: 0 none, 1 as much as tissue takes


@dataclass(frozen=True, eq=False)
class Layer:
    """One substance in one place.

    Args:
        box: where the arrays lie in the scene.
        substance: what it is.
        fraction: (i, j, k) of the box, how much of each voxel it fills, 0 … 1.
        strength: of the substance, one number or (i, j, k).
        grain: relative unevenness of its brightness, one number or (i, j, k).
    """

    box: Box
    substance: Substance
    fraction: Field
    strength: float | Field
    grain: float | Field = 0.0


@dataclass(frozen=True)
class Response:
    """How bright a substance looks in one scan.

    ``base + gain × strength + (keep + fade × strength) × what lies beneath``, in the units of the scan.
    """

    base: float
    gain: float = 0.0
    keep: float = 0.0
    fade: float = 0.0


def whole(shape: tuple[int, ...]) -> Box:
    """The box that is all of a scene."""
    return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])


def paint_layers(image: Field, layers: Iterable[Layer], responses: dict[Substance, Response]) -> None:
    """Paint ``layers`` over ``image`` (i, j, k), one after the other, in place."""
    for layer in layers:
        how, region = responses[layer.substance], image[layer.box]
        strength: NDArray[np.float32] = np.asarray(layer.strength, dtype=np.float32)
        value = np.float32(how.base) + np.float32(how.gain) * strength
        if how.keep or how.fade:
            value = value + (np.float32(how.keep) + np.float32(how.fade) * strength) * region
        if not isinstance(layer.grain, float) or layer.grain:
            value = value * (1 + np.asarray(layer.grain, dtype=np.float32))
        region += layer.fraction * (value - region)
