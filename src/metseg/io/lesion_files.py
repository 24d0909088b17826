"""The lesions of a case as JSON, for programs, and as CSV, for tables."""

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from metseg.core.lesion import KnownLesion, KnownStatus, Lesion, LesionTable
from metseg.io.atomic import write_text

UNITS: Final = {
    "volume_mm3": "mm³",
    "volume_ml": "mL",
    "diameter_mm": "mm, longest in an axial slice",
    "perpendicular_mm": "mm, perpendicular to it in the same slice",
    "diameter_3d_mm": "mm, longest in any direction",
    "centre_mm": "mm, patient space, RAS+ (x to the right, y to the front, z to the head)",
    "centre_ijk": "voxel indices from 0",
    "slice_number": "index from 0 of the slice of diameter_mm",
    "bbox_ijk": "voxel indices: first, and one past the last",
    "confidence": "0 to 1; null where the engine gives none",
    "side": "of the brain: left, right, or midline (within 5 mm of it); null where it was not determined",
    "location": 'part of the brain: one word, or two joined by "or" near their border; null where not determined',
    "location_share": "0 to 1: how likely the lesion's centre lies there; null where not determined",
}
_TRACKING: Final = "tracking_uid"
_UID: Final = re.compile(r"2\.25\.(0|[1-9]\d{0,38})")
_LARGEST_TABLE: Final = 64 * 2**20
_UNITS_OF_KNOWN: Final = {
    "known": "of a lesion: whether it touches one known from an earlier visit",
    "share_inside": "0 to 1: how much of a known lesion lies in the image",
}
_COLUMNS: Final = (
    "id", "volume_mm3", "volume_ml", "diameter_mm", "perpendicular_mm", "diameter_3d_mm", "centre_x_mm", "centre_y_mm",
    "centre_z_mm", "centre_i", "centre_j", "centre_k", "slice_number", "confidence", "bbox_start_i", "bbox_start_j",
    "bbox_start_k", "bbox_stop_i", "bbox_stop_j", "bbox_stop_k", "side",
    "location", "location_share",
)  # fmt: skip


def write_lesions_json(
    path: Path, lesions: LesionTable, case: str, *, known: Sequence[KnownLesion] | None = None
) -> None:
    """Write an object with the case, totals, units, and the list ``lesions``, largest first.

    Where a prior guided the result (``known`` is not None), each lesion says whether it is ``known``, and the object
    what became of the known ones.

    Lengths and volumes are rounded to 0.0001 mm or mm³: far below what can be measured, free of float noise.

    Raises:
        MetsegError: the folder is missing, not writable, or full.
    """
    content = {
        "case": case,
        "n": len(lesions),
        "total_volume_mm3": _rounded(lesions.total_volume_mm3),
        "total_volume_ml": _rounded(lesions.total_volume_mm3 / 1000, 7),
        **({} if known is None else {"known": known_summary(known)}),
        "lesions": [_record(lesion) for lesion in lesions],
        "units": {
            **UNITS,
            **({} if known is None else _UNITS_OF_KNOWN),
            **({_TRACKING: "names a lesion across visits"} if any(one.tracking_uid for one in lesions) else {}),
        },
    }
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_tracking_uids(path: Path) -> dict[int, str]:
    """The tracking UIDs that a table written by ``write_lesions_json`` gives, by lesion; none where it gives none."""
    try:
        if path.stat().st_size > _LARGEST_TABLE:
            return {}
        records = json.loads(path.read_text(encoding="utf-8"))["lesions"]
        return {int(each["id"]): each[_TRACKING] for each in records if _UID.fullmatch(str(each.get(_TRACKING, "")))}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def write_lesions_csv(path: Path, lesions: LesionTable, *, guided: bool = False) -> None:
    """Write a header line and one line a lesion; numbers and words of ours, so that no cell can act as a formula.

    Where a prior guided the result, the last column says whether the lesion is ``known``: 1 or 0.

    Raises:
        MetsegError: the folder is missing, not writable, or full.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_COLUMNS, *(("known",) if guided else ())))
    for lesion in lesions:
        record = _record(lesion)
        start, stop = record["bbox_ijk"]
        scalars = [record[name] for name in _COLUMNS[:6]]
        confidence = "" if lesion.confidence is None else record["confidence"]
        place = [*record["centre_mm"], *record["centre_ijk"], record["slice_number"], confidence]
        where = [*start, *stop, lesion.side or "", *(record[name] or "" for name in _COLUMNS[-2:])]
        writer.writerow([*scalars, *place, *where, *([int(bool(lesion.known))] if guided else [])])
    write_text(path, text.getvalue())


def known_summary(known: Sequence[KnownLesion]) -> dict[str, Any]:
    """How many known lesions there are and were found again, and a record of each other one, as plain data."""
    by_status: dict[KnownStatus, list[KnownLesion]] = {"found": [], "not found": [], "outside": []}
    for one in known:
        by_status[one.status].append(one)
    return {
        "n": len(known),
        "n_found_again": len(by_status["found"]),
        "not_found_again": [_known_record(one) for one in by_status["not found"]],
        "outside_image": [
            {**_known_record(one), "share_inside": _rounded(one.share_inside)} for one in by_status["outside"]
        ],
    }


def _known_record(known: KnownLesion) -> dict[str, Any]:
    centre = [_rounded(x) for x in known.centre_mm]
    return {"id": known.id, "volume_mm3": _rounded(known.volume_mm3), "centre_mm": centre}


def _record(lesion: Lesion) -> dict[str, Any]:
    return {
        "id": lesion.id,
        "volume_mm3": _rounded(lesion.volume_mm3),
        "volume_ml": _rounded(lesion.volume_ml, 7),
        "diameter_mm": _rounded(lesion.diameter_mm),
        "perpendicular_mm": _rounded(lesion.perpendicular_mm),
        "diameter_3d_mm": _rounded(lesion.diameter_3d_mm),
        "centre_mm": [_rounded(x) for x in lesion.centre_mm],
        "centre_ijk": [_rounded(x) for x in lesion.centre_ijk],
        "slice_number": int(lesion.slice_number),
        "bbox_ijk": [[int(n) for n in corner] for corner in lesion.bbox_ijk],
        "confidence": None if lesion.confidence is None else _rounded(lesion.confidence),
        "side": lesion.side,
        "location": None if lesion.location is None else lesion.location.words,
        "location_share": None if lesion.location is None else _rounded(lesion.location.share),
        **({} if lesion.known is None else {"known": lesion.known}),
        **({} if lesion.tracking_uid is None else {"tracking_uid": lesion.tracking_uid}),
    }


def _rounded(value: float, digits: int = 4) -> float:
    """Also turns a negative zero, which a table would show as -0.0, into zero."""
    return round(float(value), digits) + 0.0
