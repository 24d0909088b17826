"""MOTUM (Harvard Dataverse): ``001-Glioma-AYEY/{flair,t1,t2,t1ce}.nii.gz``, one file a label; many origins."""

from pathlib import Path
from typing import Final

from pydantic import Field

from metseg.datasets.adapters.folders import folders_named, image_named
from metseg.datasets.source import (
    NOT_RECORDED,
    Adapter,
    FoundSet,
    LayoutOptions,
    SourceCase,
    SourceFile,
    SourceMask,
    case_name,
)

_FILES: Final = {"t1c": "t1ce", "t1n": "t1", "t2f": "flair", "t2w": "t2"}


class MotumOptions(LayoutOptions):
    """Which tumours count."""

    category: str = Field(
        default="metasta", description="what the folder's middle word contains, in upper or lower case; empty: any"
    )


def _find(src: Path, options: MotumOptions) -> FoundSet:
    cases, others = [], 0
    for folder, match in folders_named(src, r"(\d+)-(.+)-(\w+)"):
        if options.category.lower() not in match[2].lower():
            others += 1
            continue
        flair, core = image_named(folder, "flair_seg_label1"), image_named(folder, "t1ce_seg_label2")
        # A file's value may be 1 or the number in its name: it is one label either way.
        masks = [SourceMask(SourceFile(flair), {}, other=2)] if flair else []
        masks += [SourceMask(SourceFile(core), {}, other=1)] if core else []
        cases.append(
            SourceCase(
                name=case_name("motum", match[0]),
                patient=match[0],
                images={s: SourceFile(path) for s, name in _FILES.items() if (path := image_named(folder, name))},
                masks=tuple(masks),
                problem="" if core else "It has no t1ce_seg_label2.",
                notes=() if flair else ("It has no flair_seg_label1: no oedema is marked.",),
            )
        )
    note = f"{others} cases were left out: their category does not contain {options.category!r}."
    return FoundSet(tuple(cases), notes=(note,) if others else ())


MOTUM: Final = Adapter(
    name="motum",
    title="MOTUM",
    expects="folders such as 001-Metastasis-ABCD, with t1ce, t1, flair, t2, flair_seg_label1, t1ce_seg_label2",
    licence=NOT_RECORDED,
    access="Harvard Dataverse",
    find=_find,
    scheme={1: "lesion", 2: "surrounding oedema"},
    options=MotumOptions,
    uncertain=(
        "How the folders of metastases are called: see the option category; how many were left out is told.",
        "Masks mean what their names say: marked on t1ce is lesion, marked on FLAIR alone is surrounding oedema.",
    ),
)
