"""NYUMets-Brain (Link et al., Nat Commun 2024): ``imaging/patientId/<P>/studyId/<S>/{T1,CT1,T2,FLAIR,…}.nii.gz``."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import Field

from metseg.datasets.adapters.folders import folders_named, image_named
from metseg.datasets.source import Adapter, FoundSet, LayoutOptions, SourceCase, SourceFile, SourceMask, case_name
from metseg.io.tables import read_table

_FILES: Final = {"t1c": "CT1", "t1n": "T1", "t2f": "FLAIR", "t2w": "T2"}
_TRUE: Final = {"1", "1.0", "true", "yes", "t"}


class NyumetsOptions(LayoutOptions):
    """Which masks count, and the table that tells more."""

    mask: str = Field(default="RTSTRUCT_segmentation", description="name of the masks' files, without suffix")
    metadata: Path | None = Field(
        default=None,
        description="the table of images (CSV): its RelativeTimepoint becomes the time point, and files that it "
        "says are there must be",
    )
    expert_only: bool = Field(default=False, description="only studies that the table calls ExpertAdjusted")


def _find(src: Path, options: NyumetsOptions) -> FoundSet:
    facts = _facts(options.metadata)
    cases = []
    for folder, _ in folders_named(src, r".+"):
        parts = folder.parts
        if len(parts) < 4 or (parts[-2].lower(), parts[-4].lower()) != ("studyid", "patientid"):
            continue
        case = _case(folder, parts[-3], parts[-1], options)
        cases.append(_checked(case, facts, options) if facts is not None else case)
    kept = [case for case in cases if case is not None]
    left = len(cases) - len(kept)
    notes: tuple[str, ...] = ()
    if left:
        notes += (f"{left} studies were left out, which the table does not call ExpertAdjusted.",)
    if options.metadata is None:
        notes += ("No table of images was given (--set metadata=FILE): time points are the studies' names.",)
    return FoundSet(tuple(kept), notes=notes)


def _case(folder: Path, patient: str, study: str, options: NyumetsOptions) -> SourceCase:
    mask = image_named(folder, options.mask)
    return SourceCase(
        name=case_name("nyumets", patient, study),
        patient=patient,
        time_point=study,
        images={s: SourceFile(path) for s, name in _FILES.items() if (path := image_named(folder, name))},
        masks=(SourceMask(SourceFile(mask), {1: 1}),) if mask else (),
        unlabelled=mask is None,
    )


def _facts(path: Path | None) -> dict[tuple[str, str], dict[str, str]] | None:
    if path is None:
        return None
    rows = read_table(path, required=("PatientID", "StudyID"))
    return {(row["PatientID"], row["StudyID"]): row for row in rows}


def _checked(
    case: SourceCase, facts: dict[tuple[str, str], dict[str, str]], options: NyumetsOptions
) -> SourceCase | None:
    """The case with what the table knows of it; None where it is not wanted."""
    row = facts.get((case.patient, case.time_point))
    if row is None:
        return replace(case, problem="The table of images does not name this study.")
    if options.expert_only and row.get("ExpertAdjusted", "").lower() not in _TRUE:
        return None
    told = [name for name in _FILES.values() if row.get(name, "").lower() in _TRUE]
    missing = [name for s, name in _FILES.items() if name in told and s not in case.images]
    problem = f"The table of images promises {', '.join(missing)}, which are not there." if missing else ""
    return replace(case, time_point=row.get("RelativeTimepoint") or case.time_point, problem=problem)


NYUMETS: Final = Adapter(
    name="nyumets",
    title="NYUMets-Brain",
    expects="…/patientId/<PatientID>/studyId/<StudyID>/ with CT1, T1, FLAIR, T2 and RTSTRUCT_segmentation.nii.gz",
    licence="data use agreement",
    access="AWS, bucket nyumets-brain, after agreement",
    find=_find,
    options=NyumetsOptions,
    uncertain=(
        "CT1 is taken for T1 after contrast (not CT).",
        "Masks are expected to hold 0 and 1; another value is refused, and --labels VALUE=1 takes it.",
        "The table's columns: PatientID, StudyID, RelativeTimepoint, ExpertAdjusted, and one for each image.",
        "Studies without a mask are taken as unlabelled.",
    ),
    counts={"patients": 1429},
)
