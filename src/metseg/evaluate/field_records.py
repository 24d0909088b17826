"""What profile ``field`` is told, and what it finds in one case."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from metseg.core.options import Options
from metseg.evaluate.bootstrap import BootstrapOptions
from metseg.evaluate.calibration import ReliabilitySums
from metseg.evaluate.froc import FrocOptions
from metseg.evaluate.matching import MatchingOptions
from metseg.lesions.components import Connectivity

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
EmptyPolicy = Literal["perfect", "leave_out"]
Status = Literal["both_present", "reference_empty", "prediction_empty", "both_empty"]


class FieldOptions(Options):
    """How profile ``field`` judges.

    Args:
        matching: the declared rule.
        connectivity: of the components of masks; instance maps are taken as they are.
        nsd_tolerances_mm: of the surface Dice.
        diameter_edges_mm: between bins of the reference's longest axial diameter; an edge belongs to the upper bin.
        volume_edges_mm3: between bins of volume; the same.
        both_empty: a case without a lesion and without a component: ``perfect`` (Dice and F1 are 1) or ``leave_out``
            of their means (it is counted).
        confidence: of a component, from the probabilities of its voxels.
        calibration_bins: of the reliability curve.
        calibration_floor: voxels of lower probability are left out of the voxels' calibration: nearly all of a head
            is surely no lesion, and would hide what happens in and around lesions.
        froc: where the FROC curve is read.
        bootstrap: of the intervals.
    """

    matching: MatchingOptions = MatchingOptions()
    connectivity: Connectivity = 26
    nsd_tolerances_mm: tuple[Positive, ...] = (0.5, 1.0, 2.0)
    diameter_edges_mm: tuple[Positive, ...] = (3.0, 5.0, 10.0)
    volume_edges_mm3: tuple[Positive, ...] = (27.0, 100.0)
    both_empty: EmptyPolicy = "perfect"
    confidence: Literal["maximum", "percentile_95", "mean"] = "maximum"
    calibration_bins: Annotated[int, Field(ge=1, le=1000)] = 10
    calibration_floor: Annotated[float, Field(ge=0, lt=1)] = 0.01
    froc: FrocOptions = FrocOptions()
    bootstrap: BootstrapOptions = BootstrapOptions()

    @model_validator(mode="after")
    def _edges_increase(self) -> "FieldOptions":
        for name in ("nsd_tolerances_mm", "diameter_edges_mm", "volume_edges_mm3"):
            values = getattr(self, name)
            if list(values) != sorted(set(values)):
                message = f"{name} must increase"
                raise ValueError(message)
        return self


def tolerance_key(tolerance_mm: float) -> str:
    """A tolerance as results spell it: ``"0.5"``, ``"1"``."""
    return f"{tolerance_mm:g}"


@dataclass(frozen=True)
class LesionScore:
    """A lesion of the reference, and what was made of it.

    Args:
        id: its number in the reference's instance map.
        volume_mm3: voxels times voxel volume.
        diameter_mm: longest diameter in an axial slice (``metseg.lesions.diameter``).
        found: whether a component was matched to it.
        matched: numbers of these components.
        matched_volume_mm3: of these components together; 0 where there is none.
        dice: of these components together with the lesion; 0 for a missed lesion.
        nsd_border: surface Dice over border voxels, by tolerance in mm; 0 for a missed lesion.
        nsd_element: the same over surface elements.
        hd95_mm: larger of the two directed 95th percentiles over surface elements; None for a missed lesion.
        volume_error_mm3: matched volume minus volume.
        confidence: the highest of the matched components'; None where nothing was matched, or there is none.
    """

    id: int
    volume_mm3: float
    diameter_mm: float
    found: bool
    matched: tuple[int, ...]
    matched_volume_mm3: float
    dice: float
    nsd_border: dict[str, float]
    nsd_element: dict[str, float]
    hd95_mm: float | None
    volume_error_mm3: float
    confidence: float | None


@dataclass(frozen=True)
class ComponentScore:
    """A component of the prediction.

    Args:
        id: its number in the prediction's instance map.
        volume_mm3: voxels times voxel volume.
        confidence: None where there are no probabilities.
        false: whether it was matched to no lesion.
        matched: numbers of the lesions it was matched to.
    """

    id: int
    volume_mm3: float
    confidence: float | None
    false: bool
    matched: tuple[int, ...]


@dataclass(frozen=True)
class PanopticSums:
    """What a case adds to panoptic quality (Kirillov et al., CVPR 2019).

    Args:
        true: pairs with IoU above 0.5; no two of them can share a lesion or a component.
        false: components in no such pair.
        missed: lesions in no such pair.
        iou: the sum over the pairs.
    """

    true: int
    false: int
    missed: int
    iou: float


@dataclass(frozen=True)
class FieldCase:
    """One case.

    Args:
        lesions: of the reference, by number.
        components: of the prediction, by number.
        status: which side has anything.
        sensitivity: found lesions of all; None without lesions.
        ppv: matched components of all; None without components.
        f1: harmonic mean of both; 0 if one side alone is empty; the policy decides if both are.
        dice: over the voxels of the case; 0 if one side alone is empty; the policy decides if both are.
        false: components matched to no lesion.
        reference_volume_mm3: of all lesions.
        prediction_volume_mm3: of all components.
        panoptic: what the case adds to it.
        reliability: of voxels; None where there are no probabilities.
    """

    lesions: tuple[LesionScore, ...]
    components: tuple[ComponentScore, ...]
    status: Status
    sensitivity: float | None
    ppv: float | None
    f1: float | None
    dice: float | None
    false: int
    reference_volume_mm3: float
    prediction_volume_mm3: float
    panoptic: PanopticSums
    reliability: ReliabilitySums | None

    @property
    def found(self) -> int:
        """How many lesions were found."""
        return sum(lesion.found for lesion in self.lesions)
