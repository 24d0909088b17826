"""What a training run is told: read from a TOML file, written beside the checkpoints."""

import tomllib
from pathlib import Path

from pydantic import ValidationError

from metseg.core.errors import ConfigError
from metseg.core.options import Options


class Recipe(Options):
    """Dials of a training run on scenes made on the fly.

    Args (units in the names where there are any):
        seed: of everything: weights, scenes, order.
        start_sha256: of the weights that a run starts from; None: from random ones.
        patch: voxels (1 mm) along an edge of the cubic patches.
        batch: patches a step.
        steps: optimiser steps in all.
        learning_rate: the highest, reached after ``warmup`` steps, falling as a cosine over all ``steps``.
        drop_at: step from which the rate is a new cosine, from ``drop_to`` down over the steps left; None: never.
        drop_to: see ``drop_at``.
        balanced_until: step up to which lesions and background weigh alike, see ``lesion_loss``.
        widths: features of the network, see ``CompactUNet``.
        label_share: share of scenes from label-map hosts; ``made_share``: from heads made from nothing; the rest
            from real scans.
        fix_norm_from: step from which batch normalisation uses its running averages, as it will in use; None: never.
        stripped: share of label-map scenes without skull.
        anywhere: share of label-map scenes that lie anywhere in the head, skull kept; ``stripped`` is of the others.
        small_share: share of scenes whose lesions are all small, and twice as many.
        by_scene: a loss for each scene, see ``scene_loss``; else one for the batch, see ``lesion_loss``.
        brain_weight: of the brain's loss, the lesions' loss weighing 1.
    """

    seed: int = 1
    start_sha256: str | None = None
    patch: int = 96
    batch: int = 2
    steps: int = 4000
    learning_rate: float = 6e-3
    warmup: int = 50
    drop_at: int | None = None
    drop_to: float = 7e-4
    balanced_until: int = 150
    widths: tuple[int, ...] = (16, 32, 64, 96, 128)
    label_share: float = 0.55
    made_share: float = 0.1
    fix_norm_from: int | None = None
    stripped: float = 0.6
    anywhere: float = 0.0
    small_share: float = 0.0
    by_scene: bool = False
    brain_weight: float = 0.3


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        ConfigError: not TOML, or keys or values that are wrong (all of them are listed).
    """
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"The recipe {path.name} cannot be read: {error}.") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"The recipe {path.name} is wrong: {problems}.") from error
