"""The BraTS-METS family, which shares one way to name files and one space of patient numbers.

``…/BraTS-MET-XXXXX-YYY/BraTS-MET-XXXXX-YYY-{t1c,t1n,t2f,t2w,seg}.nii.gz``: X is the patient, Y the time point.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from metseg.datasets.adapters.folders import folders_named, image_named, places_of
from metseg.datasets.source import (
    NOT_RECORDED,
    PRE_TREATMENT,
    SAME,
    SUBREGIONS,
    Adapter,
    FoundSet,
    LayoutOptions,
    SourceCase,
    SourceFile,
    SourceMask,
)

_SEQUENCES: Final = ("t1c", "t1n", "t2f", "t2w")
_CORRECTED: Final = "corrected-labels"
_CASE: Final = r"(BraTS-MET-\d+)-(\d+)"
_UCSF: Final = "324 exams of UCSF-BMSR from before treatment are in BraTS-METS 2023 too, under other names"
_PRETREAT: Final = "Pretreat-MetsToBrain-Masks uses the case names of BraTS-METS: the same names are the same exams"
_EDITIONS: Final = "the editions of BraTS-METS share case names"


def _find(src: Path, options: LayoutOptions, *, labels: Mapping[int, int], repairs: Mapping[int, int]) -> FoundSet:  # noqa: ARG001  as adapters are called
    by_case: dict[str, list[Path]] = {}
    corrections: dict[str, Path] = {}
    for folder, match in folders_named(src, _CASE):
        if any(_CORRECTED in part for part in places_of(src, folder)[1:]):
            continue
        by_case.setdefault(match[0], []).append(folder)
    for place, _ in folders_named(src, rf".*{_CORRECTED}.*"):
        corrections |= {path.name.split("-seg.")[0]: path for path in sorted(place.rglob("*-seg.nii*"))}
    cases = [_case(src, name, folders, corrections.get(name)) for name, folders in sorted(by_case.items())]
    return FoundSet(tuple(_with_mask(case, mask, labels, repairs) for case, mask in cases))


def _case(src: Path, name: str, folders: list[Path], correction: Path | None) -> tuple[SourceCase, Path | None]:
    folder = folders[0]
    patient, _, time_point = name.rpartition("-")
    images = {s: SourceFile(path) for s in _SEQUENCES if (path := image_named(folder, f"{name}-{s}"))}
    mask = correction or image_named(folder, f"{name}-seg")
    places = [path.relative_to(src).parent.as_posix() for path in folders]
    return SourceCase(
        name=name,
        patient=patient,
        time_point=time_point,
        images=images,
        unlabelled=any("validation" in part for part in places_of(src, folder)),
        problem=f"It lies in several folders: {', '.join(places)}." if len(folders) > 1 else "",
        notes=("Its mask is the one of the corrected labels.",) if correction else (),
    ), mask


def _with_mask(
    case: SourceCase, mask: Path | None, labels: Mapping[int, int], repairs: Mapping[int, int]
) -> SourceCase:
    if mask is None:
        return case
    own = SourceMask(SourceFile(mask), labels, repairs)
    return replace(case, masks=(own,), unlabelled=False)


_PRE_LABELS: Final = {number: number for number in PRE_TREATMENT}
BRATS_METS_2023: Final = Adapter(
    name="brats-mets-2023",
    title="BraTS-METS 2023",
    expects="folders BraTS-MET-XXXXX-YYY anywhere below, with CASE-{t1c,t1n,t2f,t2w,seg}.nii.gz",
    licence=NOT_RECORDED,
    access="challenge ASNR-MICCAI BraTS 2023, registration needed",
    find=partial(_find, labels=_PRE_LABELS, repairs={}),
    scheme=PRE_TREATMENT,
    overlaps={"ucsf-bmsr": _UCSF, "pretreat-metstobrain": _PRETREAT, "brats-mets-2025": _EDITIONS},
)
BRATS_METS_2025: Final = Adapter(
    name="brats-mets-2025",
    title="BraTS-METS 2025 (Lighthouse) and 2026",
    expects="folders BraTS-MET-XXXXX-YYY anywhere below ('UCSD - Training' too); …-corrected-labels/ wins over -seg",
    licence=NOT_RECORDED,
    access="challenge MICCAI Lighthouse BraTS 2025, registration needed",
    find=partial(_find, labels=SAME, repairs={6: 0, 8: 0}),
    scheme=SUBREGIONS,
    uncertain=(
        "T2-weighted images are missing in some cases: --sequences t1c,t1n,t2f takes those too.",
        "Strays 6 (known in BraTS-MET-01094-002) and 8 (in 01184-002) become background; each repair is reported.",
        "In the folder of corrected labels, any …-seg.nii.gz is taken by its case's name.",
    ),
    overlaps={"ucsf-bmsr": _UCSF, "pretreat-metstobrain": _PRETREAT, "brats-mets-2023": _EDITIONS},
    counts={"labelled": 1296},
)
PRETREAT: Final = Adapter(
    name="pretreat-metstobrain",
    title="Pretreat-MetsToBrain-Masks",
    expects="folders BraTS-MET-XXXXX-000 anywhere below, with CASE-{t1c,t1n,t2f,t2w,seg}.nii.gz",
    licence=NOT_RECORDED,
    access="The Cancer Imaging Archive (TCIA)",
    find=partial(_find, labels=_PRE_LABELS, repairs={}),
    scheme=PRE_TREATMENT,
    overlaps={"brats-mets-2023": _PRETREAT, "brats-mets-2025": _PRETREAT},
    counts={"patients": 200},
)
