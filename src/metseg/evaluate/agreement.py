"""How well two measurements of the same things agree: Bland–Altman and Lin's concordance.

With x the reference and y the prediction, d = y - x:
bias = mean(d); limits of agreement = bias ± 1.96·SD(d), SD with n - 1 (Bland and Altman, Lancet 1986).
Concordance ρc = 2·s_xy / (s_x² + s_y² + (x̄ - ȳ)²), moments with n (Lin, Biometrics 1989).
All follow from six sums, so that they can be resampled by patient.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from metseg.evaluate.bootstrap import Estimate, Resampling, divide

Array = NDArray[np.float64]
LIMIT_SDS: Final = 1.96
TOO_FEW_PAIRS: Final = "fewer_than_two_pairs"
NO_SPREAD: Final = "no_spread"
NO_PAIRS: Final = "no_pairs"


@dataclass(frozen=True)
class Agreement:
    """Of pairs (reference, prediction), in the unit of what was measured.

    Args:
        pairs: how many.
        bias: mean difference, prediction minus reference.
        sd: standard deviation of the differences (n - 1); None with fewer than two pairs.
        lower_limit: bias - 1.96 SD.
        upper_limit: bias + 1.96 SD.
        concordance: Lin's; None with fewer than two pairs, or where all values are one and the same number
            (``"no_spread"``): nothing was there to agree about.
    """

    pairs: int
    bias: Estimate
    sd: Estimate
    lower_limit: Estimate
    upper_limit: Estimate
    concordance: Estimate


def _bias(sums: Array) -> Array:
    return divide(sums[..., 2] - sums[..., 1], sums[..., 0])


def _sd(sums: Array) -> Array:
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    squares = xx + yy - 2 * xy - divide((y - x) ** 2, n)
    return np.asarray(np.sqrt(np.where(n > 1, divide(np.maximum(squares, 0), n - 1), np.nan)))


def _concordance(sums: Array) -> Array:
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    mean_x, mean_y = divide(x, n), divide(y, n)
    shared = divide(xy, n) - mean_x * mean_y
    spread = np.maximum(divide(xx, n) - mean_x**2, 0) + np.maximum(divide(yy, n) - mean_y**2, 0)
    # Rounding leaves a spread of about 1e-16 of the squares where there is none.
    whole = spread + (mean_x - mean_y) ** 2
    whole = np.where(whole > 1e-13 * divide(xx + yy, n), whole, 0)
    return np.where(n > 1, np.clip(divide(2 * shared, whole), -1, 1), np.nan)


def agreement(
    reference: Float[np.ndarray, " pair"],
    prediction: Float[np.ndarray, " pair"],
    owners: Int[np.ndarray, " pair"],
    resampling: Resampling,
) -> Agreement:
    """Agreement of pairs, with intervals clustered by patient.

    Args:
        reference: what the truth measures.
        prediction: what was predicted; same order, same unit.
        owners: index of the patient of each pair.
        resampling: of the patients.
    """
    # About their middle, so that squares of large volumes lose no digits.
    middle = float(np.mean(np.concatenate((reference, prediction)))) if len(reference) else 0.0
    x, y = reference - middle, prediction - middle
    parts = (np.ones_like(x), x, y, x * x, y * y, x * y)
    sums = np.stack([np.bincount(owners, part, resampling.patients).astype(float) for part in parts], axis=1)
    n = len(x)
    few = TOO_FEW_PAIRS if n < 2 else NO_SPREAD
    return Agreement(
        pairs=n,
        bias=resampling.of_sums(sums, _bias, n, NO_PAIRS),
        sd=resampling.of_sums(sums, _sd, n, few),
        lower_limit=resampling.of_sums(sums, lambda s: _bias(s) - LIMIT_SDS * _sd(s), n, few),
        upper_limit=resampling.of_sums(sums, lambda s: _bias(s) + LIMIT_SDS * _sd(s), n, few),
        concordance=resampling.of_sums(sums, _concordance, n, few),
    )
