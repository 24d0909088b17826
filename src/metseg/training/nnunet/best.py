"""Which of several finished runs is the best, or which two together: by nnU-Net's cross-validation."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from metseg.core.errors import ConfigError, InputError
from metseg.core.progress import Progress, no_progress
from metseg.datasets.splits import SPLITS
from metseg.engines.bundle import Bundle
from metseg.engines.catalogue import find_bundle
from metseg.engines.manifest import NAME_PATTERN
from metseg.io.atomic import write_text
from metseg.io.case_names import shown_name
from metseg.io.nnunet_ensemble import write_ensemble
from metseg.io.output_folder import make_output_folder
from metseg.training.nnunet.plan_edits import PLANNERS
from metseg.training.nnunet.process import child_environment, require_nnunet, run_child
from metseg.training.nnunet.recipe import NnunetRecipe
from metseg.training.nnunet.run import KEPT

FOUND: Final = "best.json"
_RESULT: Final = "nnU-Net's cross-validation, all folds"


@dataclass(frozen=True)
class Best:
    """What was found.

    Args:
        dice: of each run and each pair, the mean over labels and studies; None where no study had any label.
        name: of the best.
        bundle: that of the run, or the ensemble's.
        unjudged: why some pairs were not judged, a sentence each.
    """

    dice: Mapping[str, float | None]
    name: str
    bundle: Bundle
    unjudged: tuple[str, ...]


@dataclass(frozen=True)
class _Finished:
    """A run that is finished."""

    folder: Path
    recipe: NnunetRecipe
    data: str
    bundle: Bundle
    trained: Path

    @classmethod
    def read(cls, folder: Path) -> "_Finished":
        try:
            kept = json.loads((folder / KEPT).read_text(encoding="utf-8"))
            name = kept["recipe"]["data"]
            told = {**kept["recipe"], "data": folder / "nnUNet_raw" / name, "out": folder}
            recipe, data = NnunetRecipe.model_validate(told), str(kept["data"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{shown_name(folder)} is no run of metseg train: its {KEPT} is missing or cannot be read.",
                hint="Give the folders that the recipes call out.",
            ) from error
        bundles = sorted((folder / "models").glob("*/model.json"))
        if len(bundles) != 1:
            raise InputError(f"The run {shown_name(folder)} is not finished.", hint="Go on with metseg train.")
        trained = f"nnUNetTrainer__{PLANNERS[recipe.network].plans}__{recipe.configuration}"
        (place,) = (path for path in (folder / "nnUNet_results").iterdir() if path.is_dir())
        return cls(folder, recipe, data, find_bundle(bundles[0].parent), place / trained)

    @property
    def splits(self) -> Any:
        return json.loads((self.trained_data / SPLITS).read_text(encoding="utf-8"))

    @property
    def trained_data(self) -> Path:
        return self.folder / "nnUNet_preprocessed" / self.trained.parent.name


def best_of(
    runs: Sequence[Path], out: Path, *, ensembles: bool = True, workers: int = 2, progress: Progress = no_progress
) -> Best:
    """Judge runs, and pairs of them, by the mean Dice of nnU-Net's validation of all folds.

    The best of all is a run's own bundle, or an ensemble that is written to ``out/models``. ``out/best.json`` keeps
    what was found, ``out/crossvalidation`` the segmentations.

    Args:
        runs: folders of finished runs of ``metseg train``, of one data set, with the same folds, all validated.
        out: folder of what is written.
        ensembles: whether pairs are judged; they need runs with ``probabilities``.
        workers: processes.
        progress: told after each.

    Raises:
        InputError: something is no finished run, or ``out`` cannot be written.
        ConfigError: runs that cannot be compared.
        MetsegError: nnU-Net failed.
    """
    require_nnunet()
    known = [_Finished.read(folder.resolve()) for folder in runs]
    _check(known)
    make_output_folder(out)
    groups = [(one,) for one in known] + (list(combinations(known, 2)) if ensembles else [])
    unjudged = tuple(_why_not(groups))
    named = {
        _name(group): group for group in groups if all(one.recipe.probabilities for one in group) or len(group) < 2
    }
    dice = _judged(named, out.resolve(), workers, progress)
    name = max(dice, key=lambda one: (-1.0 if dice[one] is None else dice[one], -len(named[one])))
    group = named[name]
    if len(group) == 1:
        bundle = group[0].bundle
    else:
        members = [one.bundle for one in group]
        make_output_folder(out / "models")
        folder = out / "models" / (name if re.fullmatch(NAME_PATTERN, name) else "best-ensemble")
        bundle = write_ensemble(members, folder, {_RESULT: {"mean Dice": dice[name]}})
    told = {"dice": dice, "best": name, "model": bundle.name, "sha256": bundle.sha256, "not judged": list(unjudged)}
    write_text(out / FOUND, json.dumps(told, indent=2) + "\n")
    return Best(dice, name, bundle, unjudged)


def _check(runs: Sequence[_Finished]) -> None:
    first = runs[0]
    if len({one.bundle.name for one in runs}) < max(2, len(runs)):
        raise ConfigError(
            "To choose, give two runs or more, whose models have different names.", hint="Set name in the recipes."
        )
    for one in runs:
        if one.recipe.folds == "all" or not one.recipe.validation:
            raise ConfigError(
                f'The run {shown_name(one.folder)} measured nothing: its folds are "all", or validation is off.',
                hint="Train folds of the data set, with validation.",
            )
        if one.data != first.data or one.recipe.folds != first.recipe.folds or one.splits != first.splits:
            raise ConfigError(
                f"{shown_name(first.folder)} and {shown_name(one.folder)} were not validated on the same studies.",
                hint="Compare runs of one data set with the same folds.",
            )


def _why_not(groups: Sequence[tuple[_Finished, ...]]) -> Iterator[str]:
    for group in groups:
        if len(group) == 2 and not all(one.recipe.probabilities for one in group):
            yield f"{_name(group)}: a run was validated without probabilities = true in its recipe"


def _name(group: Sequence[_Finished]) -> str:
    return "-and-".join(one.bundle.name for one in group)


def _judged(
    groups: Mapping[str, Sequence[_Finished]], out: Path, workers: int, progress: Progress
) -> dict[str, float | None]:
    """Mean Dice of each group, by nnU-Net."""
    first = next(iter(groups.values()))[0]
    entries = [
        {"name": name, "folders": [str(one.trained) for one in group], "out": str(out / "crossvalidation" / name)}
        for name, group in groups.items()
    ]
    job = {
        "step": "judge", "recipe": first.recipe.model_dump(mode="json"), "entries": entries,
        "truth": str(first.trained_data / "gt_segmentations"), "folds": first.recipe.folds, "processes": workers,
    }  # fmt: skip
    environment = child_environment(first.folder, processes=workers, augmenters=1, threads=1)

    def listen(_kind: str, content: Mapping[str, Any]) -> None:
        progress(content["done"], content["total"], content["what"])

    result = run_child(job, environment, out / "logs" / "judging.txt", listen, doing="judging runs")
    return dict(result["dice"])
