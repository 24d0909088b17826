"""cases.csv and lesions.csv, from evaluation.json's document."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from metseg.io.tables import csv_text

_BLOCKS: Final = ("brats2023", "brats2024", "brats2025", "surface", "panoptic")
_FIELD: Final = (
    "status", "sensitivity", "ppv", "f1", "dice", "false", "reference_volume_mm3", "prediction_volume_mm3",
)  # fmt: skip
_SEED: Final = ("dice", "status", "reference_volume_mm3", "prediction_volume_mm3")
_SURFACES: Final = ("nsd_border_", "nsd_element_")
_LESION: Final = (
    "kind", "id", "volume_mm3", "diameter_mm", "found", "matched", "matched_volume_mm3", "dice", "hd95_mm",
    "volume_error_mm3", "confidence",
)  # fmt: skip


def case_values(case: Mapping[str, Any]) -> dict[str, Any]:
    """All numbers of a case in one row, by names such as ``brats2023.TC.LesionWise_Score_Dice``.

    Lists (lesions) and the raw blocks behind the official rows are left out.
    """
    row: dict[str, Any] = {}
    for profile, names in (("seed", _SEED), ("field", _FIELD)):
        if profile in case:
            row |= {f"{profile}.{name}": case[profile][name] for name in names}
    if "field" in case:
        fields = case["field"]
        row["field.lesions"] = len(fields["lesions"])
        row["field.found"] = sum(lesion["found"] for lesion in fields["lesions"])
        row["field.components"] = len(fields["components"])
    for block in _BLOCKS:
        row |= dict(_flat(case.get(block, {}), block))
    return row


def _flat(block: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in block.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}.{name}")
        else:
            yield f"{prefix}.{name}", value


def cases_csv(document: Mapping[str, Any]) -> str:
    """One line a case that was judged: its name, its patient, its status and all its numbers."""
    rows = [
        {"case": name, "patient": case["patient"], "status": case["status"], **case_values(case)}
        for name, case in document["cases"].items()
    ]
    columns = dict.fromkeys(column for row in rows for column in row)
    return csv_text(list(columns or ("case", "patient", "status")), rows)


def lesions_csv(document: Mapping[str, Any]) -> str:
    """One line a lesion of the reference, then one a false component, case by case; empty without profile ``field``."""
    rows = [row for name, case in document["cases"].items() if "field" in case for row in _lesion_rows(name, case)]
    if not any("field" in case for case in document["cases"].values()):
        return ""
    surfaces = dict.fromkeys(column for row in rows for column in row if column.startswith(_SURFACES))
    return csv_text(["case", "patient", *_LESION, *surfaces], rows)


def _lesion_rows(name: str, case: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    fields = case["field"]
    own = {"case": name, "patient": case["patient"]}
    for lesion in fields["lesions"]:
        surfaces = {
            f"{family}_{tolerance}mm": value
            for family in ("nsd_border", "nsd_element")
            for tolerance, value in lesion[family].items()
        }
        matched = " ".join(map(str, lesion["matched"]))
        yield {**own, "kind": "lesion", **lesion, **surfaces, "matched": matched}
    for component in fields["components"]:
        if component["false"]:
            yield {**own, "kind": "false component", **component, "matched": ""}
