"""The sections of profile ``field``: headline numbers, sizes, FROC, volumes, calibration."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from metseg.report.score_text import estimate, number

# Title, columns, rows, note, key.
Parts = tuple[str, Sequence[str], Sequence[Sequence[str]], str, str]
_HEADLINE: Final = {
    "sensitivity_per_lesion": "Sensitivity, per lesion",
    "sensitivity_per_patient": "Sensitivity, mean over patients",
    "patients_all_found": "Patients in whom every lesion was found",
    "ppv": "Positive predictive value",
    "f1": "F1",
    "fp_per_patient": "False components a patient",
    "fp_per_lesion_free_patient": "False components a patient without lesions",
    "specificity_per_patient": "Patients without lesions and without false components",
    "case_dice_mean": "Dice a case, mean",
    "lesion_dice_mean": "Dice a lesion, mean (missed lesions 0)",
    "found_lesion_dice_mean": "Dice a found lesion, mean",
    "found_lesion_hd95_mm_median": "HD95 of a found lesion, median, mm",
    "found_lesion_volume_error_percent_median": "Volume error of a found lesion, median, %",
    "sq": "Panoptic SQ",
    "rq": "Panoptic RQ",
    "pq": "Panoptic PQ",
}


def field_sections(document: Mapping[str, Any]) -> Iterator[Parts]:
    """Sections of profile ``field``; none where it was not asked for."""
    found = document["cohort"].get("field")
    if found is None:
        return
    yield _headline(document, found)
    yield _surfaces(found)
    yield _sizes(found["by_diameter"], "By the reference's diameter, mm", "sensitivity_by_size")
    yield _sizes(found["by_volume"], "By volume, mm³", "")
    yield _volumes(found)
    if found["froc"] is not None:
        yield _froc(document, found["froc"])
    if found["voxel_calibration"] is not None:
        yield _calibration(found)


def matching_rule(document: Mapping[str, Any]) -> str:
    """The declared rule in words: ``"any overlap, many to many"``."""
    rule = document["options"]["field"]["matching"]
    threshold = "" if rule["threshold"] is None else f" ≥ {rule['threshold']:g}"
    return f"{rule['rule']}{threshold}, {rule['assignment']}".replace("_", " ")


def _headline(document: Mapping[str, Any], found: Mapping[str, Any]) -> Parts:
    rows = [(title, estimate(found["numbers"][name]), _n(found["numbers"][name])) for name, title in _HEADLINE.items()]
    counts = found["counts"]
    drawn = document["options"]["field"]["bootstrap"]
    note = (
        f"Lesion is {document['lesion_region']}; matching: {matching_rule(document)}. {counts['lesions']} lesions in "
        f"{counts['cases']} cases of {counts['patients']} patients ({counts['lesion_free_patients']} without lesions); "
        f"{counts['found']} found; {counts['false']} of {counts['components']} components false. Intervals: "
        f"{100 * drawn['level']:g} %, {drawn['resamples']} resamples of patients, seed {drawn['seed']}."
    )
    return "Detection and delineation (profile field)", ("what", "value (interval)", "n"), rows, note, "dice_by_volume"


def _n(found: Mapping[str, Any]) -> str:
    return number(found["n"])


def _surfaces(found: Mapping[str, Any]) -> Parts:
    prefix, suffix = "found_lesion_nsd_border_", "mm_mean"
    names = [name for name in found["numbers"] if name.startswith(prefix) and name.endswith(suffix)]
    groups = [(group, family) for group in ("found_lesion", "lesion") for family in ("border", "element")]
    rows = []
    for tolerance in (name[len(prefix) : -len(suffix)] for name in names):
        keys = [f"{group}_nsd_{family}_{tolerance}mm_mean" for group, family in groups]
        rows.append((f"{tolerance} mm", *(estimate(found["numbers"][key]) for key in keys)))
    columns = ("tolerance", "found, border voxels", "found, surface elements", "all, border voxels", "all, elements")
    note = "Mean over lesions; missed ones count 0 among all. The two families are not comparable: name yours."
    return "Surface Dice of lesions", columns, rows, note, ""


def _sizes(bins: Sequence[Mapping[str, Any]], title: str, key: str) -> Parts:
    components = any(each["components"] is not None for each in bins)
    rows = []
    for each in bins:
        row = [each["label"], f"{each['found']} / {each['lesions']}", estimate(each["sensitivity"])]
        row.append(estimate(each["dice_mean"]))
        if components:
            row += [number(each["false"]), estimate(each["ppv"])]
        rows.append(row)
    columns = ["size", "found / lesions", "sensitivity", "Dice (missed 0)"]
    columns += ["false components", "PPV"] if components else []
    return title, columns, rows, "", key


def _volumes(found: Mapping[str, Any]) -> Parts:
    rows = [
        (
            title,
            number(each["pairs"]),
            estimate(each["bias"], 1),
            f"{estimate(each['lower_limit'], 1)}; {estimate(each['upper_limit'], 1)}",
            estimate(each["concordance"]),
        )
        for title, each in (("found lesions", found["lesion_volume"]), ("cases", found["case_volume"]))
    ]
    columns = ("of", "pairs", "bias, mm³", "limits of agreement, mm³", "Lin's concordance")
    note = "Bland and Altman: prediction minus reference, bias ± 1.96 SD."
    return "Agreement of volumes", columns, rows, note, "bland_altman"


def _froc(document: Mapping[str, Any], curve: Mapping[str, Any]) -> Parts:
    rule = document["options"]["field"]["froc"]
    rows = [
        (
            number(each["rate"], 1),
            estimate(each["sensitivity"]),
            number(each["threshold"]),
            "yes" if each["beyond_curve"] else "no",
        )
        for each in curve["points"]
    ]
    rows.append(("mean", estimate(curve["mean_sensitivity"]), "", ""))
    columns = (f"false components a {rule['per']}", "sensitivity", "threshold", "beyond the curve's end")
    note = f"Read by the rule {rule['interpolation']!r}. Beyond its end the last sensitivity stands."
    return "FROC", columns, rows, note, "froc"


def _calibration(found: Mapping[str, Any]) -> Parts:
    rows = [
        (title, estimate(each["ece"]), estimate(each["mce"]), estimate(each["brier"]))
        for title, each in (("voxels", found["voxel_calibration"]), ("components", found["component_calibration"]))
        if each is not None
    ]
    columns = ("of", "ECE", "largest gap", "Brier score")
    return "Calibration", columns, rows, "Voxels with a probability above the floor only.", "reliability"
