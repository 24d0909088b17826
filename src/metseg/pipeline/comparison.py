"""A comparison from start to end: read evaluations, check that they can be compared, compare."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from metseg.core.errors import InputError
from metseg.evaluate.compare import CompareOptions, compare_runs
from metseg.io.atomic import write_bytes, write_text
from metseg.io.case_names import shown_name
from metseg.io.evaluation_file import EVALUATION, evaluation_text, read_evaluation, to_number, to_plain
from metseg.io.evaluation_tables import case_values
from metseg.io.folder_walk import there
from metseg.io.output_folder import unwritable
from metseg.pipeline.segment import library_versions
from metseg.report.comparison_plot import draw_comparison
from metseg.report.comparison_tables import comparison_csv, comparison_latex, comparison_markdown

SCHEMA: Final = "metseg.comparison/1"
NAMES: Final = (
    "comparison.json", "comparison.md", "comparison.csv", "comparison.tex", "comparison.png", "comparison.svg",
)  # fmt: skip
# Few, because each is tested for each pair of runs; the first that a run has of each line.
_DEFAULTS: Final = (
    ("seed.dice",),
    ("field.dice",),
    ("field.f1",),
    ("field.sensitivity",),
    ("field.false",),
    ("brats2023.TC.LesionWise_Score_Dice", "brats2023.lesion.LesionWise_Score_Dice"),
    ("brats2024.TC.LesionWise_Score_Dice", "brats2024.lesion.LesionWise_Score_Dice"),
    ("brats2025.lesionwise_dsc_mean_tc", "brats2025.lesionwise_dsc_mean_lesion"),
)
Facts = Mapping[str, Mapping[str, str | int | float | None]]
# What may differ between evaluations that are compared: neither changes a case's numbers.
_FREE: Final = ("profiles", "missing", "resample_reference")


def compare(runs: Sequence[Path], options: CompareOptions | None = None, facts: Facts | None = None) -> dict[str, Any]:
    """Compare evaluations.

    Args:
        runs: files or folders; ``NAME=PATH`` gives a run another name than its folder's.
        options: what is compared; without metrics a few of each profile are.
        facts: of each run, what else stands in the table: names to text or numbers.

    Returns:
        The comparison as plain data, with the schema's name, versions and options.

    Raises:
        InputError: evaluations that cannot be read, made by other rules, or of other patients; facts of a run that
            is not compared.
        ConfigError: a metric that no run has.
    """
    documents = _documents(runs)
    _check_rules(documents)
    options = options or CompareOptions()
    scores = {name: _scores(document) for name, document in documents.items()}
    if options.metrics is None:
        options = options.model_copy(update={"metrics": _usual(scores)})
    found = compare_runs(scores, _patients(documents), options)
    plain: dict[str, Any] = to_plain(
        {
            "schema": SCHEMA,
            "versions": library_versions(),
            "options": options.model_dump(mode="json"),
            "warnings": _warnings(documents),
            "facts": _known_facts(facts or {}, tuple(documents)),
            "sizes": {name: _sizes(document) for name, document in documents.items()},
            "comparison": found,
        }
    )
    return plain


def write_comparison(document: Mapping[str, Any], out: Path) -> None:
    """Write the comparison as JSON, Markdown, CSV and LaTeX, and the plot as PNG and SVG; each file whole or not.

    Raises:
        MetsegError: a file cannot be written.
    """
    drawn = draw_comparison(document)
    # While the files change, no comparison.json vouches for them.
    try:
        (out / NAMES[0]).unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(out, error) from error
    write_text(out / NAMES[1], comparison_markdown(document))
    write_text(out / NAMES[2], comparison_csv(document))
    write_text(out / NAMES[3], comparison_latex(document))
    write_bytes(out / NAMES[4], drawn.png)
    write_bytes(out / NAMES[5], drawn.svg)
    write_text(out / NAMES[0], evaluation_text(document))


def _known_facts(facts: Facts, runs: Sequence[str]) -> Facts:
    if strange := sorted(set(facts) - set(runs)):
        raise InputError(
            f"There are facts of {strange[0]}, which is not compared.", hint=f"The runs are {', '.join(runs)}."
        )
    return facts


def _sizes(document: Mapping[str, Any]) -> dict[str, Any]:
    """Lesions by size, of a run that was judged by profile ``field``."""
    cohort = document.get("cohort", {}).get("field", {})
    return {name: cohort.get(name, []) for name in ("by_diameter", "by_volume")}


def _documents(runs: Sequence[Path]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        name, path = _named(run)
        if name in found:
            raise InputError(f"Two runs are called {name}.", hint="Name them apart: NAME=RUN.")
        found[name] = read_evaluation(path)
    return found


def _named(run: Path) -> tuple[str, Path]:
    name, equals, path = str(run).partition("=")
    if equals and name and not there(run):
        return shown_name(Path(name)), Path(path)
    file = run.resolve()
    if file.name == EVALUATION:
        file = file.parent
    return shown_name(file).removesuffix(".json"), run


def _check_rules(documents: Mapping[str, Mapping[str, Any]]) -> None:
    (first, known), *others = documents.items()
    for name, document in others:
        for option in known["options"]:
            if option not in _FREE and document["options"].get(option) != known["options"][option]:
                raise InputError(
                    f"The runs {first} and {name} were judged by different rules: option {option} differs.",
                    hint="Evaluate both with the same options.",
                )


def _scores(document: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    return {
        case: {metric: to_number(value) for metric, value in case_values(values).items() if _is_number(value)}
        for case, values in document["cases"].items()
    }


def _is_number(value: Any) -> bool:
    return value is None or to_number(value) is not None


def _usual(scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> tuple[str, ...]:
    """The default metrics that occur."""
    known = {metric for cases in scores.values() for values in cases.values() for metric in values}
    found = [next((metric for metric in line if metric in known), None) for line in _DEFAULTS]
    return tuple(metric for metric in found if metric is not None)


def _patients(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    patients: dict[str, str] = {}
    for name, document in documents.items():
        for case, values in document["cases"].items():
            if patients.setdefault(case, values["patient"]) != values["patient"]:
                raise InputError(
                    f"Case {case} is another patient's in run {name}.",
                    hint="Evaluate all runs with the same --map or --patient-regex.",
                )
    return patients


def _warnings(documents: Mapping[str, Mapping[str, Any]]) -> list[str]:
    warnings = []
    known = {case for document in documents.values() for case in document["cases"]}
    for name, document in documents.items():
        absent = len(known) - len(document["cases"])
        if absent:
            warnings.append(f"Run {name} lacks {absent} of {len(known)} cases; they are left out for every run.")
        if document["missing_predictions"]:
            lost, total = len(document["missing_predictions"]), document["counts"]["references"]
            warnings.append(f"In run {name} {lost} of {total} predictions are missing: a failure each.")
    hashes = [{case: v["input"]["reference_sha256"] for case, v in d["cases"].items()} for d in documents.values()]
    differing = {case for some in hashes for case in some if any(o.get(case, some[case]) != some[case] for o in hashes)}
    if differing:
        warnings.append(f"{len(differing)} cases were judged against references that differ between runs.")
    return warnings
