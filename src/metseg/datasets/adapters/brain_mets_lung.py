"""Brain-Mets-Lung-MRI-Path-Segs (TCIA): ``<YG_…>/…t1ce_img….nii.gz`` with masks of the core and of the whole."""

from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from metseg.datasets.adapters.folders import folders_named, images_in, told
from metseg.datasets.source import (
    LESION,
    NOT_RECORDED,
    Adapter,
    FoundSet,
    LayoutOptions,
    SourceCase,
    SourceFile,
    SourceMask,
    case_name,
)

_CORE_AND_OEDEMA: Final = {1: "lesion", 2: "surrounding oedema"}


class LungOptions(LayoutOptions):
    """What names contain, and which masks count."""

    patient_folder: str = Field(default=r"YG_\w+", description="pattern of the whole name of a patient's folder")
    t1c: str = Field(default="t1ce_img", description="what the name of the T1 after contrast contains")
    t2f: str = Field(default="flair_img", description="what the name of the FLAIR contains")
    core: str = Field(default="core_seg", description="what the name of the core's mask contains")
    whole: str = Field(default="whole_seg", description="what the name of the whole lesion's mask contains")
    masks: Literal["core", "core+whole"] = Field(
        default="core", description="core+whole: what is whole but not core becomes surrounding oedema, label 2"
    )


def _find(src: Path, options: LungOptions) -> FoundSet:
    cases = [_case(folder, options) for folder, _ in folders_named(src, options.patient_folder) if images_in(folder)]
    return FoundSet(tuple(cases), LESION if options.masks == "core" else _CORE_AND_OEDEMA)


def _case(folder: Path, options: LungOptions) -> SourceCase:
    found = {kind: _containing(folder, getattr(options, kind)) for kind in ("t1c", "t2f", "core", "whole")}
    twice = [path.name for paths in found.values() if len(paths) > 1 for path in paths]
    one = {kind: SourceFile(paths[0]) for kind, paths in found.items() if paths}
    masks = [SourceMask(one["whole"], {1: 2})] if options.masks != "core" and "whole" in one else []
    masks += [SourceMask(one["core"], {1: 1})] if "core" in one else []
    problem = f"Several files fit one pattern: {told(twice)}." if twice else ""
    if not problem and options.masks != "core" and len(masks) != 2:
        problem = f"It lacks a mask whose name contains {options.core} or {options.whole}."
    return SourceCase(
        name=case_name("brain-mets-lung", folder.name),
        patient=folder.name,
        images={kind: one[kind] for kind in ("t1c", "t2f") if kind in one},
        masks=tuple(masks),
        problem=problem,
    )


def _containing(folder: Path, word: str) -> list[Path]:
    return [path for path in images_in(folder) if word.lower() in path.name.lower()]


BRAIN_METS_LUNG: Final = Adapter(
    name="brain-mets-lung",
    title="Brain-Mets-Lung-MRI-Path-Segs",
    expects="a folder a patient (YG_…), with …t1ce_img….nii.gz, …core_seg….nii.gz, and FLAIR and whole_seg",
    licence=NOT_RECORDED,
    access="The Cancer Imaging Archive (TCIA)",
    find=_find,
    sequences=("t1c",),
    optional=("t2f",),
    options=LungOptions,
    uncertain=(
        "How the FLAIR and the mask of the whole lesion are named: options t2f and whole.",
        "Masks may lie on another grid than the images: they are brought to it, and reported.",
    ),
    counts={"patients": 103},
)
