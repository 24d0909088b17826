"""Numbers and findings in words; the preview and the report say the same."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Final

from metseg.core.grid import Grid
from metseg.core.lesion import KnownLesion, KnownStatus, Lesion, LesionTable, Point
from metseg.core.result import CaseResult
from metseg.core.study import Study
from metseg.lesions.known import count_known
from metseg.lesions.measurable import why_not_measurable

BANNER: Final = "Research software – not for diagnosis or treatment decisions"
CAUTION: Final = (
    "This does not exclude metastases: small or faint lesions, and lesions that differ from those the model has "
    "learned, can be missed."
)
HANGING: Final = "Radiological display: the patient's right is on the left of a picture. Slice numbers count from 0."
SIDES: Final = (
    "Sides are those of the brain's plane of symmetry, which is found from the image; within 5 mm of it a lesion is "
    "midline, and where the plane does not fit the side is not determined. Lobes and other parts are those of the "
    "lesion's centre, by laying the brain onto a template; near a border two are named."
)
ORIGIN: Final = (
    "Coordinates are millimetres to the right, to the front and upwards (RAS+) from the origin of the scan, which can "
    "lie anywhere."
)
MEASURABLE: Final = (
    "Measurable: by size alone, as RANO-BM asks (Lin et al., Lancet Oncol 2015): 10 mm in one axial slice, 5 mm "
    "across, two slices, and twice the slice distance where that is over 5 mm."
)
PLACING: Final = f"Sides are told roughly, from the middle of the head as imaged. {ORIGIN}"
UNMATCHED: Final = (
    "Not found again: nothing that was outlined touches the lesion. It can be there all the same: look at its place. "
    "Volumes and places are those of the earlier visit's mask."
)
_MIDLINE_MM: Final = 10.0
_LONGEST_NAME: Final = 80
_MOST_PLACES: Final = 5
_SIDES: Final = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))


def plain_name(name: str) -> str:
    """A case's name on one line, with nothing in it that turns or hides text, cut where it is very long."""
    shown = "".join(c if unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in name)
    return shown if len(shown) <= _LONGEST_NAME else shown[: _LONGEST_NAME - 1] + "…"


def millilitres(volume_mm3: float) -> str:
    """Volume: ``"0.90 mL"``; three digits below 0.1 mL, where two would say too little."""
    volume_ml = volume_mm3 / 1000
    return f"{volume_ml:.2f} mL" if volume_ml >= 0.0995 else f"{volume_ml:.3f} mL"


def cubic_millimetres(volume_mm3: float) -> str:
    """Volume: ``"905"``, ``"4.5"``."""
    return f"{volume_mm3:.0f}" if volume_mm3 >= 99.5 else f"{volume_mm3:.1f}"


def diameters(lesion: Lesion) -> str:
    """``"14.2 × 9.8 mm"``: longest axial diameter and the one perpendicular to it."""
    return f"{lesion.diameter_mm:.1f} × {lesion.perpendicular_mm:.1f} mm"


def where(lesion: Lesion) -> str:
    """``"left frontal lobe"``, ``"brainstem, midline"``, ``"left, location not determined"``, ``"not determined"``."""
    if lesion.location is None:
        return f"{lesion.side}, location not determined" if lesion.side else "not determined"
    words = lesion.location.words
    if lesion.side in ("left", "right"):
        return f"{lesion.side} {words}"
    return f"{words}, {lesion.side or 'side not determined'}"


def _whereabouts(lesions: LesionTable) -> str:
    """``" Location: 2 left frontal lobe, 1 right cerebellum."``; empty where none was determined."""
    if all(lesion.location is None for lesion in lesions):
        return ""
    if len(lesions) == 1:
        return f" Location: {where(lesions.lesions[0])}."
    known = Counter(where(lesion) for lesion in lesions if lesion.location)
    told = [f"{number} {words}" for words, number in known.most_common(_MOST_PLACES)]
    if others := sum(known.values()) - sum(number for _, number in known.most_common(_MOST_PLACES)):
        told.append(f"{others} elsewhere")
    if unknown := len(lesions) - sum(known.values()):
        told.append(f"{unknown} not determined")
    return f" Location: {'; '.join(told)}."


def slice_name(lesion: Lesion, study: Study) -> str:
    """What the DICOM series calls the lesion's slice: ``"image 17"``, ``"frame 17"``; empty where it has none such."""
    names = study.source.slice_names
    if study.grid.axial_axis != 2 or lesion.slice_number >= len(names):
        return ""
    name = names[lesion.slice_number]
    return f"image {name}" if name.isdigit() else name


def measurable(lesion: Lesion, grid: Grid) -> str:
    """``"yes"``, or ``"no: below 10 mm"``."""
    reason = why_not_measurable(lesion, grid)
    return f"no: {reason}" if reason else "yes"


def place(lesion: KnownLesion, middle_mm: Point) -> str:
    """``"31 mm left, 41 mm posterior, 12 mm superior"`` of a point in the world; ``"near the midline"`` within 1 cm.

    The origin of a scan's coordinates can lie anywhere, even beside the head: sides must be told from the head itself.

    Args:
        lesion: what is placed.
        middle_mm: the middle of the head, RAS+ millimetres.
    """
    x, y, z = (centre - middle for centre, middle in zip(lesion.centre_mm, middle_mm))
    parts = ["near the midline" if abs(x) < _MIDLINE_MM else f"{abs(x):.0f} mm {_SIDES[0][x > 0]}"]
    for distance, sides in zip((y, z), _SIDES[1:]):
        if round(abs(distance)):
            parts.append(f"{abs(distance):.0f} mm {sides[distance > 0]}")
    return ", ".join(parts)


def coordinates(lesion: Lesion | KnownLesion) -> str:
    """``"-23.1, +41.0, +12.4"``: the centre in RAS+ millimetres."""
    return ", ".join(f"{value:+.1f}" for value in lesion.centre_mm)


def confidence(lesion: Lesion) -> str:
    """``"0.93"``, or a dash where there is none."""
    return "–" if lesion.confidence is None else f"{lesion.confidence:.2f}"


def count(lesions: LesionTable) -> str:
    """``"No lesion"``, ``"1 lesion"``, ``"3 lesions"``."""
    return {0: "No lesion", 1: "1 lesion"}.get(len(lesions), f"{len(lesions)} lesions")


def unseen(numbers: Sequence[int]) -> str:
    """Which lesions an overview leaves out, as it shows some slices only; empty where it leaves out none."""
    if not numbers:
        return ""
    lesions = f"lesion{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
    return f"Not on the slices shown: {lesions}."


def impression(lesions: LesionTable) -> str:
    """What was found, in one sentence, and where, in another."""
    if not len(lesions):
        return "No lesion was found at this operating point."
    largest = lesions.lesions[0]
    size = f"{diameters(largest)} ({millilitres(largest.volume_mm3)})"
    if len(lesions) == 1:
        return f"1 lesion was found; it measures {size}.{_whereabouts(lesions)}"
    total = millilitres(lesions.total_volume_mm3)
    found = f"{len(lesions)} lesions were found; the largest measures {size}, all together {total}."
    return found + _whereabouts(lesions)


def guidance(result: CaseResult) -> str:
    """What guided the result and what became of it; empty where nothing did.

    ``"Guided by 3 known lesions of an earlier visit. Found again: 1 of 4. Not found again: 1 (number 2). Wholly or
    partly outside the image, and not judged: 2 (numbers 3, 4)."``
    """
    if result.study.prior is None:
        return ""
    reaching = count_known(result.study.prior)
    told = [f"Guided by {reaching} known lesion{'' if reaching == 1 else 's'} of an earlier visit."]
    statuses = [one.status for one in result.known]
    told.append(f"Found again: {statuses.count('found')} of {len(statuses)}.")
    others: tuple[tuple[KnownStatus, str], ...] = (
        ("not found", "Not found again"), ("outside", "Wholly or partly outside the image, and not judged"),
    )  # fmt: skip
    for status, words in others:
        if numbers := [str(one.id) for one in result.known if one.status == status]:
            told.append(
                f"{words}: {len(numbers)} ({'number' if len(numbers) == 1 else 'numbers'} {', '.join(numbers)})."
            )
    return " ".join(told)


def known_status(known: KnownLesion) -> str:
    """``"not found again"``, ``"outside the image: not judged"``, ``"25 % inside the image: not judged"``."""
    if known.status != "outside":
        return {"found": "found again", "not found": "not found again"}[known.status]
    if known.share_inside == 0:
        return "outside the image: not judged"
    percent = min(max(round(100 * known.share_inside), 1), 99)
    return f"{percent} % inside the image: not judged"


def made_by(result: CaseResult) -> str:
    """``"mets-t1c 1.0.0 · engine openvino · operating point balanced"``."""
    made = result.provenance
    parts = [
        " ".join(str(made.model[key]) for key in ("name", "version") if key in made.model),
        f"engine {made.engine}",
    ]
    if "operating_point" in made.options:
        parts.append(f"operating point {made.options['operating_point']}")
    return " · ".join(part for part in parts if part)
