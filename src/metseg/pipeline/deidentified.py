"""A result without the names that it came with, for DICOM objects that shall name nobody."""

from dataclasses import replace
from typing import TYPE_CHECKING

from metseg.config.options import SegmentOptions
from metseg.core.lesion import Lesion, LesionTable
from metseg.core.result import CaseResult
from metseg.io.case_names import shown_name
from metseg.io.discover import CaseInput
from metseg.io.read import read_identity

if TYPE_CHECKING:
    from metseg.io.deidentify import Pseudonyms


def pseudonyms_for(result: CaseResult, case_input: CaseInput, options: SegmentOptions) -> "Pseudonyms":
    """The pseudonyms of a case: the patient's hangs on the ID in the DICOM headers, else on the image itself.

    Raises:
        ConfigError: the key file is none.
    """
    from metseg.io.deidentify import Pseudonyms, read_secret

    patient = read_identity(case_input).patient_id or result.study.source.sha256
    return Pseudonyms(read_secret(options.deidentify_key), patient)


def nameless(result: CaseResult, case_input: CaseInput, names: "Pseudonyms") -> CaseResult:
    """The result under the patient's pseudonym: without the reader's notes, hashes, and names of files."""
    study = result.study
    source = replace(study.source, notes=(), sha256="", paths=(), slice_names=())
    files = [*case_input.files, *(case_input.sequences or {}).values()]
    told = [_without(warning, {shown_name(path) for path in files}) for warning in result.provenance.warnings]
    lesions = LesionTable(tuple(_tracked_anew(lesion, names) for lesion in result.lesions))
    return replace(
        result,
        study=replace(study, case=names.patient, source=source),
        lesions=lesions,
        provenance=replace(result.provenance, warnings=tuple(told)),
    )


def faces(result: CaseResult) -> list[str]:
    """A warning where the images show more than the brain."""
    if result.study.skull_stripped:
        return []
    return [
        "The de-identified images show the head: a face can be recognised in them. Take it off before sharing them."
    ]


def _tracked_anew(lesion: Lesion, names: "Pseudonyms") -> Lesion:
    return lesion if lesion.tracking_uid is None else replace(lesion, tracking_uid=str(names.uid(lesion.tracking_uid)))


def _without(text: str, files: set[str]) -> str:
    for name in sorted(files, key=len, reverse=True):
        text = text.replace(name, "a file")
    return text
