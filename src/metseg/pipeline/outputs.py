"""The files of one result, written into its folder."""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Final

from metseg.config.options import Format, SegmentOptions
from metseg.core.result import CaseResult
from metseg.core.study import Identity
from metseg.io.atomic import write_bytes, write_text
from metseg.io.lesion_files import write_lesions_csv, write_lesions_json
from metseg.io.nifti import write_nifti
from metseg.io.nifti_header import NiftiCodes
from metseg.lesions.uncertainty import uncertainty
from metseg.pipeline.dicom_objects import Pictures
from metseg.pipeline.dicom_outputs import DICOM_FILES

if TYPE_CHECKING:
    from metseg.report.pictures import CasePictures

_LOG = logging.getLogger(__name__)

FILES: Final[dict[Format, tuple[str, ...]]] = {
    "nifti": ("segmentation.nii.gz", "lesions.nii.gz"),
    "json": ("lesions.json",),
    "csv": ("lesions.csv",),
    "png": ("preview.png",),
    "html": ("report.html",),
    "pdf": ("report.pdf",),
    "probability": ("probability.nii.gz",),
    "uncertainty": ("uncertainty.nii.gz",),
    **{format_: (name,) for format_, name in DICOM_FILES.items()},
}


def file_names(formats: Collection[Format]) -> tuple[str, ...]:
    """Names of all files that these formats give, in the order they are written."""
    return tuple(name for format_, names in FILES.items() if format_ in formats for name in names)


def check_formats(options: SegmentOptions) -> None:
    """Find out before a network runs whether all formats can be written.

    Raises:
        MissingExtraError: one needs something that is not installed.
        ConfigError: the key for pseudonyms is none.
    """
    if options.deidentify_key is not None:
        from metseg.io.deidentify import read_secret

        read_secret(options.deidentify_key)
    if {"pdf", "encapsulated-pdf"} & set(options.formats):
        from metseg.report.pdf import weasyprint

        weasyprint()


def write_outputs(
    result: CaseResult,
    folder: Path,
    formats: Collection[Format],
    *,
    pictures: Pictures,
    identity: Identity | None = None,
) -> list[str]:
    """Write the masks, tables and pictures of a result.

    Pictures that cannot be drawn never cost the masks: their failure is logged and returned.

    Args:
        result: the case.
        folder: where it goes.
        formats: what is written.
        pictures: gives those of the case.
        identity: whose it is, for the report's head; None where nobody asked.

    Returns:
        Warnings, a sentence each.

    Raises:
        MetsegError: a file cannot be written.
    """
    guided = result.study.prior is not None
    _write_images(result, folder, formats)
    if "json" in formats:
        known = result.known if guided else None
        write_lesions_json(folder / "lesions.json", result.lesions, result.study.case, known=known)
    if "csv" in formats:
        write_lesions_csv(folder / "lesions.csv", result.lesions, guided=guided)
    return _write_pictures(result, folder, formats, pictures, identity)


def _write_images(result: CaseResult, folder: Path, formats: Collection[Format]) -> None:
    codes = NiftiCodes.from_headers(result.study.source.headers)
    if "nifti" in formats:
        write_nifti(folder / "segmentation.nii.gz", result.segmentation, codes)
        write_nifti(folder / "lesions.nii.gz", result.instances, codes)
    if result.probability is None:
        return
    if "probability" in formats:
        write_nifti(folder / "probability.nii.gz", result.probability, codes)
    if "uncertainty" in formats:
        write_nifti(folder / "uncertainty.nii.gz", uncertainty(result.probability), codes)


def _write_pictures(
    result: CaseResult, folder: Path, formats: Collection[Format], drawn: Pictures, identity: Identity | None
) -> list[str]:
    if not {"png", "html", "pdf"} & set(formats):
        return []
    try:
        from metseg.report.html import render_report
        from metseg.report.preview import render_preview

        pictures = drawn()
        preview = render_preview(result, pictures=pictures) if "png" in formats else None
        page = render_report(result, pictures=pictures, identity=identity) if "html" in formats else None
        pdf = _pdf(result, pictures, identity) if "pdf" in formats else None
    except Exception as error:  # noqa: BLE001  # whatever a picture trips over, the masks must not be lost with it
        _LOG.warning("drawing the report of %s failed", result.study.case, exc_info=True)
        return [f"The preview and the report could not be drawn ({type(error).__name__}); masks and tables are whole."]
    if preview is not None:
        write_bytes(folder / "preview.png", preview)
    if page is not None:
        write_text(folder / "report.html", page)
    if pdf is not None:
        write_bytes(folder / "report.pdf", pdf)
    return []


def _pdf(result: CaseResult, pictures: "CasePictures", identity: Identity | None) -> bytes:
    from metseg.report.html import render_report
    from metseg.report.pdf import render_pdf

    return render_pdf(render_report(result, mode="print", pictures=pictures, identity=identity))
