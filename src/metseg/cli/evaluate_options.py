"""The options of ``metseg evaluate``, and what becomes of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from metseg.core.errors import ConfigError

if TYPE_CHECKING:
    from metseg.config.evaluation import JudgeOptions

_PAIRING: Final = "Which files belong together"
_LESIONS: Final = "Profiles seed and field"


def _flag(flag: str, metavar: str, what: str) -> Any:
    return typer.Option(flag, metavar=metavar, help=what)


def _pairing(flag: str, metavar: str, what: str) -> Any:
    return typer.Option(flag, metavar=metavar, help=what, rich_help_panel=_PAIRING)


def _lesion(flag: str, metavar: str, what: str) -> Any:
    return typer.Option(flag, metavar=metavar, help=what, rich_help_panel=_LESIONS)


PredArgument = Annotated[Path, typer.Argument(metavar="PRED", help="A label map, or a folder of them.")]
RefArgument = Annotated[Path, typer.Argument(metavar="REF", help="The truth: likewise.")]
MoreArgument = Annotated[list[str] | None, typer.Argument(hidden=True)]
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Write JSON, tables, figures and report here.")
]
ProfileOption = Annotated[
    list[str] | None,
    _flag("--profile", "NAME...", "seed, brats2023, brats2024, brats2025, surface, panoptic, field, or all (default)."),
]
LabelsOption = Annotated[
    str | None, _flag("--labels", "KIND", "brats (default), binary (0 and 1), any (above 0), instances.")
]
MissingOption = Annotated[
    str | None, _flag("--missing", "fail|refuse", "A missing prediction is a failure (default), or stops everything.")
]
ResampleOption = Annotated[
    bool, typer.Option("--resample-reference", help="Bring a reference on another grid to the prediction's.")
]
VariantOption = Annotated[
    str | None,
    _flag("--brats2025-variant", "NAME", "0.0.8 (default), 0.0.10, repository; leaderboard (default), defaults."),
]
JobsOption = Annotated[int, typer.Option("--jobs", min=0, metavar="N", help="Cases at a time; 0 for one a core.")]
DocumentOption = Annotated[bool, typer.Option("--json", help="Print evaluation.json instead of the summary.")]
ReplaceOption = Annotated[bool, typer.Option("--force", help="Replace an older evaluation in FOLDER.")]
PredSuffixOption = Annotated[str | None, _pairing("--pred-suffix", "TEXT", "Names of predictions end so: _pred.")]
RefSuffixOption = Annotated[str | None, _pairing("--ref-suffix", "TEXT", "Names of references end so: _ref.")]
ProbSuffixOption = Annotated[
    str | None, _pairing("--prob-suffix", "TEXT", "Probability maps lie beside predictions, and end so: _prob.")
]
MapOption = Annotated[
    Path | None, _pairing("--map", "CSV", "Columns prediction, reference; or case, patient; or all of them.")
]
PatientOption = Annotated[
    str | None, _pairing("--patient-regex", "RE", "Finds the patient in a case's name: its first group.")
]
RegionOption = Annotated[
    str | None, _lesion("--region", "NAME", "Of BraTS labels, what is lesion: TC (default), WT, ET or RC.")
]
MinVolumeOption = Annotated[
    float | None, _lesion("--min-volume-mm3", "V", "Profile seed: smaller components go (100).")
]
MinVolumeOnOption = Annotated[
    str | None,
    _lesion("--min-volume-on", "SIDE", "Profile seed: from the reference (default), the prediction, or both."),
]
MatchingOption = Annotated[
    str | None, _lesion("--matching", "RULE", "any_overlap (default), dice, iou or centroid; dice=0.1 sets t.")
]
AssignmentOption = Annotated[
    str | None, _lesion("--assignment", "HOW", "many_to_many (default), many_to_one or one_to_one.")
]
BothEmptyOption = Annotated[
    str | None, _lesion("--both-empty", "POLICY", "Cases without lesions: perfect (default) or leave_out.")
]
ResamplesOption = Annotated[int | None, _lesion("--resamples", "N", "Of the bootstrap (2000); 0 for no intervals.")]
SeedOption = Annotated[int | None, _lesion("--seed", "N", "Of the bootstrap (0).")]


def judge_options(
    named: list[str] | None,
    more: list[str] | None,
    *,
    brats2025: str | None,
    seed: dict[str, Any],
    field: dict[str, Any],
    bootstrap: dict[str, Any],
    **flags: Any,
) -> "JudgeOptions":
    """The options of the flags; None where a flag was left out.

    Args:
        named: profiles.
        more: what stands after the two files: ``--profile seed field`` leaves ``field`` among the arguments.
        brats2025: parser, thresholds, or both.
        seed: of profile ``seed``.
        field: of profile ``field``; ``matching`` and ``assignment`` make its rule.
        bootstrap: of both.
        flags: the others, by their names in ``JudgeOptions``.

    Raises:
        ConfigError: a value that is wrong, named with its option.
    """
    from metseg.cli.checked import checked
    from metseg.config.evaluation import JudgeOptions, brats2025_variant, wanted_profiles

    if more and not named:
        raise ConfigError(f"There is one argument too many: {more[0]}.", hint="Give PRED and REF.")
    drawn = _given({"bootstrap": _given(bootstrap)})
    rule = _rule(field.pop("matching"), field.pop("assignment"))
    given = {
        "profiles": wanted_profiles([*(named or ()), *(more or ())]),
        "brats2025": brats2025_variant(brats2025 or ""),
        "seed": {**_given(seed), **drawn},
        "field": {**_given(field), **_given({"matching": rule}), **drawn},
        **_given(flags),
    }
    return checked(JudgeOptions, given, command="evaluate")


def _rule(matching: str | None, assignment: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"assignment": assignment}
    if matching is not None:
        found["rule"], _, threshold = matching.partition("=")
        found["threshold"] = threshold or None
    return _given(found)


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value not in (None, {})}
