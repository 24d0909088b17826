"""What the Markdown summary and the HTML report of an evaluation both say: sections of tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from metseg.report.field_sections import field_sections
from metseg.report.score_text import estimate, number, summary

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """A table with a title.

    Args:
        title: of the section.
        columns: their headings.
        rows: of text, as many cells as there are columns.
        note: what a reader must know to quote the numbers.
        key: names the figures that belong here.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    key: str = ""


_CHALLENGES: Final = (
    ("brats2023", "BraTS-METS 2023", ("LesionWise_Score_Dice", "LesionWise_Score_HD95", "Legacy_Dice", "Legacy_HD95")),
    (
        "brats2024",
        "BraTS-METS 2024",
        ("LesionWise_Score_Dice", "LesionWise_Score_HD95", "LesionWise_Score_NSD @ 0.5", "LesionWise_Score_NSD @ 1.0"),
    ),
)
_SURFACE: Final = (
    ("surface", "Whole regions, surface elements", ("voxel_dice", "nsd_0.5mm", "nsd_1mm", "hd95", "hd100")),
)
_OVER_CASES: Final = (
    "Over cases: mean ± standard deviation; median. Left out: cases in which the number is not defined or infinite."
)
_COLUMNS_2025: Final = (
    "lesionwise_dsc_mean", "lesionwise_nsd_mean", "lesionwise_hd95_mean", "all_instance_f1", "small_instance_f1",
)  # fmt: skip


def headline(document: Document) -> str:
    """How many cases were judged, in a sentence."""
    counts = document["counts"]
    parts = [f"{counts['judged']} of {counts['references']} cases were judged"]
    if counts["missing"]:
        parts.append(f"missing predictions, counted as failures: {counts['missing']}")
    if counts["failed"]:
        parts.append(f"cases that could not be judged, in no mean: {counts['failed']}")
    if counts["unmatched_predictions"]:
        parts.append(f"predictions without a reference: {counts['unmatched_predictions']}")
    return "; ".join(parts) + "."


def sections(document: Document) -> list[Section]:
    """All sections that the evaluation has numbers for, in the order in which they are read."""
    return [
        *(Section(*parts) for parts in field_sections(document)),
        *_seed(document),
        *_by_region(document, _CHALLENGES),
        *_brats2025(document),
        *_by_region(document, _SURFACE),
        *_panoptic(document),
        *_cases(document),
        *_failures(document),
    ]


def _seed(document: Document) -> Iterator[Section]:
    found = document["cohort"].get("seed")
    if found is None:
        return
    rule = document["options"]["seed"]
    sd = found["mean"]["sd"]
    value = estimate(found["mean"]) + ("" if sd is None else f" ± {number(sd)}")
    statuses = ", ".join(f"{status.replace('_', ' ')} {count}" for status, count in found["statuses"].items())
    sides = {"both": "both sides"}.get(rule["min_volume_on"], f"the {rule['min_volume_on']}")
    policy = {"perfect": "count as 1", "leave_out": "are left out"}[rule["both_empty"]]
    yield Section(
        "Dice a case, with a volume rule (profile seed)",
        ("mean (95 % interval) ± SD", "median (95 % interval)", "cases", "patients"),
        [(value, estimate(found["median"]), number(found["cases"]), number(found["patients"]))],
        f"Lesion is {document['lesion_region']}. Components below {rule['min_volume_mm3']:g} mm³ were taken away from "
        f"{sides}; cases then empty on both sides {policy}. Cases: {statuses}.",
    )


def _by_region(document: Document, wanted: Sequence[tuple[str, str, tuple[str, ...]]]) -> Iterator[Section]:
    for key, title, names in wanted:
        regions = document["cohort"].get(key)
        if regions is None:
            continue
        rows = [(region, *(summary(fields[name]) for name in names)) for region, fields in regions.items()]
        yield Section(title, ("region", *names), rows, _OVER_CASES)


def _brats2025(document: Document) -> Iterator[Section]:
    rows = document["cohort"].get("brats2025")
    if rows is None:
        return
    rule = document["options"]["brats2025"]
    regions = dict.fromkeys(name.rpartition("_")[2] for name in rows["mean"])
    lines = [(region, *(_official(rows, f"{name}_{region}") for name in _COLUMNS_2025)) for region in regions]
    yield Section(
        "BraTS-METS 2025",
        ("region", *_COLUMNS_2025),
        lines,
        f"Parser {rule['parser']}, large lesions from {rule['large_mm3']:g} mm³, found from Dice {rule['overlap']:g}. "
        "The official rows below the table: mean ± standard deviation; median. They skip NaN: cases without a large "
        "lesion drop out of lesionwise columns, their false positives with them.",
    )


def _official(rows: Document, column: str) -> str:
    if rows["mean"][column] == "NaN":
        return "not defined in any case"
    spread = "" if rows["std"][column] == "NaN" else f" ± {number(rows['std'][column])}"
    middle = f"; {number(rows['median'][column])}" if "median" in rows else ""
    return f"{number(rows['mean'][column])}{spread}{middle}"


def _panoptic(document: Document) -> Iterator[Section]:
    regions = document["cohort"].get("panoptic")
    if regions is None:
        return
    names = ("rq", "sq", "pq", "sq_dsc", "pq_dsc")
    rows = [
        (region, matcher, *(summary(fields[name]) for name in names))
        for region, matchers in regions.items()
        for matcher, fields in matchers.items()
    ]
    yield Section("Panoptic quality", ("region", "matcher", *names), rows, _OVER_CASES)


def _cases(document: Document) -> Iterator[Section]:
    cases = document["cases"]
    if not cases:
        return
    names = {name: None for case in cases.values() for name in ("seed", "field") if name in case}
    columns = ["case", "patient", "status"]
    columns += ["Dice (seed)"] if "seed" in names else []
    columns += ["Dice (field)", "found / lesions", "false", "F1"] if "field" in names else []
    yield Section("Cases", columns, [_case_row(name, case) for name, case in cases.items()])


def _failures(document: Document) -> Iterator[Section]:
    failures = document["failures"]
    if failures:
        rows = [(case, each["message"], each["hint"]) for case, each in failures.items()]
        yield Section("Cases that could not be judged", ("case", "why", "what to do"), rows)


def _case_row(name: str, case: Mapping[str, Any]) -> list[str]:
    row = [name, case["patient"], case["status"]]
    if "seed" in case:
        row.append(number(case["seed"]["dice"]))
    if "field" in case:
        fields = case["field"]
        found = sum(lesion["found"] for lesion in fields["lesions"])
        row += [number(fields["dice"]), f"{found} / {len(fields['lesions'])}", number(fields["false"])]
        row.append(number(fields["f1"]))
    return row
