"""MOLAB / OpenBTAI-METS (Ocaña-Tienda et al., Sci Data 2023;10:208): a folder a patient, img and msk files in it."""

import re
from pathlib import Path
from typing import Final

from pydantic import Field

from metseg.datasets.adapters.folders import first_group, folders_named, images_in, told
from metseg.datasets.source import Adapter, FoundSet, LayoutOptions, SourceCase, SourceFile, SourceMask, case_name
from metseg.io.case_names import stem


class OpenbtaiOptions(LayoutOptions):
    """How files find each other, and their time points."""

    patient_folder: str = Field(default=r"\d{6}", description="pattern of the whole name of a patient's folder")
    image: str = Field(default="img", description="what names of images contain, in upper or lower case")
    mask: str = Field(default="msk", description="what names of masks contain")
    time_point: str = Field(
        default="",
        description="pattern that finds the time point in an image's name less the patient; empty: what is left of the "
        "name without the words for image and mask too",
    )


def _find(src: Path, options: OpenbtaiOptions) -> FoundSet:
    cases: list[SourceCase] = []
    for folder, match in folders_named(src, options.patient_folder):
        cases += _cases_of(folder, match[0], options)
    return FoundSet(tuple(cases))


def _cases_of(folder: Path, patient: str, options: OpenbtaiOptions) -> list[SourceCase]:
    images, masks = (
        [p for p in images_in(folder) if w.lower() in p.name.lower()] for w in (options.image, options.mask)
    )
    by_rest = {_rest(path, patient, options): path for path in masks}
    rests = [_rest(path, patient, options) for path in images]
    notes: tuple[str, ...] = ()
    if set(rests) != set(by_rest) or len(set(rests)) < len(images):
        if len(images) != len(masks):
            return [
                SourceCase(
                    name=case_name("openbtai", patient),
                    patient=patient,
                    problem=f"{len(images)} images and {len(masks)} masks do not pair: "
                    f"{told([p.name for p in (*images, *masks)])}.",
                )
            ]
        by_rest = dict(zip(rests, masks)) if len(set(rests)) == len(rests) else {}
        notes = ("Names of images and masks differ in more than those words: they were paired in sorted order.",)
    return [
        _case(patient, _time_point(image, patient, rest, options), image, mask, notes)
        for image, rest, mask in zip(images, rests, [by_rest[r] for r in rests] if by_rest else masks)
    ]


def _case(patient: str, time_point: str, image: Path, mask: Path, notes: tuple[str, ...]) -> SourceCase:
    return SourceCase(
        name=case_name("openbtai", patient, time_point),
        patient=patient,
        time_point=time_point,
        images={"t1c": SourceFile(image)},
        masks=(SourceMask(SourceFile(mask), {}, other=1),),
        problem="" if time_point else f"No time point in the name {image.name}.",
        notes=notes,
    )


def _rest(path: Path, patient: str, options: OpenbtaiOptions) -> str:
    text = stem(path.name).replace(patient, "")
    text = re.sub(f"{re.escape(options.image)}|{re.escape(options.mask)}", "", text, flags=re.IGNORECASE)
    return "-".join(re.findall(r"[A-Za-z0-9]+", text))


def _time_point(image: Path, patient: str, rest: str, options: OpenbtaiOptions) -> str:
    return first_group(options.time_point, stem(image.name).replace(patient, "")) if options.time_point else rest


OPENBTAI_METS: Final = Adapter(
    name="openbtai-mets",
    title="MOLAB / OpenBTAI-METS (Ocaña-Tienda 2023)",
    expects="a folder a patient (040102/), with plain .nii files whose names contain img and msk",
    licence="CC BY 4.0",
    access="figshare, 10.6084/m9.figshare.20579541",
    find=_find,
    sequences=("t1c",),
    options=OpenbtaiOptions,
    uncertain=(
        "How names tell the time point: see the option time_point; a name that tells none is listed.",
        "Which values masks hold: all above 0 count as lesion; --labels 1=1,2=0 takes some (OpenBTAI_RADIOMICS.xlsx).",
        "Images and masks of one visit lie on different grids in some cases: the mask is brought to the image.",
    ),
    counts={"patients": 75, "labelled": 593},
)
