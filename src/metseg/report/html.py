"""The report: one HTML file that needs nothing else, neither network nor scripts."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from PIL import Image

from metseg.core.errors import ConfigError
from metseg.core.lesion import Lesion, Point
from metseg.core.result import CaseResult
from metseg.report import sentences
from metseg.report.contrast import display_sequence
from metseg.report.page import flat, page_template
from metseg.report.pictures import CasePictures, draw_pictures
from metseg.report.png import encode_png
from metseg.report.style import lesion_colour, lesion_colour_name

Mode = Literal["screen", "print"]
_MODES: Final = ("screen", "print")
_SEQUENCE_NAMES: Final = {
    "t1c": "T1 after contrast",
    "t1n": "T1 without contrast",
    "t2f": "T2 FLAIR",
    "t2w": "T2",
    "ct": "CT",
}


@dataclass(frozen=True)
class _Picture:
    """An image in the page: its data URI, size in pixels, and what it shows, in words."""

    uri: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class _Row:
    """One lesion as the page prints it."""

    id: int
    colour: str
    volume_mm3: str
    volume: str
    diameters: str
    diameter_3d: str
    place: str
    coordinates: list[str]
    slice_number: int
    box: list[str]
    confidence: str
    picture: _Picture | None


@dataclass(frozen=True)
class _KnownRow:
    """One known lesion as the page prints it."""

    id: int
    status: str
    volume_mm3: str
    place: str
    coordinates: list[str]


def render_report(result: CaseResult, *, mode: Mode = "screen", pictures: CasePictures | None = None) -> str:
    """The report of a case.

    Everything that comes from outside (names, notes, warnings, options) is escaped; the page holds no script, loads
    nothing, and holds no patient data beyond what the user wrote into the name of the case.

    Args:
        result: the case.
        mode: ``"screen"``, a page that also prints well, or ``"print"``, laid out as A4 from the start (for PDF).
        pictures: of the same case, where they are drawn already.

    Returns:
        A whole HTML5 document. The same result gives the same text.

    Raises:
        ConfigError: an unknown mode.
    """
    if mode not in _MODES:
        raise ConfigError(f"There is no report mode called {mode!r}.", hint=f"Known: {', '.join(_MODES)}.")
    pictures = pictures or draw_pictures(result)
    rows = [_row(each, picture, pictures.middle_mm) for each, picture in _paired(result, pictures)]
    return page_template("report.html.j2").render(
        mode=mode,
        case=sentences.plain_name(result.study.case),
        banner=sentences.BANNER,
        impression=sentences.impression(result.lesions),
        guidance=sentences.guidance(result),
        unmatched=_unmatched(result, pictures.middle_mm),
        unmatched_note=sentences.UNMATCHED,
        caution=sentences.CAUTION,
        hanging=sentences.HANGING,
        placing=sentences.PLACING,
        warnings=[*result.provenance.warnings, *result.study.source.notes],
        rows=rows,
        unpictured=sum(row.picture is None for row in rows),
        total=_total(result),
        overview=_overview(result, pictures),
        study=_study_facts(result),
        making=_making_facts(result),
        options=flat(result.provenance.options),
        versions=flat(result.provenance.versions),
        timings=[(stage, f"{seconds:.1f} s") for stage, seconds in result.provenance.timings_s.items()],
        limits=_sentences(result.provenance.model.get("limits")),
    )


def _paired(result: CaseResult, pictures: CasePictures) -> list[tuple[Lesion, Image.Image | None]]:
    missing = len(result.lesions) - len(pictures.lesions)
    return list(zip(result.lesions, [*pictures.lesions, *[None] * missing]))


def _row(lesion: Lesion, image: Image.Image | None, middle_mm: Point) -> _Row:
    (first, stop), colour = lesion.bbox_ijk, lesion_colour(lesion.id)
    alt = (
        f"Lesion {lesion.id}, outlined in {lesion_colour_name(lesion.id)}: axial slice {lesion.slice_number}, "
        "enlarged without and with its outline, and the coronal and sagittal slices through it."
    )
    return _Row(
        id=lesion.id,
        colour="#{:02x}{:02x}{:02x}".format(*colour),
        volume_mm3=sentences.cubic_millimetres(lesion.volume_mm3),
        volume=sentences.millilitres(lesion.volume_mm3),
        diameters=sentences.diameters(lesion),
        diameter_3d=f"{lesion.diameter_3d_mm:.1f} mm",
        place=sentences.place(lesion, middle_mm),
        coordinates=sentences.coordinates(lesion).split(", "),
        slice_number=lesion.slice_number,
        box=[f"{low}–{high - 1}" for low, high in zip(first, stop)],
        confidence=sentences.confidence(lesion),
        picture=_picture(image, alt) if image else None,
    )


def _unmatched(result: CaseResult, middle_mm: Point) -> list[_KnownRow]:
    """The known lesions that were not found again, and those that could not be."""
    return [
        _KnownRow(
            id=one.id,
            status=sentences.known_status(one),
            volume_mm3=sentences.cubic_millimetres(one.volume_mm3),
            place=sentences.place(one, middle_mm),
            coordinates=sentences.coordinates(one).split(", "),
        )
        for one in result.known
        if one.status != "found"
    ]


def _overview(result: CaseResult, pictures: CasePictures) -> _Picture:
    listed = ", ".join(map(str, pictures.slices))
    found = sentences.count(result.lesions).lower()
    return _picture(pictures.overview, f"Axial slices {listed} of the head, from bottom to top; {found} outlined.")


def _picture(image: Image.Image, alt: str) -> _Picture:
    return _Picture(f"data:image/png;base64,{b64encode(encode_png(image)).decode()}", image.width, image.height, alt)


def _total(result: CaseResult) -> list[tuple[str, str]]:
    lesions = result.lesions
    volume = lesions.total_volume_mm3
    return [
        ("Lesions", str(len(lesions))),
        ("Total volume", f"{sentences.millilitres(volume)} ({sentences.cubic_millimetres(volume)} mm³)"),
        ("Longest axial diameter", f"{max((each.diameter_mm for each in lesions), default=0):.1f} mm"),
        ("Sum of longest axial diameters", f"{sum(each.diameter_mm for each in lesions):.1f} mm"),
    ]


def _study_facts(result: CaseResult) -> list[tuple[str, str]]:
    study = result.study
    names = ", ".join(_SEQUENCE_NAMES[name] for name in study.images)
    facts = [
        ("Modality", study.modality),
        ("Images", names),
        ("Shown in pictures", _SEQUENCE_NAMES[display_sequence(study)]),
        ("Grid", str(study.grid)),
        ("Space", study.space),
        ("File format", study.source.format),
    ]
    if study.skull_stripped is not None:
        facts.append(("Skull", "removed" if study.skull_stripped else "present"))
    if study.source.sha256:
        facts.append(("Input SHA-256", study.source.sha256))
    return [*facts, *((keyword, str(value)) for keyword, value in study.source.headers.items())]


def _making_facts(result: CaseResult) -> list[tuple[str, str]]:
    made = result.provenance
    facts = [("Engine", made.engine)]
    for key, label in (("name", "Model"), ("version", "Model version"), ("sha256", "Model SHA-256")):
        if key in made.model:
            facts.append((label, str(made.model[key])))
    if "operating_point" in made.options:
        facts.append(("Operating point", str(made.options["operating_point"])))
    return facts


def _sentences(limits: object) -> list[str]:
    """A model's limits as sentences, whether it states one, many or none."""
    if limits is None:
        return []
    if isinstance(limits, str):
        return [limits]
    return [str(limit) for limit in limits] if isinstance(limits, Sequence) else [str(limits)]
