"""FROC: how many lesions are found at how many false components a patient.

The free-response operating characteristic (Bunch et al., 1978; Chakraborty 1989) is swept over the confidence of
whole components: at a threshold t, components of confidence below t are taken away. Matching is done once, with all
components; a lesion counts as found at t if one of the components matched to it stays. So the curve ends at the
sensitivity and the false components of the segmentation that was given: to see it whole, segment at a low threshold.

Between the points of the curve one of two rules holds:
- ``step``: the highest sensitivity among operating points with at most the asked rate, so one that a threshold gives;
- ``linear``: a line between neighbouring points, from (0, 0) on (as LUNA16: Setio et al., Med Image Anal 2017).
Beyond the end of the curve the last sensitivity stands, and the point says so (``beyond_curve``).
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from pydantic import Field

from metseg.core.options import Options
from metseg.evaluate.bootstrap import Estimate, Resampling, divide

Array = NDArray[np.float64]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NO_REFERENCE_LESION: Final = "no_reference_lesion"
# A rate that equals the asked one but for rounding is not above it.
_ROUNDING: Final = 1e-9


class FrocOptions(Options):
    """Where the curve is read, and how.

    Args:
        rates: false components per patient.
        interpolation: between the points of the curve.
        per: what the false components are counted per; differs where patients have several studies.
    """

    rates: Annotated[tuple[Rate, ...], Field(min_length=1)] = (0.5, 1.0, 2.0, 4.0, 8.0)
    interpolation: Literal["step", "linear"] = "step"
    per: Literal["patient", "case"] = "patient"


@dataclass(frozen=True)
class FrocPoint:
    """The curve read at one rate.

    Args:
        rate: false components per patient that was asked for.
        sensitivity: there.
        threshold: the confidence of the operating point at or below that rate; None if only no component at all
            is below it.
        beyond_curve: the segmentation makes fewer false components than that, so the last sensitivity stands.
    """

    rate: float
    sensitivity: Estimate
    threshold: float | None
    beyond_curve: bool


@dataclass(frozen=True)
class FrocCurve:
    """The whole curve, from the highest threshold down.

    Args:
        thresholds: confidences, decreasing.
        rates: false components per patient (or case) with components of at least that confidence.
        sensitivities: of all reference lesions the share found; empty where there is no reference lesion.
        points: the curve at the rates asked for.
        mean_sensitivity: over these rates.
    """

    thresholds: tuple[float, ...]
    rates: tuple[float, ...]
    sensitivities: tuple[float, ...]
    points: tuple[FrocPoint, ...]
    mean_sensitivity: Estimate


@dataclass(frozen=True, eq=False)
class FrocEvents:
    """What a curve is made of.

    Args:
        confidences: of found lesions (the highest among the matched components) and of false components.
        is_lesion: which of the two.
        owners: index of the patient of each.
        lesions: reference lesions of each patient, found or not.
        exposures: 1 a patient, or the number of cases of each.
    """

    confidences: Float[np.ndarray, " event"]
    is_lesion: NDArray[np.bool_]
    owners: Int[np.ndarray, " event"]
    lesions: Float[np.ndarray, " patient"]
    exposures: Float[np.ndarray, " patient"]

    def ordered(self) -> "FrocEvents":
        """The same, most confident first."""
        order = np.argsort(-self.confidences, kind="stable")
        parts = (self.confidences[order], self.is_lesion[order], self.owners[order])
        return FrocEvents(*parts, self.lesions, self.exposures)

    def ends(self) -> NDArray[np.int64]:
        """Of ordered events: the last of each run of equal confidence. Only there a threshold can lie."""
        if not len(self.confidences):
            return np.zeros(0, dtype=np.int64)
        return np.append(np.flatnonzero(np.diff(self.confidences)), len(self.confidences) - 1)


def _curves(events: FrocEvents, rows: Array) -> tuple[Array, Array]:
    """Rates and sensitivities (row, point) of resamples (row, patient), from (0, 0) on."""
    ends, weights = events.ends(), rows[:, events.owners]
    start = np.zeros((len(rows), 1))
    hits, false = (
        np.hstack((start, np.cumsum(weights * kind, axis=1)[:, ends])) for kind in (events.is_lesion, ~events.is_lesion)
    )
    return divide(false, (rows @ events.exposures)[:, None]), divide(hits, (rows @ events.lesions)[:, None])


def _read(rates: Array, sensitivities: Array, asked: Array, *, linear: bool) -> tuple[Array, NDArray[np.int64]]:
    """Sensitivities (row, asked), and the index of the point at or below each asked rate."""
    last = rates.shape[1] - 1
    below = np.stack([(rates <= rate + _ROUNDING).sum(axis=1) - 1 for rate in asked], axis=1)
    found = np.take_along_axis(sensitivities, below, axis=1)
    if linear:
        above = np.minimum(below + 1, last)
        run, after = np.take_along_axis(rates, below, axis=1), np.take_along_axis(rates, above, axis=1)
        rise = np.take_along_axis(sensitivities, above, axis=1) - found
        found = found + np.nan_to_num(divide(asked - run, after - run)) * rise
    return found, below


def froc(events: FrocEvents, options: FrocOptions, resampling: Resampling) -> FrocCurve:
    """The curve over all patients, read at the rates asked for, with intervals clustered by patient."""
    events = events.ordered()
    asked = np.asarray(options.rates, dtype=float)
    linear = options.interpolation == "linear"
    readings = [
        _read(*_curves(events, rows), asked, linear=linear)[0] for rows in resampling.chunks(len(events.owners) + 1)
    ]
    values = np.concatenate(readings)
    rates, sensitivities = (part[0] for part in _curves(events, np.ones((1, resampling.patients))))
    below = _read(rates[None], sensitivities[None], asked, linear=linear)[1][0]
    n = round(float(events.lesions.sum()))
    thresholds = events.confidences[events.ends()]
    points = tuple(
        FrocPoint(
            rate=float(rate),
            sensitivity=resampling.estimate(values[0, i], values[1:, i], n, NO_REFERENCE_LESION),
            threshold=float(thresholds[below[i] - 1]) if below[i] else None,
            beyond_curve=bool(rates[-1] < rate - _ROUNDING),
        )
        for i, rate in enumerate(asked)
    )
    means = values.mean(axis=1)
    return FrocCurve(
        thresholds=tuple(thresholds.tolist()),
        rates=tuple(rates[1:].tolist()),
        sensitivities=tuple(sensitivities[1:].tolist()) if n else (),
        points=points,
        mean_sensitivity=resampling.estimate(means[0], means[1:], n, NO_REFERENCE_LESION),
    )
