"""UCSF-BMSR 1.3 (Rudie et al., Radiol Artif Intell 2024): ``<id>/<id>_{T1pre,T1post,FLAIR,…}.nii.gz``."""

from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from metseg.datasets.adapters.folders import folders_named, image_named, places_of
from metseg.datasets.source import (
    LESION,
    PRE_TREATMENT,
    Adapter,
    FoundSet,
    LayoutOptions,
    SourceCase,
    SourceFile,
    SourceMask,
    case_name,
)

# T2Synth is no measured image, so t2w is there only for those who ask for it; the subtraction is left out.
_FILES: Final = {"t1c": "T1post", "t1n": "T1pre", "t2f": "FLAIR", "t2w": "T2Synth"}


class UcsfOptions(LayoutOptions):
    """How UCSF-BMSR is taken."""

    mask: Literal["seg", "BraTS-seg"] = Field(
        default="seg", description="seg: enhancing lesion; BraTS-seg: sub-regions, which some cases lack"
    )
    geometry: Literal["mask", "own"] = Field(
        default="mask",
        description="of images with as many and as large voxels as the mask, whose headers put them elsewhere",
    )


def _find(src: Path, options: UcsfOptions) -> FoundSet:
    labels = {1: 1} if options.mask == "seg" else {number: number for number in PRE_TREATMENT}
    cases = []
    for folder, match in folders_named(src, r"(\d{6})([A-Z])"):
        name = match[0]
        images = {s: SourceFile(p) for s, kind in _FILES.items() if (p := image_named(folder, f"{name}_{kind}"))}
        mask = image_named(folder, f"{name}_{options.mask}")
        cases.append(
            SourceCase(
                name=case_name("ucsf-bmsr", match[1], match[2]),
                patient=match[1],
                time_point=match[2],
                images=images,
                masks=(SourceMask(SourceFile(mask), labels),) if mask else (),
                unlabelled=any("_test" in part for part in places_of(src, folder)),
                geometry_of_mask=options.geometry == "mask",
            )
        )
    return FoundSet(tuple(cases), LESION if options.mask == "seg" else PRE_TREATMENT)


UCSF_BMSR: Final = Adapter(
    name="ucsf-bmsr",
    title="UCSF-BMSR 1.3",
    expects="folders such as 100101A (patient, time point) anywhere below, with <id>_{T1post,T1pre,FLAIR,seg}.nii.gz",
    licence="non-commercial use only",
    access="University of California San Francisco, after registration",
    find=_find,
    sequences=("t1c", "t1n", "t2f"),
    optional=("t2w",),
    options=UcsfOptions,
    uncertain=(
        "Headers differ in some cases: images with the mask's voxels take its geometry, and it is reported.",
        "t2w is T2Synth, by its name no measured image: it is taken only if --sequences names it.",
    ),
    overlaps={
        "brats-mets-2023": "324 exams from before treatment are in BraTS-METS 2023 too, under other names",
        "brats-mets-2025": "exams from before treatment came into BraTS-METS 2023, which 2025 contains",
    },
    counts={"labelled": 461},
)
