"""Each lesion as the report's table and pictures print it."""

from base64 import b64encode
from dataclasses import dataclass

from PIL import Image

from metseg.core.lesion import Lesion, Point
from metseg.core.result import CaseResult
from metseg.report import sentences
from metseg.report.pictures import CasePictures
from metseg.report.png import encode_png
from metseg.report.style import lesion_colour, lesion_colour_name


@dataclass(frozen=True)
class Picture:
    """An image in the page: its data URI, size in pixels, and what it shows, in words."""

    uri: str
    width: int
    height: int
    alt: str

    @classmethod
    def of(cls, image: Image.Image, alt: str) -> "Picture":
        """An image as PNG in the page."""
        return cls(f"data:image/png;base64,{b64encode(encode_png(image)).decode()}", image.width, image.height, alt)


@dataclass(frozen=True)
class LesionRow:
    """One lesion as the page prints it."""

    id: int
    colour: str
    where: str
    volume: str
    diameters: str
    diameter_3d: str
    coordinates: list[str]
    slice_number: int
    slice_name: str
    confidence: str
    measurable: str
    picture: Picture | None


@dataclass(frozen=True)
class KnownRow:
    """One known lesion as the page prints it."""

    id: int
    status: str
    volume_mm3: str
    place: str
    coordinates: list[str]


def lesion_rows(result: CaseResult, pictures: CasePictures) -> list[LesionRow]:
    """All lesions; those beyond the last key image have no picture."""
    missing = len(result.lesions) - len(pictures.lesions)
    return [_row(result, *each) for each in zip(result.lesions, [*pictures.lesions, *[None] * missing])]


def _row(result: CaseResult, lesion: Lesion, image: Image.Image | None) -> LesionRow:
    alt = (
        f"Lesion {lesion.id}, outlined in {lesion_colour_name(lesion.id)}: axial slice {lesion.slice_number}, "
        "enlarged without and with its outline, and the coronal and sagittal slices through it."
    )
    return LesionRow(
        id=lesion.id,
        colour="#{:02x}{:02x}{:02x}".format(*lesion_colour(lesion.id)),
        where=sentences.where(lesion),
        volume=sentences.millilitres(lesion.volume_mm3),
        diameters=sentences.diameters(lesion),
        diameter_3d=f"{lesion.diameter_3d_mm:.1f} mm",
        coordinates=sentences.coordinates(lesion).split(", "),
        slice_number=lesion.slice_number,
        slice_name=sentences.slice_name(lesion, result.study),
        confidence=sentences.confidence(lesion),
        measurable=sentences.measurable(lesion, result.study.grid),
        picture=Picture.of(image, alt) if image else None,
    )


def unmatched_rows(result: CaseResult, middle_mm: Point) -> list[KnownRow]:
    """The known lesions that were not found again, and those that could not be."""
    return [
        KnownRow(
            id=one.id,
            status=sentences.known_status(one),
            volume_mm3=sentences.cubic_millimetres(one.volume_mm3),
            place=sentences.place(one, middle_mm),
            coordinates=sentences.coordinates(one).split(", "),
        )
        for one in result.known
        if one.status != "found"
    ]
