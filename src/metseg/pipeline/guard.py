"""Is the image what the model was trained for? A clear mismatch is refused, a doubtful one becomes a warning."""

from collections.abc import Iterator, Sequence
from typing import Final

from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.core.study import Study
from metseg.core.volume import ProbabilityMap, Volume
from metseg.engines.base import ModelCard
from metseg.pipeline.intensity import IntensityFacts, foreground_volume_mm3, measure_intensity

NO_CONTRAST: Final = "The header names no contrast agent; the model needs a contrast-enhanced image."
OVERRIDDEN: Final = "Segmented although the check of the modality refused it: "
_FORCE_HINT: Final = "If you are sure, go on with --force-modality; the report will say so."
THICK_MM: Final = 3.0
_VERY_THICK_MM: Final = 6.5
_SMALL_FIELD_MM: Final = 80.0
# Ten times the 15 mL up to which radiosurgery alone was tried (JLGK0901, Yamamoto et al., Lancet Oncol 2014).
_LARGE_BURDEN_MM3: Final = 150_000.0
_SMALL_BRAIN_MM3: Final = 300_000.0


def check_modality(study: Study, card: ModelCard, *, force: bool = False) -> list[str]:
    """Compare a study's header facts and intensities with what a model card asks for.

    Args:
        study: the images, all of them looked at.
        card: declares modality, sequences and whether skulls may be there.
        force: turn refusals into warnings.

    Returns:
        Warnings, a sentence each.

    Raises:
        InputError: a sequence is missing, or an image clearly is of another modality or no image at all.
    """
    _check_sequences(study, card)
    refusals = list(_refusals(study, card))
    if refusals and not force:
        raise InputError(f"Study {study.case} was refused: {refusals[0]}", hint=_FORCE_HINT)
    overridden = [f"{OVERRIDDEN}{reason}" for reason in refusals]
    return [*overridden, *_doubts(study, card)]


def check_brain(probability: ProbabilityMap) -> list[str]:
    """Warn where the model itself sees hardly any brain; nothing to say for models without a brain class."""
    if "brain" not in probability.classes:
        return []
    volume_mm3 = float((probability.of("brain") >= 0.5).sum()) * probability.grid.voxel_volume_mm3
    if volume_mm3 >= _SMALL_BRAIN_MM3:
        return []
    return [f"The model recognised only {volume_mm3 / 1000:.0f} mL of brain; nothing was looked for elsewhere."]


def check_burden(volume_mm3: float) -> list[str]:
    """Warn of more lesion than is plausible: a model may take an unusual image for one large tumour."""
    if volume_mm3 <= _LARGE_BURDEN_MM3:
        return []
    found = f"Lesions add up to {volume_mm3 / 1000:.0f} mL, which is hardly plausible"
    return [f"{found}: the model may not understand this image."]


def _check_sequences(study: Study, card: ModelCard) -> None:
    missing = [name for name in card.sequences if name not in study.images]
    if missing:
        raise InputError(
            f"Study {study.case} lacks {', '.join(missing)}: the model {card.name} takes {_ordered(card.sequences)}, "
            f"but the study has {_counted(len(study.images))} ({', '.join(study.images)}).",
            hint=f"Name each file by its sequence ({' '.join(f'--{name} FILE' for name in card.sequences)}), or number "
            "the files of a study from _0000 in the model's order, or choose another model.",
        )


def _ordered(sequences: Sequence[str]) -> str:
    return f"{', '.join(sequences)} in this order" if len(sequences) > 1 else sequences[0]


def _counted(images: int) -> str:
    return "1 image" if images == 1 else f"{images} images"


def _refusals(study: Study, card: ModelCard) -> Iterator[str]:
    """Reasons not to run this model on this study."""
    declared = study.source.headers.get("Modality", "").upper()
    if declared and declared != card.modality:
        yield f"its header says modality {declared}, but the model {card.name} is for {card.modality}."
    for name in card.sequences:
        facts = measure_intensity(study.images[name])
        if facts.is_label_map:
            yield f"its image {name} holds few whole numbers in flat patches, as a label map does, not a scan."
        elif card.modality == "MR" and facts.looks_like:
            yield (
                f"the intensities of {name} ({facts.minimum:.0f} to {facts.maximum:.0f}) look like "
                f"{facts.looks_like}, but the model {card.name} is for MR."
            )
        elif card.modality == "CT" and _is_no_ct(facts, declared):
            yield (
                f"the intensities of {name} ({facts.minimum:.4g} to {facts.maximum:.4g}) are not Hounsfield units, "
                f"which the model {card.name} needs."
            )


def _is_no_ct(facts: IntensityFacts, declared: str) -> bool:
    """No air below -500 HU: MR, or CT in other units. A header that says CT is believed: stripped brains lack air."""
    return declared != "CT" and facts.minimum > -500


def _doubts(study: Study, card: ModelCard) -> Iterator[str]:
    """Reasons to read the result with care."""
    headers = study.source.headers
    if {"t1c", "ct"} & set(card.sequences) and headers.get("ContrastBolusAgent") == "absent":
        yield NO_CONTRAST
    stripped = {"yes": True, "no": False}.get(card.skull_stripped)
    if stripped is not None and study.skull_stripped not in (None, stripped):
        wanted = "without" if stripped else "with"
        yield f"The model {card.name} was trained on images {wanted} skull, which this study is not."
    yield from _geometry_doubts(next(iter(study.images.values())))


def slice_doubt(grid: Grid) -> str:
    """What is to be said of slices that are far apart; empty for others."""
    slice_mm = max(grid.spacing_mm)
    if slice_mm > _VERY_THICK_MM:
        return (
            f"The slices are {slice_mm:.1f} mm apart, more than the model was tried on: small lesions are missed, and "
            "vessels cut across look like lesions."
        )
    if slice_mm > THICK_MM:
        return f"The slices are {slice_mm:.1f} mm apart: lesions smaller than that may be missed, and sizes are coarse."
    return ""


def _geometry_doubts(volume: Volume) -> Iterator[str]:
    grid = volume.grid
    if doubt := slice_doubt(grid):
        yield doubt
    narrow = min(n * s for n, s in zip(grid.shape, grid.spacing_mm, strict=True))
    if narrow < _SMALL_FIELD_MM:
        yield f"The image covers only {narrow:.0f} mm along one axis: part of the brain is missing."
    content_mm3 = foreground_volume_mm3(volume)
    if content_mm3 < _SMALL_BRAIN_MM3:
        yield f"Only {content_mm3 / 1000:.0f} mL of the image is not background, less than a brain."
