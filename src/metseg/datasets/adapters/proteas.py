"""PROTEAS (Zenodo 17253793): a folder or zip a patient, MRI at several visits, one CT; the one public set with CT."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from metseg.core.errors import ConfigError, MetsegError
from metseg.datasets.label_order import oedema_outshines
from metseg.datasets.source import (
    NOT_RECORDED,
    PRE_TREATMENT,
    Adapter,
    FoundSet,
    LayoutOptions,
    SourceCase,
    SourceFile,
    SourceMask,
    case_name,
)
from metseg.datasets.source_files import read_source_image, read_source_labels
from metseg.io.case_names import shown_name
from metseg.io.folder_walk import is_hidden
from metseg.io.zip_files import checked_entries, open_zip

_PATIENT: Final = re.compile(r"P\d+\w*", re.IGNORECASE)
_IMAGE: Final = re.compile(r"(?:.*/)?brats/([^/]+)/(t1c|t1|t2|fla)\.nii(?:\.gz)?", re.IGNORECASE)
_MASK: Final = re.compile(r"(?:.*/)?tumou?r[ _]segmentation/[^/]*tumou?r_mask_([^/]+?)\.nii(?:\.gz)?", re.IGNORECASE)
_CT: Final = re.compile(r"(?:.*/)?[^/]*_CT\.nii(?:\.gz)?", re.IGNORECASE)
_SEQUENCES: Final = {"t1c": "t1c", "t1": "t1n", "fla": "t2f", "t2": "t2w"}
_LABELS: Final = {"enhancing-2": {1: 1, 2: 3, 3: 2}, "oedema-2": {1: 1, 2: 2, 3: 3}}
# Of the visits that can be asked, so many must agree.
_MAJORITY: Final = 0.8


class ProteasOptions(LayoutOptions):
    """What two readers of the set say differently, and what nobody says."""

    labels: Literal["by-intensity", "enhancing-2", "oedema-2"] = Field(
        default="by-intensity",
        description="whether label 2 is enhancing tumour and 3 oedema, or the other way round; by-intensity: as most "
        "visits' brightness on T1 after contrast says",
    )
    ct_visit: str = Field(default="baseline", description="the visit whose masks go with the CT")


def _find(src: Path, options: ProteasOptions) -> FoundSet:
    cases: list[SourceCase] = []
    for patient, files, problem in _patients(src):
        if problem:
            name = case_name("proteas", patient)
            cases.append(SourceCase(name=name, patient=patient, problem=problem))
        cases += _visits(patient, files, options)
    labels, note = _labels(cases, options)
    masked = (replace(c, masks=tuple(replace(mask, labels=labels) for mask in c.masks)) for c in cases)
    return FoundSet(tuple(masked), notes=(note,) if note else ())


def _patients(src: Path) -> list[tuple[str, dict[str, SourceFile], str]]:
    """Each patient, the files by their names in the patient's folder or zip, and why a zip cannot be read."""
    found = []
    for path in sorted(src.iterdir()):
        patient = path.name[:-4] if path.suffix.lower() == ".zip" else path.name
        if not _PATIENT.fullmatch(patient) or is_hidden(path.name):
            continue
        if path.is_dir():
            files = {p.relative_to(path).as_posix(): SourceFile(p) for p in sorted(path.rglob("*.nii*"))}
            found.append((patient, files, ""))
        elif path.suffix.lower() == ".zip":
            try:
                with open_zip(path) as archive:
                    names = [entry.filename for entry in checked_entries(archive, shown_name(path))]
                honest = sorted(name for name in names if not any(map(is_hidden, name.split("/"))))
                found.append((patient, {name: SourceFile(path, name) for name in honest}, ""))
            except MetsegError as error:
                found.append((patient, {}, error.message))
    return found


def _visits(patient: str, files: Mapping[str, SourceFile], options: ProteasOptions) -> list[SourceCase]:
    images: dict[str, dict[str, SourceFile]] = {}
    masks: dict[str, SourceFile] = {}
    for name, file in files.items():
        if match := _IMAGE.fullmatch(name):
            images.setdefault(match[1], {})[_SEQUENCES[match[2].lower()]] = file
        elif match := _MASK.fullmatch(name):
            masks[match[1]] = file
    ct = [file for name, file in files.items() if _CT.fullmatch(name)]
    if ct and (options.ct_visit in images or options.ct_visit in masks):
        images.setdefault(options.ct_visit, {})["ct"] = ct[0]
    return [
        SourceCase(
            name=case_name("proteas", patient, visit),
            patient=patient,
            time_point=visit,
            images=images.get(visit, {}),
            masks=(SourceMask(masks[visit], {}),) if visit in masks else (),
            problem=f"Several files are its CT: {', '.join(file.path.name for file in ct)}." if len(ct) > 1 else "",
        )
        for visit in sorted({*images, *masks})
    ]


def _labels(cases: list[SourceCase], options: ProteasOptions) -> tuple[Mapping[int, int], str]:
    """What the values mean: as the user says, or as the images do."""
    if options.labels != "by-intensity":
        return _LABELS[options.labels], ""
    votes = [vote for case in cases if (vote := _second_is_brighter(case)) is not None]
    if not votes:
        return {1: 1}, (
            "No visit tells which of the labels 2 and 3 is enhancing tumour; --set labels=enhancing-2 or oedema-2 does."
        )
    share = sum(votes) / len(votes)
    if 1 - _MAJORITY < share < _MAJORITY:
        raise ConfigError(
            f"Label 2 is brighter on T1 after contrast than label 3 in {sum(votes)} of {len(votes)} visits: the images "
            "do not tell which is enhancing tumour.",
            hint="Look at some, and give --set labels=enhancing-2 or --set labels=oedema-2.",
        )
    chosen = "enhancing-2" if share >= _MAJORITY else "oedema-2"
    return _LABELS[chosen], (
        f"Label 2 is brighter on T1 after contrast than label 3 in {sum(votes)} of {len(votes)} visits: labels were "
        f"taken as {chosen}."
    )


def _second_is_brighter(case: SourceCase) -> bool | None:
    """Of one visit; None where it does not tell, or cannot be read (which is told when it is imported)."""
    if case.problem or "t1c" not in case.images or not case.masks:
        return None
    try:
        image, mask = read_source_image(case.images["t1c"]), read_source_labels(case.masks[0].file)
    except MetsegError:
        return None
    if not image.volume.grid.matches(mask.labels.grid):
        return None
    return oedema_outshines(image.volume.array, mask.labels.array)


PROTEAS: Final = Adapter(
    name="proteas",
    title="PROTEAS",
    expects="a folder or zip a patient (P01 …), with BraTS/<visit>/{t1c,t1,fla,t2}, P01_CT and tumor segmentation/",
    licence=NOT_RECORDED,
    access="Zenodo, record 17253793",
    find=_find,
    optional=("ct",),
    scheme=PRE_TREATMENT,
    options=ProteasOptions,
    uncertain=(
        "Two readers of the set disagree on labels 2 and 3: see the option labels.",
        "Which visit the CT belongs to (option ct_visit), and whether it is registered to the MRI: look before use.",
    ),
)
