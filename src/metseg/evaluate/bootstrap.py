"""Confidence intervals by a bootstrap that draws patients, not lesions.

Lesions of one patient share a scanner, a day and a reader: drawn one by one they look more certain than they are. So
whole patients are drawn with replacement (the cluster bootstrap: Davison and Hinkley, Bootstrap Methods and their
Application, 1997, §3.8) and the interval is that between percentiles of the resamples (Efron 1981). A resample is
how often each patient is in it, so sums over lesions become one product of matrices; no array is ever drawn again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Final

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from pydantic import Field

from metseg.core.options import Options

Array = NDArray[np.float64]
ONE_PATIENT: Final = "one_patient"
MOSTLY_UNDEFINED: Final = "mostly_undefined"
_CHUNK_NUMBERS: Final = 1_000_000


class BootstrapOptions(Options):
    """How intervals are made.

    Args:
        resamples: how many; 0 for no intervals.
        seed: of the random numbers; the same seed and the same number of patients give the same resamples.
        level: of confidence.
    """

    resamples: Annotated[int, Field(ge=0)] = 2000
    seed: Annotated[int, Field(ge=0)] = 0
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number, and how sure it is.

    Args:
        value: None where it is not defined; ``reason`` says why.
        low: lower end of the confidence interval, None where there is none.
        high: upper end.
        n: how many lesions, components, cases or patients the number rests on.
        reason: of a missing value (``"no_reference_lesion"`` …) or of a missing interval (``"one_patient"``,
            ``"mostly_undefined"``: in half of the resamples or more the number is not defined; ``"no_resamples"``).
        undefined_resamples: resamples left out of the interval because the number is not defined in them.
        sd: of a mean: the standard deviation (n - 1) of what it was taken over; None for fewer than two values.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str = ""
    undefined_resamples: int = 0
    sd: float | None = None


def divide(numerator: Array, denominator: Array) -> Array:
    """The quotient; NaN where the denominator is 0. NaN stays inside this room: an ``Estimate`` has None instead."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    quotient = np.full(denominator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient


@dataclass(frozen=True, eq=False)
class Resampling:
    """How often each patient is in each resample.

    Args:
        counts: (resample, patient); every row sums to the number of patients.
        level: of confidence.
    """

    counts: Array = field(repr=False)
    level: float = 0.95

    @classmethod
    def draw(cls, patients: int, options: BootstrapOptions) -> "Resampling":
        """Draw resamples of as many patients as there are."""
        if patients == 0:
            return cls(np.zeros((0, 0)), options.level)
        rng = np.random.default_rng(options.seed)
        counts = rng.multinomial(patients, np.full(patients, 1 / patients), size=options.resamples)
        return cls(counts.astype(np.float64), options.level)

    @property
    def patients(self) -> int:
        """How many patients there are."""
        return int(self.counts.shape[1])

    def chunks(self, numbers_each: int) -> Iterator[Array]:
        """The rows, all patients once first, in parts small enough for ``numbers_each`` numbers a row."""
        yield np.ones((1, self.patients))
        step = max(1, _CHUNK_NUMBERS // max(1, numbers_each))
        for start in range(0, len(self.counts), step):
            yield self.counts[start : start + step]

    def estimate(self, value: float, replicates: Float[np.ndarray, " resample"], n: int, reason: str) -> Estimate:
        """Put a number and the same number in each resample together; NaN where it is not defined."""
        if not np.isfinite(value):
            return Estimate(None, n=n, reason=reason)
        defined = replicates[np.isfinite(replicates)]
        left_out = len(replicates) - len(defined)
        missing = ONE_PATIENT if self.patients == 1 else MOSTLY_UNDEFINED if 2 * left_out >= len(replicates) else ""
        if len(replicates) == 0:
            missing = "no_resamples"
        if missing:
            return Estimate(float(value), n=n, reason=missing, undefined_resamples=left_out)
        tail = (1 - self.level) / 2
        low, high = np.quantile(defined, (tail, 1 - tail))
        return Estimate(float(value), float(low), float(high), n, undefined_resamples=left_out)

    def of_sums(
        self, sums: Float[np.ndarray, "patient quantity"], statistic: Callable[[Array], Array], n: int, reason: str
    ) -> Estimate:
        """A number that depends on sums over all patients only.

        Args:
            sums: what each patient adds to each sum.
            statistic: takes sums (row, quantity) to the number of each row, NaN where it is not defined.
            n: what the number rests on.
            reason: why it is missing, should it not be defined.
        """
        if self.patients == 0:
            return Estimate(None, n=n, reason=reason)
        found = statistic(np.vstack((sums.sum(axis=0), self.counts @ sums)))
        return self.estimate(float(found[0]), found[1:], n, reason)

    def ratio(
        self, numerator: Float[np.ndarray, " patient"], denominator: Float[np.ndarray, " patient"], reason: str
    ) -> Estimate:
        """The sum of numerators over the sum of denominators; ``n`` is the latter."""
        sums = np.stack((numerator, denominator), axis=1)
        return self.of_sums(sums, lambda s: divide(s[..., 0], s[..., 1]), round(float(denominator.sum())), reason)

    def mean(self, values: Float[np.ndarray, " n"], owners: Int[np.ndarray, " n"], reason: str) -> Estimate:
        """The mean of values, each of which belongs to the patient with the index in ``owners``."""
        totals = np.bincount(owners, values, self.patients).astype(float)
        found = self.ratio(totals, np.bincount(owners, minlength=self.patients).astype(float), reason)
        return replace(found, sd=float(values.std(ddof=1)) if len(values) > 1 else None)

    def median(self, values: Float[np.ndarray, " n"], owners: Int[np.ndarray, " n"], reason: str) -> Estimate:
        """The median of values that belong to patients."""
        if len(values) == 0:
            return Estimate(None, reason=reason)
        order = np.argsort(values, kind="stable")
        ordered, of_patient = values[order], owners[order]
        parts = [_medians(ordered, rows.astype(np.int32)[:, of_patient]) for rows in self.chunks(len(values))]
        found = np.concatenate(parts)
        return self.estimate(float(found[0]), found[1:], len(values), reason)


def _medians(ordered: Array, counts: NDArray[np.int32]) -> Array:
    """Row by row, the median of sorted values that stand there ``counts`` times; NaN where there are none."""
    places = np.cumsum(counts, axis=1, dtype=np.int32)
    total = places[:, -1]
    last = len(ordered) - 1
    lower = np.minimum((places <= ((total - 1) // 2)[:, None]).sum(axis=1), last)
    upper = np.minimum((places <= (total // 2)[:, None]).sum(axis=1), last)
    return np.where(total > 0, (ordered[lower] + ordered[upper]) / 2, np.nan)
