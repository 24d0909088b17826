"""Fix a model's operating points and calibrate its confidence on one half of a validation set; measure on the other.

``metseg synthesise VAL -n 60 --hosts DATA --unseen --seed 5000 --workers 0`` makes such a set.
``python recipes/operating_points.py src/metseg/models/mets-t1c VAL --json points.json`` prints what goes into the card.

Studies with odd numbers choose, those with even numbers measure. Components at a threshold are matched to the lesions
by the evaluator's profile ``field``; Platt's map is fitted to their confidences; the smallest calibrated confidence of
each point is where the evaluator's FROC curve reaches the wanted false components per patient. Of several thresholds
the one is taken at which lesions of 5 mm and more have the highest mean Dice at one false component a patient, a
missed one counting 0.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from metseg.core.study import Study
from metseg.core.volume import LabelMap, ProbabilityMap, Volume
from metseg.engines.registry import load_engine
from metseg.evaluate.bootstrap import BootstrapOptions
from metseg.evaluate.calibration import reliability_sums
from metseg.evaluate.field import FieldCase, FieldOptions, FieldSummary, score_case, summarise
from metseg.evaluate.froc import FrocOptions
from metseg.io.nifti import read_nifti
from metseg.lesions.components import label_instances
from metseg.lesions.confidence import platt
from metseg.lesions.measure import measure_lesions
from metseg.preprocess.sample import labels_on_grid, probability_on_grid

POINTS = {"sensitive": 3.0, "balanced": 1.0, "specific": 0.25}


@dataclass(frozen=True, eq=False)
class Predicted:
    """One study at one threshold: instances, their confidences by number from 1, and the reference."""

    name: str
    threshold: float
    instances: LabelMap
    confidences: NDArray[np.float64]
    reference: NDArray[np.uint32]
    probability: NDArray[np.float32]

    @property
    def chooses(self) -> bool:
        """Which half it belongs to."""
        return int(self.name[-4:]) % 2 == 1

    def kept(self, slope: float, offset: float, least: float) -> NDArray[np.uint32]:
        """Instances of at least that calibrated confidence."""
        sure = np.concatenate([[False], platt(self.confidences, slope, offset) >= least])
        array = np.asarray(self.instances.array)
        return np.where(sure[array], array, 0).astype(np.uint32)


def predictions(model: str, data: Path, thresholds: list[float]) -> Iterator[Predicted]:
    """Run the model on every study of a data set of ``metseg synthesise``; yield each at every threshold."""
    engine = load_engine("openvino", model)
    (sequence,) = engine.card.sequences
    for path in sorted((data / "imagesTr").glob("*_0000.nii.gz")):
        name = path.name.removesuffix("_0000.nii.gz")
        image = read_nifti(path)[0]
        found: ProbabilityMap = engine.predict(Study(name, {sequence: image}))
        truth = np.asarray(_stored(data / "instancesTr" / f"{name}.nii.gz"))
        probability = np.clip(probability_on_grid(found, image.grid).array, 0, 1)
        counts = []
        for threshold in thresholds:
            labels = labels_on_grid(found, image.grid, threshold)
            instances = LabelMap(label_instances(np.asarray(labels.array) > 0), image.grid)
            instances, table = measure_lesions(instances, Volume(found.of("lesion"), found.grid))
            confidences = np.array([n.confidence for n in table], float)
            yield Predicted(name, threshold, instances, confidences, truth, probability)
            counts.append(str(len(table)))
        print(f"{name}: {', '.join(counts)} components, {len(np.unique(truth)) - 1} lesions", flush=True)


def _stored(path: Path) -> NDArray[np.uint32]:
    """Voxels of a label map that may be empty, which the strict reader refuses."""
    from nibabel.nifti1 import Nifti1Image

    return np.asarray(Nifti1Image.from_filename(path).dataobj).astype(np.uint32)


def judged(cases: list[Predicted], options: FieldOptions, slope: float, offset: float, least: float) -> list[FieldCase]:
    """The evaluator's verdict on what is left at a smallest confidence; its confidences are raw."""
    return [
        score_case(c.kept(slope, offset, least), c.reference, c.instances.grid, options, c.probability) for c in cases
    ]


def components(cases: list[FieldCase]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Confidence of every component, and whether it was matched to a lesion."""
    flat = [(c.confidence or 0.0, not c.false) for case in cases for c in case.components]
    return np.array([c for c, _ in flat], float), np.array([t for _, t in flat], bool)


def fit_platt(confidence: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset that make the confidences most likely; a weak pull to the identity keeps few cases in bounds."""

    def loss(values: NDArray[np.float64]) -> float:
        p = np.clip(platt(confidence, float(np.exp(values[0])), float(values[1])), 1e-9, 1 - 1e-9)
        return float(-np.log(np.where(truth, p, 1 - p)).sum() + 0.5 * (values**2).sum() / 4)

    best = minimize(loss, np.zeros(2), method="Nelder-Mead")
    return float(np.exp(best.x[0])), float(best.x[1])


def ece(confidence: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Expected calibration error, ten bins."""
    sums = np.array([*asdict(reliability_sums(confidence, truth)).values()])
    return float(np.abs(sums[2] - sums[1]).sum() / max(sums[0].sum(), 1))


def smallest_confidence(cases: list[FieldCase], rate: float, options: FieldOptions) -> float | None:
    """The raw confidence at which the FROC curve reaches ``rate`` false components per patient; None: nowhere."""
    froc = FrocOptions(rates=(rate,))
    curve = summarise([(str(n), case) for n, case in enumerate(cases)], options.model_copy(update={"froc": froc})).froc
    if curve is None or curve.points[0].threshold is None:
        return None
    return 0.0 if curve.points[0].beyond_curve else curve.points[0].threshold


def described(summary: FieldSummary) -> dict[str, Any]:
    """Counts, headline numbers with intervals and sensitivity by size, as plain data."""
    numbers = {name: asdict(value) for name, value in summary.numbers.items()}
    sizes = [asdict(one) for one in summary.by_diameter]
    return {"counts": summary.counts, "numbers": numbers, "by_diameter": sizes}


def lesion_dice(cases: list[FieldCase], least_mm: float = 5) -> NDArray[np.float64]:
    """Dice of each lesion of at least that diameter; a missed one has 0."""
    lesions = [n for case in cases for n in case.lesions if n.diameter_mm >= least_mm]
    return np.array([n.dice if n.found else 0.0 for n in lesions], float)


def median_dice(cases: list[FieldCase]) -> tuple[float, float]:
    """Median Dice of the lesions of 5 mm and more: of all, and of those found."""
    every = lesion_dice(cases)
    found = every[every > 0]
    return float(np.median(every)) if every.size else 0.0, float(np.median(found)) if found.size else 0.0


def worth(cases: list[Predicted], options: FieldOptions) -> float:
    """Mean Dice of the lesions of 5 mm and more at one false component a patient; -1 where that is not reached."""
    least = smallest_confidence(judged(cases, options, 1.0, 0.0, 0.0), POINTS["balanced"], options)
    return -1.0 if least is None else float(lesion_dice(judged(cases, options, 1.0, 0.0, least)).mean())


def table(points: dict[str, Any]) -> str:
    """What was measured at each point, as Markdown; intervals in brackets."""
    sizes = [f"{one['label']} mm" for one in next(iter(points.values()))["by_diameter"]]
    heads = ["point", "false components a patient", "sensitivity", *sizes, "median Dice ≥ 5 mm: all, found"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for name, point in points.items():
        false, whole = (point["numbers"][key] for key in ("fp_per_patient", "sensitivity_per_lesion"))
        bins = " | ".join(
            f"{one['found']} of {one['lesions']}: {_interval(one['sensitivity'])}" for one in point["by_diameter"]
        )
        lines.append(f"| `{name}` | {_interval(false)} | {_interval(whole)} | {bins} | "
                     f"{point['dice_all']:.2f}, {point['dice_found']:.2f} |")  # fmt: skip
    return "\n".join(lines) + "\n"


def _interval(number: dict[str, Any]) -> str:
    """A number and its interval."""
    if number["value"] is None:
        return "–"
    ends = (number["low"], number["high"])
    return f"{number['value']:.2f}" + ("" if None in ends else f" [{ends[0]:.2f}–{ends[1]:.2f}]")


def main() -> None:
    """Parse the command line, choose, calibrate and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="name or folder of a bundle")
    parser.add_argument("studies", type=Path, help="folder that metseg synthesise made")
    parser.add_argument("--threshold", type=float, nargs="+", default=[0.3, 0.4, 0.5], help="of several, the best")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path, help="write a table of what was measured")
    given = parser.parse_args()
    options = FieldOptions(confidence="percentile_95", bootstrap=BootstrapOptions(resamples=1000))
    every = list(predictions(given.model, given.studies, given.threshold))
    worths = {t: worth([c for c in every if c.threshold == t and c.chooses], options) for t in given.threshold}
    threshold = max(worths, key=lambda t: worths[t])
    print(f"\nmean Dice of lesions of 5 mm and more by threshold: {worths}; taken: {threshold}")
    cases = [c for c in every if c.threshold == threshold]
    choosing, measuring = ([c for c in cases if c.chooses == half] for half in (True, False))
    chosen, measured = (judged(half, options, 1.0, 0.0, 0.0) for half in (choosing, measuring))
    slope, offset = fit_platt(*components(chosen))
    confidence, truth = components(measured)
    errors = (ece(confidence, truth), ece(platt(confidence, slope, offset), truth))
    results: dict[str, Any] = {
        "studies": {"choosing": len(choosing), "measuring": len(measuring)},
        "calibration": {"slope": slope, "offset": offset, "ece_before": errors[0], "ece_after": errors[1]},
        "points": {},
    }
    print(f"\n[calibration]\nslope = {slope:.4f}\noffset = {offset:.4f}\nece_before = {errors[0]:.4f}\n"
          f"ece_after = {errors[1]:.4f}")  # fmt: skip
    for name, rate in POINTS.items():
        raw = smallest_confidence(chosen, rate, options)
        if raw is None:
            print(f"\nNo point {name}: no smallest confidence leaves at most {rate} false components per patient.")
            continue
        least = float(np.floor(platt(np.array(raw), slope, offset) * 1e4) / 1e4) if raw else 0.0
        verdict = judged(measuring, options, slope, offset, least)
        summary = summarise([(str(n), case) for n, case in enumerate(verdict)], options)
        sensitivity = summary.numbers["sensitivity_per_lesion"].value
        false = summary.numbers["fp_per_patient"].value
        whole, found = median_dice(verdict)
        results["points"][name] = {
            "threshold": threshold, "min_confidence": least, "dice_all": whole, "dice_found": found,
            **described(summary),
        }  # fmt: skip
        by_size = ", ".join(f'"{one.label} mm" = [{one.found}, {one.lesions}]' for one in summary.by_diameter)
        print(f"\n[operating_points.{name}]\nthreshold = {threshold}\nmin_confidence = {least}\n"
              f"sensitivity = {sensitivity}\nfp_per_patient = {false}\nfound_by_size = {{ {by_size} }}")  # fmt: skip
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if given.markdown and results["points"]:
        given.markdown.write_text(table(results["points"]), encoding="utf-8")


if __name__ == "__main__":
    main()
