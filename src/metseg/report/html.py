"""The report: one HTML file that needs nothing else, neither network nor scripts."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from metseg.core.errors import ConfigError
from metseg.core.result import CaseResult
from metseg.core.study import Identity
from metseg.report import sentences
from metseg.report.contrast import display_sequence
from metseg.report.identity import NONE_KNOWN, NONE_SHOWN, identity_rows
from metseg.report.lesion_rows import Picture, lesion_rows, unmatched_rows
from metseg.report.page import flat, page_template
from metseg.report.pictures import CasePictures, draw_pictures
from metseg.report.sizes import measured_performance, size_bins

Mode = Literal["screen", "print"]
_MODES: Final = ("screen", "print")
_MANY: Final = 15  # more lesions than this push what comes after their table off the first page
_SEQUENCE_NAMES: Final = {
    "t1c": "T1 after contrast",
    "t1n": "T1 without contrast",
    "t2f": "T2 FLAIR",
    "t2w": "T2",
    "ct": "CT",
}


def render_report(
    result: CaseResult,
    *,
    mode: Mode = "screen",
    pictures: CasePictures | None = None,
    identity: Identity | None = None,
) -> str:
    """The report of a case.

    Everything that comes from outside (names, notes, warnings, options) is escaped; the page holds no script, loads
    nothing, and holds no patient data beyond ``identity`` and what the user wrote into the name of the case.

    Args:
        result: the case.
        mode: ``"screen"``, a page that also prints well, or ``"print"``, laid out as A4 from the start (for PDF).
        pictures: of the same case, where they are drawn already.
        identity: whose it is, where the report shall say so.

    Returns:
        A whole HTML5 document. The same result gives the same text.

    Raises:
        ConfigError: an unknown mode.
    """
    if mode not in _MODES:
        raise ConfigError(f"There is no report mode called {mode!r}.", hint=f"Known: {', '.join(_MODES)}.")
    pictures = pictures or draw_pictures(result)
    rows = lesion_rows(result, pictures)
    told = {flag.finding for flag in result.quality}
    return page_template("report.html.j2").render(
        mode=mode,
        case=sentences.plain_name(result.study.case),
        words=sentences,
        model_line=sentences.made_by(result),
        identity=identity_rows(identity) if identity else [],
        no_identity=NONE_SHOWN if identity is None else NONE_KNOWN,
        impression=sentences.impression(result.lesions),
        guidance=sentences.guidance(result),
        measured=measured_performance(result.provenance.model),
        quality=result.quality,
        warnings=[warning for warning in result.provenance.warnings if warning not in told],
        notes=result.study.source.notes,
        rows=rows,
        many=_MANY,
        unmatched=unmatched_rows(result, pictures.middle_mm),
        unpictured=sum(row.picture is None for row in rows),
        total=_total(result),
        sizes=size_bins(result.lesions),
        overview=_overview(result, pictures),
        unseen=sentences.unseen(pictures.unseen),
        glass=_glass(result, pictures),
        glass_is_brain=pictures.glass_is_brain,
        study=_study_facts(result),
        making=_making_facts(result),
        options=flat(result.provenance.options),
        versions=flat(result.provenance.versions),
        timings=[(stage, f"{seconds:.1f} s") for stage, seconds in result.provenance.timings_s.items()],
        limits=_sentences(result.provenance.model.get("limits")),
    )


def _overview(result: CaseResult, pictures: CasePictures) -> Picture:
    listed = ", ".join(map(str, pictures.slices))
    count = len(result.lesions) - len(pictures.unseen)
    found = f"{count} of " * bool(pictures.unseen) + sentences.count(result.lesions)
    about = f"Axial slices {listed} of the head, from bottom to top; {found.lower()} outlined."
    return Picture.of(pictures.overview, about)


def _glass(result: CaseResult, pictures: CasePictures) -> Picture:
    shape = "brain" if pictures.glass_is_brain else "head"
    found = sentences.count(result.lesions).lower()
    alt = f"The {shape} as a faint shape, from below, from the front and from the left, with {found} in it."
    return Picture.of(pictures.glass, alt)


def _total(result: CaseResult) -> list[tuple[str, str]]:
    lesions = result.lesions
    measurable = sum(sentences.measurable(each, result.study.grid) == "yes" for each in lesions)
    return [
        ("Lesions", str(len(lesions))),
        ("Measurable", str(measurable)),
        ("Total volume", sentences.millilitres(lesions.total_volume_mm3)),
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
    model: Mapping[str, Any] = made.model
    for key, label in (("name", "Model"), ("version", "Model version"), ("sha256", "Model SHA-256")):
        if key in model:
            facts.append((label, str(model[key])))
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
