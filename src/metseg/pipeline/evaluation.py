"""An evaluation from start to end: pair, judge, sum up; the result is evaluation.json's document."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from metseg.config.evaluation import JudgeOptions
from metseg.core.errors import InputError
from metseg.core.progress import Progress, no_progress
from metseg.io.evaluation_file import SCHEMA, to_plain
from metseg.io.pairs import Pairing, PairOptions, find_pairs
from metseg.pipeline.judge import label_meaning, lesion_region
from metseg.pipeline.judge_case import FailedCase, JudgedCase
from metseg.pipeline.judge_cohort import summarise_cohort
from metseg.pipeline.judge_folder import judge_pairs
from metseg.pipeline.segment import library_versions

_SHOWN: Final = 8


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation gave.

    Args:
        document: as in evaluation.json (docs/reference/evaluate-command.md).
        failures: cases that could not be judged.
    """

    document: dict[str, Any]
    failures: tuple[FailedCase, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 if every case was judged, else the highest code of those that were not."""
        return max((failure.exit_code for failure in self.failures), default=0)


def evaluate(
    prediction: Path,
    reference: Path,
    options: JudgeOptions | None = None,
    pairing: PairOptions | None = None,
    *,
    table: Path | None = None,
    jobs: int = 0,
    progress: Progress = no_progress,
) -> Evaluation:
    """Judge predictions against references, files or folders.

    Args:
        prediction: a file or a folder.
        reference: a file or a folder.
        options: which profiles, and their rules.
        pairing: how files find each other.
        table: a CSV file with the files or the patients of the cases.
        jobs: processes at a time; 0 for one a core.
        progress: counts cases.

    Raises:
        InputError: files that cannot be paired; or missing predictions, with ``missing="refuse"``.
        ConfigError: options that contradict each other.
    """
    options = options or JudgeOptions()
    found = find_pairs(prediction, reference, pairing, table)
    _check_missing(found, options)
    outcomes = judge_pairs(found.pairs, options, jobs=jobs, progress=progress)
    judged = [outcome for outcome in outcomes if isinstance(outcome, JudgedCase)]
    failures = tuple(outcome for outcome in outcomes if isinstance(outcome, FailedCase))
    return Evaluation(_document(found, judged, failures, options), failures)


def _check_missing(found: Pairing, options: JudgeOptions) -> None:
    if options.missing == "refuse" and found.missing:
        more = f" and {len(found.missing) - _SHOWN} more" if len(found.missing) > _SHOWN else ""
        raise InputError(
            f"{len(found.missing)} of {len(found.pairs)} references have no prediction: "
            f"{', '.join(found.missing[:_SHOWN])}{more}.",
            hint="Make them, or use --missing fail to count them as failures.",
        )


def _document(
    found: Pairing, judged: Sequence[JudgedCase], failures: Sequence[FailedCase], options: JudgeOptions
) -> dict[str, Any]:
    cases = {
        case.case: {
            "patient": case.patient,
            "status": "missing" if case.missing else "judged",
            "input": dict(case.facts),
            "notes": list(case.notes),
            **case.judgement.blocks,
        }
        for case in judged
    }
    document = {
        "schema": SCHEMA,
        "versions": library_versions(),
        "options": options.model_dump(mode="json"),
        "lesion_region": lesion_region(options),
        "label_meaning": label_meaning(options.labels),
        "counts": {
            "references": len(found.pairs),
            "judged": sum(not case.missing for case in judged),
            "missing": sum(case.missing for case in judged),
            "failed": len(failures),
            "unmatched_predictions": len(found.unmatched),
        },
        "warnings": _warnings(found, judged, failures, options),
        "cohort": summarise_cohort(judged, options),
        "cases": cases,
        "missing_predictions": list(found.missing),
        "unmatched_predictions": list(found.unmatched),
        "failures": {each.case: {"kind": each.kind, "message": each.message, "hint": each.hint} for each in failures},
    }
    plain: dict[str, Any] = to_plain(document)
    return plain


def _warnings(
    found: Pairing, judged: Sequence[JudgedCase], failures: Sequence[FailedCase], options: JudgeOptions
) -> list[str]:
    warnings = []
    total = len(found.pairs)
    if failures:
        warnings.append(f"{len(failures)} of {total} cases could not be judged and are in no mean; see failures.")
    if found.missing:
        lost = len(found.missing)
        warnings.append(f"{lost} of {total} predictions {_are(lost)} missing: a failure each, and in every mean.")
    if found.unmatched:
        extra = len(found.unmatched)
        warnings.append(f"{_counted(extra, 'prediction')} without a reference {_were(extra)} not judged.")
    values = {value for case in judged for value in case.values}
    if options.labels == "brats" and values == {1}:
        warnings.append(
            "All maps hold only the value 1, which is NETC in BraTS: region ET is empty, TC and WT are the same. "
            "If they are masks of lesions, --labels binary says so."
        )
    unsure = sum("WARNING" in note for case in judged for note in case.notes)
    if unsure:
        warnings.append(f"Readers had {_counted(unsure, 'doubt')} about files; see the notes of the cases.")
    return warnings


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
