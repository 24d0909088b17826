"""What a segmentation of one study gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metseg.core.errors import InputError
from metseg.core.lesion import KnownLesion, LesionTable
from metseg.core.study import Study
from metseg.core.volume import LabelMap, Volume


@dataclass(frozen=True)
class Provenance:
    """How a result came about. Holds no patient data.

    Args:
        engine: name of the engine.
        model: name, version and SHA-256 of the bundle; the model's own limits.
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

    def __post_init__(self) -> None:
        for part in (self.segmentation, self.instances, self.probability):
            if part is not None and not part.grid.matches(self.study.grid):
                raise InputError(f"A result must lie on its study's grid ({self.study.grid}), not on {part.grid}.")
