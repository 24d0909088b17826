"""What a training run is told: read from a TOML file, written beside the checkpoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from metseg.core.options import Options
from metseg.synthesis.palettes import Sequence
from metseg.training.recipe_file import read_recipe_file


class Rate(Options):
    """A learning rate that falls as a cosine to a hundredth, until the next rate begins.

    Args:
        at: step at which it begins.
        over: steps over which it would fall all the way.
        highest: at its beginning.
    """

    at: int = 0
    over: int
    highest: float


class Change(Options):
    """What is otherwise from a step on; None: as it was. Small patches teach fast, large ones what lies around."""

    at: int
    patch: int | None = None
    batch: int | None = None
    small_share: float | None = None


class Recipe(Options):
    """Dials of a training run on scenes made on the fly.

    Args (units in the names where there are any):
        target: ``"lesions"`` (and brain) on 1 mm scenes, or ``"brain"``, the brain finder, on whole heads of 2 mm.
        sequences: channels of the images, in order.
        mimics: whether scenes hold vessels and the like, which look like metastases and are none.
        seed: of everything: weights, scenes, order.
        start_sha256: of the weights that a run starts from; None: from random ones.
        patch: voxels along an edge of the cubic patches.
        batch: patches a step.
        steps: optimiser steps in all.
        rates: learning rates, one after the other.
        warmup: steps over which the first rate rises.
        balanced_until: step up to which lesions and background weigh alike (``lesion_loss``), or up to which the
            background's weight rises (``scene_loss``).
        widths: features of the network, see ``CompactUNet``.
        norm: see ``CompactUNet``.
        label_share: share of scenes from label-map hosts; ``made_share``: from heads made from nothing; the rest
            from real scans.
        fix_norm_from: step from which batch normalisation uses its running averages, as it will in use; None: never.
        stripped: share of label-map scenes without skull.
        anywhere: share of label-map scenes that lie anywhere in the head, skull kept; ``stripped`` is of the others.
        uses: times that a scene is used, each time normalised and mirrored anew: making one takes a CPU long.
        small_share: share of scenes whose lesions are all small, and twice as many.
        background_weight: of a voxel of background in the end, see ``scene_loss``.
        by_scene: a loss for each scene, see ``scene_loss``; else one for the batch, see ``lesion_loss``.
        brain_weight: of the brain's loss, the lesions' loss weighing 1.
        changes: of dials during the run, in order.
    """

    target: Literal["lesions", "brain"] = "lesions"
    sequences: tuple[Sequence, ...] = ("t1c",)
    mimics: bool = True
    seed: int = 1
    start_sha256: str | None = None
    patch: int = 96
    batch: int = 2
    steps: int = 4000
    rates: tuple[Rate, ...]
    warmup: int = 50
    balanced_until: int = 150
    widths: tuple[int, ...] = (16, 32, 64, 96, 128)
    norm: Literal["batch", "instance"] = "batch"
    label_share: float = 0.55
    made_share: float = 0.1
    fix_norm_from: int | None = None
    stripped: float = 0.6
    anywhere: float = 0.0
    uses: int = Field(1, ge=1)
    small_share: float = 0.0
    by_scene: bool = False
    background_weight: float = 1.0
    brain_weight: float = 0.3
    changes: tuple[Change, ...] = ()

    @model_validator(mode="after")
    def _changes_follow_each_other(self) -> Self:
        steps = [0, *(change.at for change in self.changes), self.steps]
        if self.changes and steps != sorted(set(steps)):
            raise ValueError("changes come one after the other, after step 0 and before the last")
        return self

    @property
    def outputs(self) -> int:
        """Logits a voxel."""
        return 2 if self.target == "lesions" else 1

    def phases(self) -> "list[Phase]":
        """The parts of the run between which nothing changes."""
        now, start, first, parts = self, 0, 0, []
        for change in (*self.changes, Change(at=self.steps)):
            stop = min(change.at, self.steps)
            parts.append(Phase(now, start, stop, first))
            first += (stop - start) * now.batch
            now, start = now.model_copy(update=change.model_dump(exclude={"at"}, exclude_none=True)), stop
        return parts


@dataclass(frozen=True)
class Phase:
    """Steps ``start`` to ``stop`` of a run under ``recipe``; ``first`` is the number of their first patch."""

    recipe: Recipe
    start: int
    stop: int
    first: int


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        ConfigError: not TOML, or keys or values that are wrong (all of them are listed).
    """
    return read_recipe_file(path, Recipe)
