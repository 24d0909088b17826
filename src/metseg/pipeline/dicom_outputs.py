"""The DICOM files of one result. What one of them cannot be made of costs none of the others."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from metseg.config.options import Format, SegmentOptions
from metseg.core.errors import InputError, MetsegError
from metseg.core.result import CaseResult
from metseg.io.atomic import write_bytes
from metseg.io.discover import CaseInput

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from metseg.io.dicom_reference import Reference

_LOG = logging.getLogger(__name__)

DICOM_FILES: Final[dict[Format, str]] = {
    "dicom-seg": "seg.dcm",
    "sr": "sr.dcm",
    "rtstruct": "rtstruct.dcm",
    "secondary-capture": "montage.dcm",
    "encapsulated-pdf": "report.dcm",
}
_OF_LESIONS: Final = ("dicom-seg", "sr", "rtstruct")
_IMAGE: Final = "image_{:04d}.dcm"


@dataclass
class DicomWritten:
    """What was written, and what there is to say about the rest, a sentence or two each."""

    names: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def write_dicom(result: CaseResult, case_input: CaseInput, folder: Path, options: SegmentOptions) -> DicomWritten:
    """Write the DICOM formats that are asked for.

    They refer to the DICOM series that was segmented; where the image was no DICOM, to a series made of it, which is
    written beside them.

    Raises:
        MetsegError: a file cannot be written.
    """
    wanted = [name for name in DICOM_FILES if name in options.formats]
    written = DicomWritten()
    if not len(result.lesions) and set(wanted) & set(_OF_LESIONS):
        left_out = ", ".join(DICOM_FILES[name] for name in wanted if name in _OF_LESIONS)
        written.warnings.append(f"No lesion was found, so there is nothing that {left_out} could hold.")
        wanted = [name for name in wanted if name not in _OF_LESIONS]
    if not wanted:
        return written
    from metseg.io.dicom_values import quiet

    encoded: dict[str, bytes] = {}
    images: tuple[Dataset, ...] = ()
    with quiet(), _told(written, "The DICOM results"):
        reference, images = _reference(result, case_input)
        made = _make(result, reference, options, wanted, written)
        encoded = {name: _encoded(dataset) for name, dataset in made.items()}
    if not encoded:
        return written
    for name, content in encoded.items():
        write_bytes(folder / name, content)
    for number, image in enumerate(images, 1):
        write_bytes(folder / _IMAGE.format(number), _encoded(image))
    written.names += [*encoded, *(_IMAGE.format(number) for number in range(1, len(images) + 1))]
    return written


def _reference(result: CaseResult, case_input: CaseInput) -> "tuple[Reference, tuple[Dataset, ...]]":
    """What results refer to, and the images that have to be written for that."""
    from metseg.io.derived_series import derive_series
    from metseg.io.read import read_dicom_reference

    study = result.study
    if study.source.format != "dicom":
        image = next(iter(study.images.values()))
        derived = derive_series(image, study.modality, study.source.sha256)
        return derived.reference, derived.images
    reference = read_dicom_reference(case_input, next(iter(study.images)), study.modality)
    if not reference.grid.matches(study.grid):
        raise InputError("The DICOM files changed while they were worked on.", hint="Run again.")
    return reference, ()


def _make(
    result: CaseResult, reference: "Reference", options: SegmentOptions, wanted: list[Format], written: DicomWritten
) -> "dict[str, Dataset]":
    """The objects by file name; those that could not be made are told of in ``written``."""
    from metseg.io.dicom_seg import make_seg
    from metseg.io.dicom_sr import make_sr
    from metseg.io.encapsulated_pdf import make_pdf_object
    from metseg.io.rt_regions import make_regions
    from metseg.io.rtstruct import make_rtstruct
    from metseg.io.secondary_capture import make_capture

    now = datetime.now()  # noqa: DTZ005 - DICOM's dates and times are local
    instances = reference.carry(result.instances.array)
    lesions, model = result.lesions, (str(result.provenance.model["name"]), str(result.provenance.model["version"]))
    made: dict[str, Dataset] = {}

    def rtstruct() -> "Dataset":
        brain = _brain(result, options, written)
        within = None if brain is None else reference.carry(brain)
        regions = make_regions(instances, reference, options.margins_mm, within)
        return make_rtstruct(regions, reference, " ".join(model), now)

    def capture() -> "Dataset":
        from metseg.report.preview import draw_capture

        return make_capture(np.array(draw_capture(result).convert("RGB")), reference, now)

    def report() -> "Dataset":
        from metseg.report.html import render_report
        from metseg.report.pdf import render_pdf

        return make_pdf_object(render_pdf(render_report(result, mode="print")), reference, now)

    makers: dict[Format, Callable[[], Dataset]] = {
        "dicom-seg": lambda: make_seg(instances, lesions, reference, model, now, options.seg_type),
        "sr": lambda: make_sr(made["seg.dcm"], instances, lesions, reference, model, now),
        "rtstruct": rtstruct,
        "secondary-capture": capture,
        "encapsulated-pdf": report,
    }
    for name in wanted:
        if name == "sr" and "seg.dcm" not in made:
            written.warnings.append("sr.dcm was not made, as there is no segmentation that it could refer to.")
            continue
        with _told(written, DICOM_FILES[name]):
            made[DICOM_FILES[name]] = makers[name]()
    return made


def _brain(result: CaseResult, options: SegmentOptions, written: DicomWritten) -> NDArray[np.bool_] | None:
    """Where margins may go, if that is limited: what is not empty in an image whose skull was taken off."""
    if not (options.margins_mm and options.margins_in_brain):
        return None
    if not result.study.skull_stripped:
        written.warnings.append("Margins were not cut at the brain's edge, as the skull is in the image.")
        return None
    return np.asarray(np.any([image.array != 0 for image in result.study.images.values()], axis=0))


@contextmanager
def _told(written: DicomWritten, what: str) -> Iterator[None]:
    """An error becomes a sentence; what foreign ones say is kept out, as it may quote a header."""
    try:
        yield
    except MetsegError as error:
        written.warnings.append(f"{what} could not be made: {error.message} {error.hint}".strip())
    except Exception as error:  # noqa: BLE001  # whatever goes wrong here, the masks must not be lost with it
        _LOG.warning("%s could not be made (%s)", what, type(error).__name__)
        written.warnings.append(f"{what} could not be made ({type(error).__name__}); the other files are whole.")


def _encoded(dataset: "Dataset") -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
