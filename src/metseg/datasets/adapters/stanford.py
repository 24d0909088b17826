"""Stanford BrainMetShare (Grøvik et al., JMRI 2020), as PNG slices and as NIfTI."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from metseg.datasets.adapters.folders import folders_named, image_named
from metseg.datasets.source import (
    NOT_RECORDED,
    Adapter,
    FoundSet,
    LayoutOptions,
    PngSlices,
    SourceCase,
    SourceFile,
    SourceMask,
    case_name,
)

_ACCESS: Final = "Stanford AIMI, after registration"
_CASE: Final = r"Mets_\d+\w*"
_PNG: Final = {"t1c": "0", "t1n": "1", "t1c-se": "2", "t2f": "3"}
_NIFTI: Final = {"t1c": "bravo", "t1n": "t1_pre", "t1c-se": "t1_gd", "t2f": "flair"}
Text3 = Annotated[
    tuple[float, float, float],
    BeforeValidator(lambda text: tuple(text.split(",")) if isinstance(text, str) else text),
]


class StanfordOptions(LayoutOptions):
    """Which of the two T1 after contrast is taken."""

    t1c: str = Field(
        default="gradient-echo",
        pattern="^(gradient-echo|spin-echo)$",
        description="the T1 after contrast: gradient-echo (BRAVO, folder 0) or spin-echo (t1_gd, folder 2)",
    )


class StanfordPngOptions(StanfordOptions):
    """What PNG slices do not say of themselves."""

    spacing_mm: Text3 = Field(default=(0.94, 0.94, 1.0), description="between columns, rows and slices")
    axes: str = Field(
        default="LPS",
        pattern="^[LRPAIS]{3}$",
        description="where columns, rows and slices run to (LPS: to the left, to the back, upwards)",
    )


def _find(
    src: Path, options: StanfordOptions, names: Mapping[str, str], file_of: Callable[[Path, str], SourceFile | None]
) -> FoundSet:
    names = {**names, "t1c": names["t1c-se"] if options.t1c == "spin-echo" else names["t1c"]}
    cases = []
    for folder, _ in folders_named(src, _CASE):
        images = {s: file for s in ("t1c", "t1n", "t2f") if (file := file_of(folder, names[s]))}
        mask = file_of(folder, "seg")
        part = "/".join(folder.relative_to(src).parts[:-1]) or src.resolve().name
        labels = {255: 1} if mask is not None and mask.slices else {1: 1}
        cases.append(
            SourceCase(
                name=case_name("stanford", folder.name),
                patient=folder.name,
                images=images,
                masks=(SourceMask(mask, labels),) if mask else (),
                unlabelled=mask is None and re.search(r"(^|[/_-])test", part.lower()) is not None,
            )
        )
    return FoundSet(tuple(cases))


def _find_png(src: Path, options: StanfordPngOptions) -> FoundSet:
    slices = PngSlices(options.spacing_mm, options.axes)

    def slices_in(folder: Path, name: str) -> SourceFile | None:
        return SourceFile(folder / name, slices=slices) if any((folder / name).glob("*.png")) else None

    found = _find(src, options, _PNG, slices_in)
    sizes = "×".join(f"{s:g}" for s in options.spacing_mm)
    note = f"PNG slices carry no geometry: voxels of {sizes} mm and axes {options.axes} were taken as given."
    return FoundSet(found.cases, notes=(note,))


def _find_nifti(src: Path, options: StanfordOptions) -> FoundSet:
    def image_in(folder: Path, name: str) -> SourceFile | None:
        path = image_named(folder, name)
        return None if path is None else SourceFile(path)

    return _find(src, options, _NIFTI, image_in)


STANFORD_PNG: Final = Adapter(
    name="stanford-png",
    title="Stanford BrainMetShare, PNG slices",
    expects="folders Mets_XXX anywhere below, each with 0/, 1/, 2/, 3/ and seg/ of NNN.png",
    licence=NOT_RECORDED,
    access=_ACCESS,
    find=_find_png,
    sequences=("t1c", "t1n", "t2f"),
    options=StanfordPngOptions,
    uncertain=(
        "Voxel sizes are not in the files: 0.94×0.94×1.0 mm comes from code that reads the set.",
        "The orientation is not in the files either: look at one case, left and right included, before you use axes.",
    ),
    overlaps={"stanford-nifti": "the same patients in another format; voxels need not be equal"},
    counts={"labelled": 105, "unlabelled": 51},
)
STANFORD_NIFTI: Final = Adapter(
    name="stanford-nifti",
    title="Stanford BrainMetShare, NIfTI",
    expects="folders Mets_XXX anywhere below, each with bravo, t1_pre, t1_gd, flair and seg.nii.gz",
    licence=NOT_RECORDED,
    access=_ACCESS,
    find=_find_nifti,
    sequences=("t1c", "t1n", "t2f"),
    options=StanfordOptions,
    uncertain=("Masks are expected to hold 0 and 1; another value is refused, and --labels VALUE=1 takes it.",),
    overlaps={"stanford-png": "the same patients in another format; voxels need not be equal"},
    counts={"labelled": 105, "unlabelled": 51},
)
