"""The options of ``metseg segment``: one frozen model, written resolved beside every result."""

from pathlib import Path
from typing import Annotated, Final, Literal, get_args

from pydantic import Field, field_validator, model_validator

from metseg.core.options import Options
from metseg.engines.base import Mode
from metseg.engines.registry import DEFAULT_ENGINE

Format = Literal[
    "nifti", "json", "csv", "png", "html", "pdf", "probability", "uncertainty",
    "dicom-seg", "sr", "rtstruct", "secondary-capture", "encapsulated-pdf",
]  # fmt: skip
Layout = Literal["metseg", "bids", "nnunet"]
SegType = Literal["binary", "labelmap"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
DEFAULT_FORMATS: Final[tuple[Format, ...]] = ("nifti", "json", "csv", "png", "html")


class SegmentOptions(Options):
    """How studies are segmented and what is written.

    Args:
        model: name of a shipped bundle, or the folder of one; None for the engine's default.
        engine: what runs the model.
        threads: processor threads; 0 for as many as there are.
        device: where the engine runs.
        mode: how much work is spent on a study; None for the model's own mode.
        operating_point: name of one of the model's operating points, or a probability in (0, 1); None for the
            model's default.
        min_volume_mm3: lesions smaller than this are dropped; 0 keeps all.
        formats: what is written: ``nifti`` the masks, ``json`` and ``csv`` the lesion table, ``png`` the preview,
            ``html`` the report, ``pdf`` the same as PDF/A, ``probability`` the probability of lesion in image space,
            ``uncertainty`` its entropy in bits; ``dicom-seg``, ``sr``, ``rtstruct``, ``secondary-capture`` and
            ``encapsulated-pdf`` DICOM objects (``sr`` brings the ``dicom-seg`` that it refers to). ``run.json`` is
            always written.
        layout: ``metseg`` a folder a case; ``bids`` and ``nnunet`` also the masks as these want them.
        identify: write the patient's name, id, date of birth and date of study, as DICOM headers say, into the report.
        deidentify: DICOM objects name nobody (PS3.15, Basic Profile) and refer to a series of their own.
        deidentify_key: a file with a secret: with the same one a patient has the same pseudonym at every visit. Without
            one every result has another.
        seg_type: how ``dicom-seg`` is stored: a bit a voxel for each lesion, or one number a voxel.
        margins_mm: for each, ``rtstruct`` also holds every lesion with this margin around it.
        margins_in_brain: margins end where the brain does, where it is known: in images whose skull was taken off.
        force_modality: go on, with a warning, where the image does not look like what the model expects.
    """

    model: Annotated[str, Field(min_length=1)] | None = None
    engine: Annotated[str, Field(min_length=1)] = DEFAULT_ENGINE
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    device: Annotated[str, Field(min_length=1)] = "cpu"
    mode: Mode | None = None
    operating_point: Annotated[str | float | None, Field(union_mode="left_to_right")] = None
    min_volume_mm3: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    formats: tuple[Format, ...] = DEFAULT_FORMATS
    layout: Layout = "metseg"
    identify: bool = False
    deidentify: bool = False
    deidentify_key: Path | None = None
    seg_type: SegType = "binary"
    margins_mm: tuple[Annotated[float, Field(gt=0, le=50, allow_inf_nan=False)], ...] = ()
    margins_in_brain: bool = False
    force_modality: bool = False

    @field_validator("operating_point", mode="before")
    @classmethod
    def _number_or_name(cls, value: object) -> object:
        """``"0.4"`` on the command line and ``0.4`` in a file mean the same; a number must lie inside (0, 1)."""
        try:
            number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
        except ValueError:
            return value
        if number is not None and not 0 < number < 1:
            message = "a probability must lie between 0 and 1, both excluded"
            raise ValueError(message)
        return value if number is None else number

    @field_validator("formats", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        """``"nifti,json"`` becomes a list; names given twice count once, the order is kept."""
        names = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        if isinstance(names, list | tuple):
            if not names:
                message = "at least one format is needed"
                raise ValueError(message)
            needed = ["dicom-seg"] if "sr" in names else []
            return tuple(dict.fromkeys([*names, *needed]))
        return names

    @model_validator(mode="after")
    def _agreed(self) -> "SegmentOptions":
        """Options that exclude or need each other."""
        if self.identify and self.deidentify:
            message = "identify and deidentify exclude each other"
            raise ValueError(message)
        if self.deidentify_key is not None and not self.deidentify:
            message = "deidentify_key needs deidentify"
            raise ValueError(message)
        if self.layout != "metseg" and "nifti" not in self.formats:
            message = f"layout {self.layout} needs the format nifti"
            raise ValueError(message)
        return self

    @field_validator("margins_mm", mode="before")
    @classmethod
    def _margins(cls, value: object) -> object:
        """``"1,2"`` becomes a list; each once, ascending."""
        margins = [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        if isinstance(margins, int | float) and not isinstance(margins, bool):
            margins = [margins]
        try:
            return tuple(sorted({float(one) for one in margins})) if isinstance(margins, list | tuple) else margins
        except (TypeError, ValueError):
            return margins
