"""Choose the series to segment out of a folder, and say why.

Points, not rules: no single attribute is reliable in practice. Descriptions are read here and nowhere repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from metseg.core.errors import InputError
from metseg.io.dicom_frames import contrast_given, thickness_mm
from metseg.io.dicom_series import Candidate
from metseg.io.dicom_values import number_of, texts_of
from metseg.io.sequence_names import CONTRAST, PLAIN, T1, whole_words

MIN_SLICES: Final = 8


_OTHER_MR: Final = whole_words(
    r"\w*flair\w*|t2\w*|pd\w*|\w*dwi\w*|\w*diff\w*|\w*dti\w*|adc\w*|b\d+\w*|\w*swi\w*|\w*swan\w*|\w*tof\w*|\w*angio\w*|"
    r"mra\w*|\w*perf\w*|\w*dsc\w*|\w*dce\w*|\w*asl\w*|\w*bold\w*|\w*ciss\w*|\w*fiesta\w*|\w*stir\w*|phase\w*|sub\w*"
)
_BONE: Final = whole_words(r"bone\w*|knochen\w*|lung\w*|sinus\w*|angio\w*|cta\w*|perf\w*")


@dataclass(frozen=True)
class Ranked:
    """A candidate with its points and the facts that gave them."""

    candidate: Candidate
    points: int
    reasons: tuple[str, ...]

    @property
    def order(self) -> tuple[int, int, float, int]:
        """Sorts best last: points, more slices, thinner ones, lower series number."""
        number = self.candidate.number
        slices = len(self.candidate.positions_mm)
        return self.points, slices, -self.candidate.spacing_mm, -(number if number is not None else 10**10)


def choose_modality(candidates: Sequence[Candidate]) -> Literal["MR", "CT"]:
    """MR where there is a volume of it, or no CT; else CT: MR shows metastases better."""
    volumes = [candidate for candidate in candidates if len(candidate.positions_mm) >= MIN_SLICES] or candidates
    return "MR" if any(candidate.modality == "MR" for candidate in volumes) else "CT"


def choose_series(
    candidates: Sequence[Candidate], modality: Literal["MR", "CT"] | None
) -> tuple[Candidate, tuple[str, ...]]:
    """The best candidate, and notes on which it is and why.

    Raises:
        InputError: no volume of the modality, or volumes of it from more than one study (visit).
    """
    wanted = [candidate for candidate in candidates if modality in {None, candidate.modality}]
    if not wanted:
        found = sorted({candidate.modality for candidate in candidates})
        raise InputError(
            f"There is no {modality} series among the DICOM files, only {' and '.join(found)}.",
            hint="Give a study of the modality that the model is made for, or choose another model.",
        )
    volumes = [candidate for candidate in wanted if len(candidate.positions_mm) >= MIN_SLICES]
    _refuse_two_visits(volumes)
    placed = volumes or [candidate for candidate in wanted if candidate.frames] or wanted
    ranking = sorted((_rank(candidate) for candidate in placed), key=lambda ranked: ranked.order, reverse=True)
    best = ranking[0]
    if len(candidates) == 1:
        return best.candidate, ()
    others = [ranked.candidate for ranked in ranking[1:]] + [one for one in candidates if one not in placed]
    why = ", ".join(best.reasons)
    return best.candidate, (
        f"Of {len(candidates)} image series, {best.candidate.name} was used: {why}; not {_listed(others)}.",
    )


def _listed(others: Sequence[Candidate]) -> str:
    names = list(dict.fromkeys(other.name for other in others))
    return ", ".join(names[:12]) + (" …" if len(names) > 12 else "")


def _refuse_two_visits(volumes: Sequence[Candidate]) -> None:
    """Points cannot tell which visit is meant, not even where one of them holds the better series."""
    studies = {frame.header.text("StudyInstanceUID") for candidate in volumes for frame in candidate.frames}
    if len(studies) > 1:
        raise InputError(
            f"The DICOM files hold image series of {len(studies)} studies (visits), and nothing tells which is meant.",
            hint="Put each visit in a folder of its own and give that folder.",
        )


def _rank(candidate: Candidate) -> Ranked:
    if not candidate.frames:
        return Ranked(candidate, -100, ("no other has a geometry",))
    scores = [
        *_common_points(candidate),
        *(_mr_points(candidate) if candidate.modality == "MR" else _ct_points(candidate)),
    ]
    reasons = [reason for points, reason in scores if points > 0]
    reasons.append(f"{len(candidate.positions_mm)} slices {candidate.spacing_mm:.3g} mm apart")
    return Ranked(candidate, sum(points for points, _ in scores), tuple(reasons))


def _common_points(candidate: Candidate) -> list[tuple[int, str]]:
    frame, slices = candidate.frames[0], len(candidate.positions_mm)
    image_type = texts_of(frame.layers, "ImageType")
    spacing = min(candidate.spacing_mm, thickness_mm(frame) or 100.0) if slices > 1 else 100.0
    return [
        (3 * contrast_given(frame.layers), "contrast agent recorded"),
        (2 if spacing <= 1.5 else 1 if spacing <= 3 else 0, "thin slices"),
        (-5 * ("DERIVED" in image_type[:1]), "derived"),
        (-3 * bool({"MPR", "REFORMATTED", "CSA MPR"} & set(image_type)), "reformatted"),
        (-3 * (len(candidate.frames) >= 1.5 * slices), "several volumes"),
        (-20 * (slices < MIN_SLICES), "too few slices"),
    ]


def _mr_points(candidate: Candidate) -> list[tuple[int, str]]:
    layers = candidate.frames[0].layers
    description = description_of(candidate)
    volumetric = texts_of(layers, "MRAcquisitionType") == ("3D",)
    echo = number_of(layers, "EchoTime") or number_of(layers, "EffectiveEchoTime") or 0.0
    fluid_nulled = (number_of(layers, "InversionTime") or 0.0) > 1500
    plain = bool(PLAIN.search(description))
    return [
        (3 * volumetric, "3D acquisition"),
        (3 * bool(CONTRAST.search(description) and not plain), "described as contrast-enhanced"),
        (-4 * plain, "described as without contrast"),
        (2 * bool(T1.search(description)), "described as T1-weighted"),
        (-6 * bool(_OTHER_MR.search(description)), "described as another sequence"),
        (-6 * (echo > 50 or fluid_nulled), "echo or inversion time of another weighting"),
        (-4 * bool({"P", "PHASE", "R", "REAL", "I", "IMAGINARY"} & set(texts_of(layers, "ImageType")[2:])), "phase"),
    ]


def _ct_points(candidate: Candidate) -> list[tuple[int, str]]:
    description = description_of(candidate)
    return [
        (2 * bool(CONTRAST.search(description) and not PLAIN.search(description)), "described as contrast-enhanced"),
        (-4 * bool(_BONE.search(description)), "described for bone, lung or vessels"),
    ]


def description_of(candidate: Candidate) -> str:
    """What its header says of itself in free text, which may name people: it is never passed on."""
    return f"{candidate.header.text('SeriesDescription')} {candidate.header.text('ProtocolName')}".casefold().replace(
        "_", " "
    )
