"""Profile ``field``, one case: every lesion and every component, with what was made of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, UInt
from numpy.typing import NDArray

from metseg.core.grid import Grid
from metseg.evaluate.calibration import ReliabilitySums, reliability_sums
from metseg.evaluate.field_records import (
    ComponentScore,
    FieldCase,
    FieldOptions,
    LesionScore,
    PanopticSums,
    Status,
    tolerance_key,
)
from metseg.evaluate.inputs import as_grid, as_instances, check_probability, check_shapes
from metseg.evaluate.matching import Pairs, assign, overlapping
from metseg.evaluate.parts import Parts
from metseg.evaluate.surface import region_pair
from metseg.lesions.diameter import diameters_in_slice

Instances = Bool[np.ndarray, "i j k"] | UInt[np.ndarray, "i j k"]
PANOPTIC_IOU: Final = 0.5
_EMPTY: Final[Mapping[str, float | None]] = {"perfect": 1.0, "leave_out": None}
_CONFIDENCE: Final[Mapping[str, Callable[[NDArray[Any]], Any]]] = {
    "maximum": np.max,
    "mean": lambda values: np.mean(values, dtype=np.float64),
    "percentile_95": lambda values: np.percentile(values, 95),
}


@dataclass(frozen=True, eq=False)
class _Scene:
    """Both instance maps of a case, their parts, and how these overlap and match."""

    prediction: NDArray[Any]
    reference: NDArray[Any]
    components: Parts
    lesions: Parts
    overlaps: Pairs
    matches: Pairs
    grid: Grid
    options: FieldOptions

    @classmethod
    def of(cls, prediction: NDArray[Any], reference: NDArray[Any], grid: Grid, options: FieldOptions) -> "_Scene":
        parts = Parts.of(prediction), Parts.of(reference)
        overlaps = overlapping(prediction, reference, parts)
        matches = assign(overlaps, reference, parts, options.matching)
        return cls(prediction, reference, *parts, overlaps, matches, grid, options)

    def partners(self, lesion: int) -> NDArray[np.int64]:
        """Numbers of the components matched to a lesion."""
        return np.asarray(self.matches.prediction[self.matches.reference == lesion])

    def shared_voxels(self, lesion: int, components: NDArray[np.int64]) -> int:
        """Voxels that a lesion has in common with components."""
        which = (self.overlaps.reference == lesion) & np.isin(self.overlaps.prediction, components)
        return int(self.overlaps.shared[which].sum())

    def crops(self, lesion: int, components: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Masks of the components and of the lesion, in the box around all of them."""
        at, places = self.lesions.places(np.array([lesion])), self.components.places(components)
        start = np.concatenate((self.lesions.start[at], self.components.start[places])).min(axis=0)
        stop = np.concatenate((self.lesions.stop[at], self.components.stop[places])).max(axis=0)
        box = tuple(slice(*ends) for ends in zip(start.tolist(), stop.tolist()))
        return np.isin(self.prediction[box], components), self.reference[box] == lesion


def _confidences(parts: Parts, probability: NDArray[Any] | None, how: str) -> dict[int, float]:
    """Each component's confidence, by number; nothing without probabilities."""
    if probability is None:
        return {}
    reduce = _CONFIDENCE[how]
    return {number: float(reduce(values)) for number, values in zip(parts.ids.tolist(), parts.values(probability))}


def _surfaces(scene: _Scene, lesion: int, components: NDArray[np.int64]) -> dict[str, Any]:
    """Surface Dice in both families and HD95 of a found lesion."""
    pair = region_pair(*scene.crops(lesion, components), scene.grid.spacing_mm)
    border = pair.border_distances(*pair.everything, pair.spacing_mm)
    elements = pair.element_distances(*pair.everything)
    tolerances = {tolerance_key(tolerance): tolerance for tolerance in scene.options.nsd_tolerances_mm}
    return {
        "nsd_border": {key: border.nsd(tolerance) for key, tolerance in tolerances.items()},
        "nsd_element": {key: elements.nsd(tolerance) for key, tolerance in tolerances.items()},
        "hd95_mm": elements.hausdorff(95),
    }


def _score_lesion(scene: _Scene, lesion: int, confidences: dict[int, float]) -> LesionScore:
    voxel, partners = scene.grid.voxel_volume_mm3, scene.partners(lesion)
    size = int(scene.lesions.voxels[scene.lesions.places(np.array([lesion]))][0])
    matched = int(scene.components.voxels[scene.components.places(partners)].sum())
    missed = {tolerance_key(t): 0.0 for t in scene.options.nsd_tolerances_mm}
    surfaces: dict[str, Any] = {"nsd_border": missed, "nsd_element": dict(missed), "hd95_mm": None}
    if len(partners):
        surfaces = _surfaces(scene, lesion, partners)
    _, alone = scene.crops(lesion, partners[:0])
    return LesionScore(
        id=lesion,
        volume_mm3=size * voxel,
        diameter_mm=diameters_in_slice(alone, scene.grid).diameter_mm,
        found=len(partners) > 0,
        matched=tuple(partners.tolist()),
        matched_volume_mm3=matched * voxel,
        dice=2 * scene.shared_voxels(lesion, partners) / (size + matched),
        volume_error_mm3=(matched - size) * voxel,
        confidence=max((confidences[number] for number in partners.tolist()), default=None) if confidences else None,
        **surfaces,
    )


def _score_components(scene: _Scene, confidences: dict[int, float]) -> tuple[ComponentScore, ...]:
    found: dict[int, list[int]] = {}
    for number, lesion in zip(scene.matches.prediction.tolist(), scene.matches.reference.tolist()):
        found.setdefault(number, []).append(lesion)
    return tuple(
        ComponentScore(
            id=number,
            volume_mm3=voxels * scene.grid.voxel_volume_mm3,
            confidence=confidences.get(number),
            false=number not in found,
            matched=tuple(found.get(number, ())),
        )
        for number, voxels in zip(scene.components.ids.tolist(), scene.components.voxels.tolist())
    )


def _panoptic(scene: _Scene) -> PanopticSums:
    true = scene.overlaps.only(scene.overlaps.iou > PANOPTIC_IOU)
    n = len(true)
    return PanopticSums(n, len(scene.components) - n, len(scene.lesions) - n, float(true.iou.sum()))


def _reliability(scene: _Scene, probability: NDArray[Any] | None) -> ReliabilitySums | None:
    if probability is None:
        return None
    likely = probability >= scene.options.calibration_floor
    return reliability_sums(probability[likely], scene.reference[likely] > 0, scene.options.calibration_bins)


def _finish(
    scene: _Scene,
    lesions: tuple[LesionScore, ...],
    components: tuple[ComponentScore, ...],
    reliability: ReliabilitySums | None,
) -> FieldCase:
    """Numbers of the whole case; every empty side is decided here."""
    found, false = sum(lesion.found for lesion in lesions), sum(component.false for component in components)
    sensitivity = found / len(lesions) if lesions else None
    ppv = 1 - false / len(components) if components else None
    sizes = [int(parts.voxels.sum()) for parts in (scene.lesions, scene.components)]
    f1, dice = 0.0, 0.0
    if sensitivity and ppv:
        f1 = 2 * sensitivity * ppv / (sensitivity + ppv)
    if any(sizes):
        dice = 2 * int(scene.overlaps.shared.sum()) / sum(sizes)
    nothing = not lesions and not components
    one_side: Status = "prediction_empty" if lesions else "reference_empty"
    return FieldCase(
        lesions=lesions,
        components=components,
        status="both_empty" if nothing else "both_present" if lesions and components else one_side,
        sensitivity=sensitivity,
        ppv=ppv,
        f1=_EMPTY[scene.options.both_empty] if nothing else f1,
        dice=_EMPTY[scene.options.both_empty] if nothing else dice,
        false=false,
        reference_volume_mm3=sizes[0] * scene.grid.voxel_volume_mm3,
        prediction_volume_mm3=sizes[1] * scene.grid.voxel_volume_mm3,
        panoptic=_panoptic(scene),
        reliability=reliability,
    )


def score_case(
    prediction: Instances,
    reference: Instances,
    spacing_mm: tuple[float, float, float] | Grid,
    options: FieldOptions,
    probability: Float[np.ndarray, "i j k"] | None = None,
) -> FieldCase:
    """Judge one case.

    Args:
        prediction: mask (bool), whose components are numbered here, or instance map (unsigned, 0 for background; a
            mask of 0 and 1 in uint8 would be one instance).
        reference: the same for the truth. In a mask, lesions that touch are one; an instance map keeps them apart.
        spacing_mm: between voxels along i, j, k (k is then taken as the axial axis), or their grid.
        options: the declared rules.
        probability: of being lesion, in [0, 1]; gives confidences (so FROC) and calibration.

    Raises:
        InputError: shapes that differ, arrays that are neither masks nor instance maps, or probabilities that are
            none.
    """
    check_shapes(prediction=prediction, reference=reference, probability=probability)
    grid = as_grid(spacing_mm, reference.shape)
    if probability is not None:
        check_probability(probability)
    maps = (
        as_instances(prediction, options.connectivity, "prediction"),
        as_instances(reference, options.connectivity, "reference"),
    )
    scene = _Scene.of(*maps, grid, options)
    confidences = _confidences(scene.components, probability, options.confidence)
    lesions = tuple(_score_lesion(scene, number, confidences) for number in scene.lesions.ids.tolist())
    components = _score_components(scene, confidences)
    return _finish(scene, lesions, components, _reliability(scene, probability))
