"""What a segmentation of one study gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from metseg.core.errors import InputError
from metseg.core.lesion import KnownLesion, LesionTable
from metseg.core.study import Study
from metseg.core.volume import LabelMap, Volume

QualityLevel = Literal["good", "caution", "unknown"]


@dataclass(frozen=True)
class QualityFlag:
    """One thing that was looked at to tell how far the result can be trusted.

    Args:
        name: what: ``"Slices"``, ``"Contrast agent"`` …
        level: ``"unknown"`` where it could not be told.
        finding: one sentence.
    """

    name: str
    level: QualityLevel
    finding: str


@dataclass(frozen=True)
class Placing:
    """How the lesions' places in the brain were found, or why they were not.

    Args:
        reason: why they were not determined, as the end of a sentence; empty where they were.
        measures: of the registration, by name; the map into the template is ``to_template``, 4 × 4, RAS+ millimetres.
    """

    reason: str = ""
    measures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Provenance:
    """How a result came about. Holds no patient data.

    Args:
        engine: name of the engine.
        model: name, version and SHA-256 of the bundle; the model's own limits; what was measured at the operating
            point, where something was.
        versions: of metseg, Python and the libraries that matter.
        options: the resolved options, as plain data.
        timings_s: seconds per stage, in order.
        warnings: a sentence each; they stand in the report.
    """

    engine: str
    model: Mapping[str, Any]
    versions: Mapping[str, str]
    options: Mapping[str, Any]
    timings_s: Mapping[str, float]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class CaseResult:
    """Segmentation, lesions and provenance of one study, all on the study's grid.

    Args:
        study: what was segmented.
        segmentation: the model's labels.
        instances: one value a lesion, as numbered in ``lesions``.
        lesions: the measured lesions.
        provenance: how it came about.
        probability: lesion probability in image space, where it was asked for.
        known: the lesions known from an earlier visit and whether each was found again, largest first; empty where none
            were given.
        brain: the brain as the model sees it, on the model's own grid; None for models that do not look for it.
        quality: what was looked at in the study.
        placing: how the lesions' places were found; None where there was none to place.

    Raises:
        InputError: a map that does not lie on the study's grid.
    """

    study: Study
    segmentation: LabelMap
    instances: LabelMap
    lesions: LesionTable
    provenance: Provenance = field(repr=False)
    probability: Volume | None = None
    known: tuple[KnownLesion, ...] = ()
    brain: LabelMap | None = field(default=None, repr=False)
    quality: tuple[QualityFlag, ...] = ()
    placing: Placing | None = None

    def __post_init__(self) -> None:
        for part in (self.segmentation, self.instances, self.probability):
            if part is not None and not part.grid.matches(self.study.grid):
                raise InputError(f"A result must lie on its study's grid ({self.study.grid}), not on {part.grid}.")
