"""Do probabilities mean what they say: reliability curve, expected calibration error, Brier score.

Probabilities are sorted into bins of equal width. In each, the mean probability is set against the share that was
true. ECE = Σ (n_bin / n)·|share - mean| (Naeini et al., AAAI 2015; Guo et al., ICML 2017), MCE the largest of these
differences, Brier = mean (p - y)² (Brier 1950). Counts and sums of bins can be added over cases and resampled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from metseg.evaluate.bootstrap import Estimate, Resampling, divide
from metseg.evaluate.inputs import check_probability

Array = NDArray[np.float64]
NO_PROBABILITIES: Final = "no_probabilities"
# All voxels of a head at once would take a gigabyte.
_PIECE: Final = 1_000_000


@dataclass(frozen=True)
class ReliabilitySums:
    """What one case adds, bin by bin from 0 to 1; the last bin holds 1 itself.

    Args:
        counts: how many probabilities fall into the bin.
        probabilities: their sum.
        positives: how many of them were true.
        squared_errors: the sum of (p - y)².
    """

    counts: tuple[float, ...]
    probabilities: tuple[float, ...]
    positives: tuple[float, ...]
    squared_errors: tuple[float, ...]


@dataclass(frozen=True)
class ReliabilityBin:
    """One point of the reliability curve; means are None where the bin is empty."""

    low: float
    high: float
    count: int
    mean_probability: float | None
    share_true: float | None


@dataclass(frozen=True)
class Calibration:
    """Calibration over all cases.

    Args:
        bins: the reliability curve.
        ece: expected calibration error.
        mce: largest calibration error of a bin that is not empty.
        brier: mean squared error.
    """

    bins: tuple[ReliabilityBin, ...]
    ece: Estimate
    mce: Estimate
    brier: Estimate


def reliability_sums(
    probability: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"], bins: int = 10
) -> ReliabilitySums:
    """Sort probabilities into bins of equal width.

    Args:
        probability: in [0, 1].
        truth: whether it came true.
        bins: how many.

    Raises:
        InputError: a probability that is not in [0, 1].
    """
    check_probability(probability)
    sums = np.zeros((4, bins))
    for start in range(0, probability.size, _PIECE):
        p = probability[start : start + _PIECE].astype(np.float64)
        y = truth[start : start + _PIECE]
        where = np.minimum((p * bins).astype(np.int64), bins - 1)
        parts = (np.ones_like(p), p, y.astype(np.float64), (p - y) ** 2)
        sums += [np.bincount(where, part, bins) for part in parts]
    return ReliabilitySums(*(tuple(row) for row in sums.tolist()))


def _gaps(sums: Array) -> tuple[Array, Array]:
    """Of sums (…, 4, bin): the gap of each bin, 0 where it is empty, and the bins' counts."""
    counts, probabilities, positives = sums[..., 0, :], sums[..., 1, :], sums[..., 2, :]
    return np.nan_to_num(np.abs(divide(positives - probabilities, counts))), counts


def _ece(sums: Array) -> Array:
    gaps, counts = _gaps(sums)
    return divide((gaps * counts).sum(axis=-1), counts.sum(axis=-1))


def _mce(sums: Array) -> Array:
    gaps, counts = _gaps(sums)
    return np.where(counts.sum(axis=-1) > 0, gaps.max(axis=-1), np.nan)


def _brier(sums: Array) -> Array:
    return divide(sums[..., 3, :].sum(axis=-1), sums[..., 0, :].sum(axis=-1))


def calibration(cases: list[tuple[int, ReliabilitySums]], resampling: Resampling) -> Calibration | None:
    """Calibration over cases, with intervals clustered by patient; None where there is no case.

    Args:
        cases: index of the patient, and what the case adds; all with equally many bins.
        resampling: of the patients.
    """
    if not cases:
        return None
    n_bins = len(cases[0][1].counts)
    sums = np.zeros((resampling.patients, 4, n_bins))
    for patient, case in cases:
        sums[patient] += (case.counts, case.probabilities, case.positives, case.squared_errors)
    flat, total = sums.reshape(len(sums), -1), sums.sum(axis=0)
    n = round(float(total[0].sum()))

    def estimate(statistic: Callable[[Array], Array]) -> Estimate:
        return resampling.of_sums(flat, lambda s: statistic(s.reshape(*s.shape[:-1], 4, n_bins)), n, NO_PROBABILITIES)

    return Calibration(_curve(total), estimate(_ece), estimate(_mce), estimate(_brier))


def _curve(total: Array) -> tuple[ReliabilityBin, ...]:
    n_bins = total.shape[1]
    return tuple(
        ReliabilityBin(
            low=i / n_bins,
            high=(i + 1) / n_bins,
            count=round(float(count)),
            mean_probability=float(p / count) if count else None,
            share_true=float(true / count) if count else None,
        )
        for i, (count, p, true, _) in enumerate(total.T)
    )
