"""From a model's own confidence to the chance that a lesion is one: Platt's map (Platt 1999; Guo et al., ICML 2017)."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metseg.core.lesion import LesionTable

_EDGE = 1e-4  # confidences of 0 and 1 have no logit


def platt(confidence: NDArray[np.float64], slope: float, offset: float) -> NDArray[np.float64]:
    """``sigmoid(slope · logit(confidence) + offset)``; keeps the order of confidences, for a slope above 0."""
    inner = np.clip(confidence, _EDGE, 1 - _EDGE)
    return np.asarray(1 / (1 + np.exp(-(slope * np.log(inner / (1 - inner)) + offset))))


def calibrate(lesions: LesionTable, slope: float, offset: float) -> LesionTable:
    """The same lesions, their confidences mapped by ``platt``; those without one keep none."""
    return LesionTable(
        tuple(
            n if n.confidence is None
            else replace(n, confidence=float(platt(np.array(n.confidence), slope, offset)))
            for n in lesions
        )
    )  # fmt: skip
