"""Several runs on the same cases, pair by pair: differences with intervals, Wilcoxon's test, Holm's correction.

Differences are the second run's value minus the first's, case by case. Their mean and median get intervals by the
bootstrap clustered by patient.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from metseg.core.errors import ConfigError, InputError
from metseg.core.options import Options
from metseg.evaluate.bootstrap import BootstrapOptions, Estimate, Resampling
from metseg.evaluate.cohort import patient_indices
from metseg.evaluate.significance import NO_COMPLETE_CASE, holm, signed_rank

Array = NDArray[np.float64]
Scores = Mapping[str, Mapping[str, float | None]]
# Differences below this, relative to the values, are rounding.
_SAME: Final = 1e-12


class CompareOptions(Options):
    """What is compared, and how strictly.

    Args:
        metrics: names; None for all that occur.
        missing: cases in which a run lacks a (finite) value of a metric: ``leave_out`` of that metric for every
            run, and count them, or ``refuse``.
        holm_over: the tests that Holm's correction takes together: ``all``, or those of one ``metric``.
        bootstrap: of the intervals.
    """

    metrics: tuple[str, ...] | None = None
    missing: Literal["leave_out", "refuse"] = "leave_out"
    holm_over: Literal["all", "metric"] = "all"
    bootstrap: BootstrapOptions = BootstrapOptions()


@dataclass(frozen=True)
class RunScore:
    """A metric of one run, over the cases that have it in every run.

    Args:
        metric: its name.
        run: the run's name.
        mean: with the standard deviation over cases in ``sd``.
        median: over cases.
        left_out: cases that some run has no value for.
    """

    metric: str
    run: str
    mean: Estimate
    median: Estimate
    left_out: int


@dataclass(frozen=True)
class PairedDifference:
    """A metric of two runs: the second's value minus the first's.

    Args:
        metric: its name.
        first: name of the first run.
        second: name of the second run.
        mean: of the differences over cases.
        median: of the same.
        higher: cases in which the second's value is higher.
        equal: cases in which both are the same.
        lower: cases in which the second's value is lower.
        patients: whose mean differences are tested.
        p_value: of Wilcoxon's test, two-sided; 1 where no patient differs; None without a complete case.
        p_holm: the same, corrected.
        reason: ``"no_difference"`` where no test was needed, or why there is none.
        left_out: cases that some run has no value for.
    """

    metric: str
    first: str
    second: str
    mean: Estimate
    median: Estimate
    higher: int
    equal: int
    lower: int
    patients: int
    p_value: float | None
    p_holm: float | None
    reason: str
    left_out: int


@dataclass(frozen=True)
class Comparison:
    """All runs and all pairs of runs, metric by metric.

    Args:
        runs: names, in the order given.
        metrics: names.
        cases: how many occur in any run.
        patients: whom they are from.
        scores: of each run.
        differences: of each pair of runs.
    """

    runs: tuple[str, ...]
    metrics: tuple[str, ...]
    cases: int
    patients: int
    scores: tuple[RunScore, ...]
    differences: tuple[PairedDifference, ...]


def compare_runs(
    runs: Mapping[str, Scores], patients: Mapping[str, str], options: CompareOptions | None = None
) -> Comparison:
    """Compare runs on the same cases.

    Args:
        runs: the values of each run, by case and metric; None (or a value that is not finite) where a metric is not
            defined.
        patients: the patient of each case.
        options: what is compared.

    Raises:
        InputError: fewer than two runs, cases without a patient, or, with ``missing="refuse"``, missing values.
        ConfigError: a metric asked for that no run has.
    """
    options = options or CompareOptions()
    if len(runs) < 2:
        raise InputError(f"A comparison needs at least two runs, but got {len(runs)}.")
    cases = sorted({case for scores in runs.values() for case in scores})
    unknown = sum(case not in patients for case in cases)
    if unknown:
        raise InputError(f"{unknown} of {len(cases)} cases have no patient.", hint="Name the patient of every case.")
    names, owners = patient_indices([patients[case] for case in cases])
    table = _Table(cases, owners, Resampling.draw(len(names), options.bootstrap), runs, options)
    metrics = _metrics(runs, options.metrics)
    scores = [score for metric in metrics for score in table.scores(metric)]
    differences = [difference for metric in metrics for difference in table.differences(metric)]
    corrected = tuple(_corrected(differences, options.holm_over))
    return Comparison(tuple(runs), metrics, len(cases), len(names), tuple(scores), corrected)


def _metrics(runs: Mapping[str, Scores], wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    """Metrics to compare, in the order in which they first occur."""
    known = {metric: None for scores in runs.values() for values in scores.values() for metric in values}
    missing = [metric for metric in wanted or () if metric not in known]
    if missing:
        raise ConfigError(f"No run has the metric {missing[0]!r}.", hint=f"Known: {', '.join(sorted(known))}.")
    return tuple(known) if wanted is None else wanted


@dataclass(frozen=True, eq=False)
class _Table:
    """All values, and the resamples of the patients."""

    cases: Sequence[str]
    owners: NDArray[np.int64]
    resampling: Resampling
    runs: Mapping[str, Scores]
    options: CompareOptions

    def complete(self, metric: str) -> tuple[Array, NDArray[np.int64]]:
        """Values (run, case) of the cases that have one in every run, and these cases' owners."""
        found = [[scores.get(case, {}).get(metric) for case in self.cases] for scores in self.runs.values()]
        values = np.array([[np.nan if value is None else value for value in row] for row in found], dtype=float)
        whole = np.isfinite(values).all(axis=0)
        if self.options.missing == "refuse" and not whole.all():
            raise InputError(
                f"{int((~whole).sum())} of {len(whole)} cases lack a value of {metric} in some run.",
                hint="Score the missing cases, or leave such cases out with missing='leave_out'.",
            )
        return values[:, whole], self.owners[whole]

    def scores(self, metric: str) -> list[RunScore]:
        """Means and medians of each run."""
        values, owners = self.complete(metric)
        left_out, draw = len(self.cases) - len(owners), self.resampling
        return [
            RunScore(
                metric,
                run,
                draw.mean(row, owners, NO_COMPLETE_CASE),
                draw.median(row, owners, NO_COMPLETE_CASE),
                left_out,
            )
            for run, row in zip(self.runs, values)
        ]

    def differences(self, metric: str) -> list[PairedDifference]:
        """Of all pairs of runs, p-values not corrected yet."""
        values, owners = self.complete(metric)
        return [
            self._difference(metric, (first, second), (a, b), owners)
            for (first, a), (second, b) in combinations(zip(self.runs, values), 2)
        ]

    def _difference(
        self, metric: str, names: tuple[str, str], values: tuple[Array, Array], owners: NDArray[np.int64]
    ) -> PairedDifference:
        first, second = values
        between = np.where(np.isclose(first, second, rtol=_SAME, atol=0), 0, second - first)
        signs = np.sign(between)
        p_value, reason, patients = signed_rank(between, owners)
        return PairedDifference(
            metric,
            *names,
            mean=self.resampling.mean(between, owners, NO_COMPLETE_CASE),
            median=self.resampling.median(between, owners, NO_COMPLETE_CASE),
            higher=int((signs > 0).sum()),
            equal=int((signs == 0).sum()),
            lower=int((signs < 0).sum()),
            patients=patients,
            p_value=p_value,
            p_holm=None,
            reason=reason,
            left_out=len(self.cases) - len(owners),
        )


def _corrected(differences: list[PairedDifference], over: str) -> list[PairedDifference]:
    """The same, with Holm's p-values."""
    families: dict[str, list[int]] = {}
    for place, one in enumerate(differences):
        if one.p_value is not None:
            families.setdefault("" if over == "all" else one.metric, []).append(place)
    result = list(differences)
    for members in families.values():
        found = holm(np.array([differences[place].p_value for place in members], dtype=float))
        for place, p_value in zip(members, found.tolist()):
            result[place] = replace(result[place], p_holm=p_value)
    return result
