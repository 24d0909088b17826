"""What was looked at in a study, as a radiologist wants it told: a plain sentence each, and whether it is good."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from metseg.core.grid import Grid
from metseg.core.result import Placing, QualityFlag
from metseg.core.study import Study
from metseg.core.volume import LabelMap
from metseg.engines.base import ModelCard
from metseg.pipeline.guard import NO_CONTRAST, OVERRIDDEN, THICK_MM, slice_doubt

# A brain that ends just inside the image has so much of it within the last two millimetres: a cap of that height of a
# ball of 85 mm has 11 cm².
_CUT_MM2: Final = 1500.0
_EDGE_MM: Final = 2.0
_LATTICE_MM: Final = 2.0
_ENDS: Final = (("left", "right"), ("back", "front"), ("bottom", "top"))


def quality_flags(
    study: Study, card: ModelCard, brain: LabelMap | None, warnings: Sequence[str]
) -> tuple[QualityFlag, ...]:
    """Modality, slices, contrast agent and coverage. Motion is not judged: nothing here measures it.

    Args:
        study: as it was segmented.
        card: of the model.
        brain: 1 where the model sees brain, on its own grid; None for a model that does not look for it.
        warnings: of the checks before; a flag that says the same says it in the same words.
    """
    flags = [_modality(study, card, warnings), _slices(study)]
    if {"t1c", "ct"} & set(card.sequences):
        flags.append(_contrast(study))
    return (*flags, _coverage(study.grid, brain))


def placing_flag(placing: Placing) -> QualityFlag:
    """Whether the lesions' places in the brain could be told."""
    if placing.reason:
        finding = f"In which part of the brain the lesions lie was not determined: {placing.reason}."
        return QualityFlag("Location", "unknown", finding)
    return QualityFlag("Location", "good", "The brain was laid onto a template of healthy brains, and fits it.")


def _modality(study: Study, card: ModelCard, warnings: Sequence[str]) -> QualityFlag:
    overridden = [warning for warning in warnings if warning.startswith(OVERRIDDEN)]
    if overridden:
        return QualityFlag("Modality", "caution", overridden[0])
    declared = study.source.headers.get("Modality", "")
    if declared:
        return QualityFlag("Modality", "good", f"The header says {declared}, which the model is for.")
    finding = f"No header tells the modality; nothing in the intensities speaks against {card.modality}."
    return QualityFlag("Modality", "good", finding)


def _slices(study: Study) -> QualityFlag:
    apart_mm = max(study.grid.spacing_mm)
    if doubt := slice_doubt(study.grid):
        return QualityFlag("Slices", "caution", doubt)
    thick_mm = float(study.source.headers.get("SliceThickness", "0"))  # the reader lets numbers through only
    if thick_mm > THICK_MM:
        finding = f"The slices are {thick_mm:.1f} mm thick, though {apart_mm:.1f} mm apart: small lesions are blurred."
        return QualityFlag("Slices", "caution", finding)
    return QualityFlag("Slices", "good", f"Slices are {apart_mm:.1f} mm apart.")


def _contrast(study: Study) -> QualityFlag:
    told = study.source.headers.get("ContrastBolusAgent")
    if told == "present":
        finding = "The header names a contrast agent; how strongly it shows was not measured."
        return QualityFlag("Contrast agent", "good", finding)
    if told == "absent":
        return QualityFlag("Contrast agent", "caution", NO_CONTRAST)
    finding = "The file does not say whether contrast agent was given, and this was not judged from the image."
    return QualityFlag("Contrast agent", "unknown", finding)


def _coverage(grid: Grid, brain: LabelMap | None) -> QualityFlag:
    if brain is None:
        finding = "The model does not look for the brain: whether all of it was imaged was not checked."
        return QualityFlag("Coverage", "unknown", finding)
    if not np.any(brain.array):
        return QualityFlag("Coverage", "caution", "The model recognised no brain.")
    cut = [(end, area) for end, area in _brain_at_edges(grid, brain) if area > _CUT_MM2]
    if not cut:
        return QualityFlag("Coverage", "good", "The brain lies inside the image.")
    where = ", ".join(f"{end} ({area / 100:.0f} cm²)" for end, area in cut)
    finding = f"The brain reaches the edge of the image at the {where}: what lies beyond was not imaged."
    return QualityFlag("Coverage", "caution", finding)


def _brain_at_edges(grid: Grid, brain: LabelMap) -> Iterator[tuple[str, float]]:
    """Area of brain, in mm², in the slice whose middle lies nearest to 2 mm inside each face of the image."""
    for axis, (spacing, size) in enumerate(zip(grid.spacing_mm, grid.shape)):
        world = grid.axis_order.index(axis)
        rising = int(grid.direction[world, axis] > 0)
        inside = min(max(0, round(_EDGE_MM / spacing - 0.5)), (size - 1) // 2)
        for last, index in ((0, inside), (1, size - 1 - inside)):
            yield _ENDS[world][last if rising else 1 - last], _area_in_slice(grid, axis, index, brain)


def _area_in_slice(grid: Grid, axis: int, index: int, brain: LabelMap) -> float:
    """Area of brain in one slice, in mm², counted on a lattice of about 2 mm."""
    steps = [max(1, round(_LATTICE_MM / spacing)) for spacing in grid.spacing_mm]
    axes = [np.arange(0, size, step) for size, step in zip(grid.shape, steps)]
    axes[axis] = np.array([index])
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    places = np.rint(brain.grid.to_index(grid.to_world(lattice))).astype(np.int64)
    places = places[((places >= 0) & (places < brain.grid.shape)).all(axis=1)]
    held = int(np.count_nonzero(brain.array[tuple(places.T)]))
    return held * float(np.prod([s * n for a, (s, n) in enumerate(zip(grid.spacing_mm, steps)) if a != axis]))
