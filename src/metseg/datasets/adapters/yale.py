"""Yale-Brain-Mets-Longitudinal (TCIA): ``<patient>/<date>/…_<date>_<time>_{PRE,POST,T2,FLAIR}.nii.gz``, no masks."""

import re
from pathlib import Path
from typing import Final

from metseg.datasets.adapters.folders import all_folders, images_in, told
from metseg.datasets.source import NOT_RECORDED, Adapter, FoundSet, LayoutOptions, SourceCase, SourceFile, case_name
from metseg.io.case_names import stem

_KINDS: Final = {"POST": "t1c", "PRE": "t1n", "FLAIR": "t2f", "T2": "t2w"}
_DATE: Final = re.compile(r"\d{4}-?\d{2}-?\d{2}")


def _find(src: Path, options: LayoutOptions) -> FoundSet:  # noqa: ARG001  as adapters are called
    cases = []
    for folder in all_folders(src):
        if _DATE.fullmatch(folder.name) and images_in(folder):
            cases += _studies(folder)
    return FoundSet(tuple(cases))


def _studies(folder: Path) -> list[SourceCase]:
    """The studies of one day: files that share all of their names but the last word belong together."""
    studies: dict[str, dict[str, list[Path]]] = {}
    for path in images_in(folder):
        start, _, kind = stem(path.name).rpartition("_")
        if kind.upper() in _KINDS:
            studies.setdefault(start, {}).setdefault(_KINDS[kind.upper()], []).append(path)
    patient = folder.parent.name
    cases = []
    for start, files in sorted(studies.items()):
        hour = start.rpartition("_")[2] if len(studies) > 1 else ""
        time_point = f"{folder.name}T{hour}" if hour else folder.name
        twice = [path.name for paths in files.values() if len(paths) > 1 for path in paths]
        cases.append(
            SourceCase(
                name=case_name("yale", patient, time_point),
                patient=patient,
                time_point=time_point,
                images={sequence: SourceFile(paths[0]) for sequence, paths in files.items()},
                unlabelled=True,
                problem=f"Several files are one sequence: {told(twice)}." if twice else "",
            )
        )
    return cases


YALE: Final = Adapter(
    name="yale-longitudinal",
    title="Yale-Brain-Mets-Longitudinal",
    expects="<patient>/<date>/ with …_<date>_<time>_{POST,PRE,FLAIR,T2}.nii.gz; no masks, so all goes to imagesTs",
    licence=NOT_RECORDED,
    access="The Cancer Imaging Archive (TCIA)",
    find=_find,
    uncertain=(
        "How dates are written: YYYY-MM-DD or YYYYMMDD is expected of the folder's name.",
        "Several studies on one day are told apart by the time in their files' names.",
    ),
    counts={"patients": 1430, "unlabelled": 11892},
)
