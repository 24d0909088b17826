"""From a recipe to a bundle: check, plan, prepare, train each network, import. What is finished is not done again."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from metseg.core.errors import ConfigError, InputError
from metseg.core.progress import Progress, no_progress, part_of
from metseg.datasets.splits import SPLITS, Fold
from metseg.engines.bundle import Bundle
from metseg.engines.catalogue import find_bundle
from metseg.io.atomic import write_text
from metseg.io.case_names import shown_name
from metseg.io.nnunet_import import Wishes, import_nnunet, lesion_labels
from metseg.io.nnunet_stamp import looks_of
from metseg.io.output_folder import make_output_folder
from metseg.io.whole_folder import alone_in
from metseg.training.nnunet.card import make_card
from metseg.training.nnunet.curves import write_curves
from metseg.training.nnunet.dataset import RawData, check_voxels, folds_of, read_raw
from metseg.training.nnunet.messages import EPOCH
from metseg.training.nnunet.plan_edits import PLANNERS
from metseg.training.nnunet.process import child_environment, require_nnunet, run_child
from metseg.training.nnunet.processed import check_start_steps, check_steps, write_processed
from metseg.training.nnunet.recipe import Configuration, NnunetRecipe

KEPT: Final = "recipe.json"
_STEPS: Final = "steps"
_PREPARED_AT: Final = 0.1  # of the progress bar: training is nearly all of the work


@dataclass(frozen=True)
class Trained:
    """What a run made.

    Args:
        bundle: the model.
        steps: ``"done"`` now or ``"kept"`` from before, by name.
        networks: what each training gave, by ``CONFIGURATION, fold N``.
        processed: how many ``images`` were put through the recipe's own steps, and the ``bytes`` of these copies.
    """

    bundle: Bundle
    steps: Mapping[str, str]
    networks: Mapping[str, Mapping[str, Any]]
    processed: Mapping[str, int] = field(default_factory=dict)


def train_model(recipe: NnunetRecipe, progress: Progress = no_progress) -> Trained:
    """Train what a recipe asks for, or go on with it.

    Raises:
        InputError: a data set that cannot be trained on, or changed since the run began; ``out`` cannot be written.
        ConfigError: ``out`` holds a run of another recipe, or the recipe does not fit the data set.
        MissingExtraError: nnU-Net is not installed.
        ModelError: the model to start from will not do.
        MetsegError: nnU-Net failed.
    """
    require_nnunet()
    progress(0, 1, "looking at the data set")
    raw = read_raw(recipe.data)
    check_steps(raw, recipe.preprocessing, recipe.sequences)
    folds, told = folds_of(raw, recipe)
    start = None if recipe.start is None else find_bundle(Path(recipe.start))
    if start is not None:
        check_start_steps(start, recipe.preprocessing)
    make_output_folder(recipe.out)
    with alone_in(recipe.out):  # another run of the same recipe waits, and then finds all done
        _keep_recipe(recipe, raw, start)
        return _run(_Run(recipe, raw, folds, start), told, progress)


def _run(run: "_Run", told: str, progress: Progress) -> Trained:
    """All steps, one after the other."""
    recipe, raw = run.recipe, run.raw
    run.check()
    run.lay_out()
    processed = run.process(part_of(progress, 0, 0.01))
    run.child("plan", "planning", {}, part_of(progress, 0.01, 0.02))
    for number, configuration in enumerate(recipe.prepared):
        share = (_PREPARED_AT - 0.02) / len(recipe.prepared)
        part = part_of(progress, 0.02 + number * share, 0.02 + (number + 1) * share)
        job = {"configuration": configuration, "cases": raw.cases, "ending": raw.ending}
        run.child("preprocess", f"preparing {configuration}", job, part)
    networks = [(stage, fold) for stage in recipe.stages for fold in run.folds_for(stage)]
    trained = {}
    for number, (stage, fold) in enumerate(networks):
        share = (1 - _PREPARED_AT) / len(networks)
        part = part_of(progress, _PREPARED_AT + number * share, _PREPARED_AT + (number + 1) * share)
        trained[f"{stage}, fold {fold}"] = run.train(stage, fold, part)
    progress(1, 1, "making the bundle")
    return Trained(run.bundle(told, trained), run.steps, trained, processed)


def _keep_recipe(recipe: NnunetRecipe, raw: RawData, start: Bundle | None) -> None:
    """Write the recipe into the run's folder; a run goes on with what it began with, or not at all."""
    path = recipe.out / KEPT
    looks = hashlib.sha256(json.dumps(looks_of(raw.folder, raw.files())).encode()).hexdigest()
    now = {"recipe": recipe.told, "sha256": recipe.sha256, "data": looks, "start": start and start.sha256}
    if not path.exists():
        write_text(path, json.dumps(now, indent=2) + "\n")
        return
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        others = [key for key, value in recipe.told.items() if known["recipe"].get(key) != value]
        data, begun_from = known["data"], known["start"]
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{KEPT} in {shown_name(recipe.out)} cannot be read.", hint="Choose another out.") from error
    if others or begun_from != now["start"]:
        raise ConfigError(
            f"The run in {shown_name(recipe.out)} was begun with another recipe: it differs in "
            f"{', '.join(others) or 'the model that start names'}.",
            hint=f"Go on with what its {KEPT} says, or choose another out.",
        )
    if data != looks:
        raise InputError(
            f"The data set {shown_name(raw.folder)} has changed since the run in {shown_name(recipe.out)} began.",
            hint="Choose another out.",
        )


@dataclass
class _Run:
    """One run, and what it did."""

    recipe: NnunetRecipe
    raw: RawData
    folds: Sequence[Fold]
    start: Bundle | None
    steps: dict[str, str] = field(default_factory=dict)

    @cached_property
    def top(self) -> Path:
        """The run's folder."""
        return self.recipe.out.resolve()

    @cached_property
    def plans(self) -> str:
        """Name of the plans."""
        return PLANNERS[self.recipe.network].plans

    @cached_property
    def lesion(self) -> tuple[int, ...]:
        """Outputs of the networks that make a lesion."""
        labels = self.raw.labels
        named = dict(list(enumerate(labels.names))[0 if labels.regions else 1 :])
        return lesion_labels(named, self.recipe.lesion)

    def known(self, name: str) -> dict[str, Any] | None:
        """The result of a step that is finished."""
        path = self.top / _STEPS / f"{name}.json"
        if not path.is_file():
            return None
        try:
            self.steps[name] = "kept"
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{_STEPS}/{path.name} cannot be read.", hint="Remove it: the step is done again."
            ) from error

    def keep(self, name: str, result: Mapping[str, Any]) -> None:
        """A step is finished."""
        (self.top / _STEPS).mkdir(exist_ok=True)
        write_text(self.top / _STEPS / f"{name}.json", json.dumps(result, indent=2) + "\n")
        self.steps[name] = "done"

    def check(self) -> None:
        """Look at all voxels, once."""
        if self.known("check") is None:
            check_voxels(self.raw, self.recipe)
            self.keep("check", {"studies": len(self.raw.cases)})

    def lay_out(self) -> None:
        """nnU-Net's three folders: the prepared one holds the folds, the raw one leads to the data set as it is."""
        folders = [self.top / f"nnUNet_{kind}" for kind in ("raw", "preprocessed", "results")]
        try:
            for folder in (*folders, folders[1] / self.raw.name):
                folder.mkdir(exist_ok=True)
            link = folders[0] / self.raw.name
            if not self.recipe.preprocessing and not link.is_symlink():
                link.symlink_to(self.raw.folder, target_is_directory=True)
        except OSError as error:
            raise InputError(f"{shown_name(self.recipe.out)} cannot be written: {error.strerror}.") from error
        if self.recipe.folds != "all":
            write_text(folders[1] / self.raw.name / SPLITS, json.dumps(self.folds, indent=2) + "\n")

    def process(self, progress: Progress) -> dict[str, Any]:
        """Put images through the recipe's own steps, once."""
        recipe = self.recipe
        if not recipe.preprocessing:
            return {}
        if (known := self.known("processing")) is not None:
            return known
        target = self.top / "nnUNet_raw" / self.raw.name
        result = write_processed(self.raw, recipe.preprocessing, target, workers=recipe.workers, progress=progress)
        self.keep("processing", result)
        return result

    def child(
        self, step: str, doing: str, job: Mapping[str, Any], progress: Progress, folder: Path | None = None
    ) -> dict[str, Any]:
        """Have a step done by nnU-Net, unless it is finished."""
        name = re.sub(r"[^\w]+", "-", doing)
        if (known := self.known(name)) is not None:
            return known
        progress(0, 1, doing)
        recipe = self.recipe
        whole = {
            "step": step, "doing": doing, "dataset": self.raw.name, "plans": self.plans, "start": self._start_plans(),
            "raw": str(self.top / "nnUNet_raw"), "preprocessed": str(self.top / "nnUNet_preprocessed"),
            "lesion": self.lesion, "processes": max(1, recipe.workers), "recipe": recipe.model_dump(mode="json"), **job,
        }  # fmt: skip
        environment = child_environment(
            self.top, processes=max(1, recipe.workers), threads=recipe.threads,
            augmenters=recipe.workers if step == "train" else max(1, recipe.workers),
        )  # fmt: skip

        def listen(kind: str, content: Mapping[str, Any]) -> None:
            if kind != EPOCH:
                progress(content["done"], content["total"], content["what"])
                return
            progress(content["epoch"], content["epochs"], f"{doing}: {epoch_text(content)}")
            if folder is not None and content["epoch"] % recipe.save_every == 0:
                write_curves(folder, doing)

        result = run_child(whole, environment, self.top / "logs" / f"{name}.txt", listen, doing=doing)
        self.keep(name, result)
        return result

    def folds_for(self, stage: Configuration) -> Sequence[int | str]:
        """The second stage of a cascade learns from what networks say of studies that they did not learn from."""
        if self.recipe.folds == "all":
            return ("all",)
        return self.recipe.folds if stage == self.recipe.stages[-1] else range(len(self.folds))

    def train(self, stage: Configuration, fold: int | str, progress: Progress) -> dict[str, Any]:
        """Train one network."""
        doing = f"training {stage}, fold {fold}"
        folder = self.trained(stage) / f"fold_{fold}"
        job = {"configuration": stage, "fold": fold, "weights": self._start_weights(stage, fold)}
        result = self.child("train", doing, job, progress, folder)
        write_curves(folder, f"{stage}, fold {fold}")
        return result

    def trained(self, stage: Configuration) -> Path:
        """Where nnU-Net puts a configuration's networks."""
        return self.top / "nnUNet_results" / self.raw.name / f"nnUNetTrainer__{self.plans}__{stage}"

    def _start_plans(self) -> dict[str, str] | None:
        """Both JSON files of the model that the training starts from."""
        if self.start is None:
            return None
        stage = self._start_stage(self.recipe.stages[-1])
        return {
            kind: str(self.start.path(f"nnunet/{stage.name}/{kind}.json").resolve()) for kind in ("plans", "dataset")
        }

    def _start_stage(self, stage: Configuration) -> Any:
        model = None if self.start is None else self.start.manifest.nnunet
        for known in () if model is None else model.stages:
            if known.name == stage:
                return known
        raise ConfigError(f"The model to start from has no {stage} that nnU-Net trained.",
                          hint="Choose another start, or leave it out of the recipe.")  # fmt: skip

    def _start_weights(self, stage: Configuration, fold: int | str) -> str | None:
        """The weights of the same fold, or of the first."""
        if self.start is None:
            return None
        paths: tuple[str, ...] = self._start_stage(stage).weights
        own = [path for path in paths if path.endswith(f"/fold_{fold}.safetensors")]
        return str(self.start.path((own or list(paths))[0]).resolve())

    def bundle(self, folds: str, trained: Mapping[str, Mapping[str, Any]]) -> Bundle:
        """Import what was trained."""
        recipe = self.recipe
        wishes = Wishes(
            name=None, configuration=recipe.configuration,
            folds=tuple(map(str, self.folds_for(recipe.configuration))), sequences=recipe.sequences,
            lesion=recipe.lesion, licence=recipe.licence,
        )  # fmt: skip
        words = f"{self.raw.name}-{recipe.network.replace('+', 'plus')}-{recipe.configuration}".lower()
        name = recipe.name or re.sub(r"[^a-z0-9._-]+", "-", words)[:64]
        card = make_card(recipe, self.raw, folds, trained)
        target = self.top / "models" / name
        return import_nnunet(self.trained(recipe.configuration), target, wishes, replace=True, card=card)


def epoch_text(content: Mapping[str, Any]) -> str:
    """An epoch in a line."""
    loss, dice, found = (content[name] for name in ("train_loss", "pseudo_dice", "lesion_sensitivity"))
    shown = [f"epoch {content['epoch']} of {content['epochs']}"]
    shown += [] if loss is None else [f"loss {loss:.3f}"]
    shown += [] if dice is None else [f"pseudo Dice {dice:.3f}"]
    shown += [] if found is None else [f"{found:.0%} of lesions found"]
    minutes = content["left_s"] / 60
    left = f"{minutes / 60:.1f} h" if minutes >= 90 else f"{minutes:.0f} min"
    return ", ".join([*shown, f"{left} left"])
