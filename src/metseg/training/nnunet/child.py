"""Inside the child: nnU-Net v2 (2.8), told what to do by a job on stdin. ``process.py`` starts it.

nnU-Net's own commands are not used: they find trainers by name in nnU-Net's package. Its classes are called instead.
"""

import errno
import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Final

import torch
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    nnUNetPlannerResEncL,
    nnUNetPlannerResEncM,
)
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from metseg.core.errors import ConfigError, InputError, MetsegError, ModelError
from metseg.training.nnunet.messages import ERROR, PROGRESS, RESULT, Say, line_of, plain_error
from metseg.training.nnunet.plan_edits import PLANNERS, Topology, check_plans, check_start, with_network, with_patch
from metseg.training.nnunet.recipe import NnunetRecipe
from metseg.training.nnunet.several import ToldError, train_together
from metseg.training.nnunet.trainer import Trainer, number, replace

_PLANNERS: Final = {one.__name__: one for one in (ExperimentPlanner, nnUNetPlannerResEncM, nnUNetPlannerResEncL)}
_LEAST_EDGE: Final = 4  # of the coarsest feature map: nnU-Net's


def plan(job: dict[str, Any], recipe: NnunetRecipe, _say: Say) -> dict[str, Any]:
    """Take the data set's fingerprint and plan, or take over the plans that a model was trained by."""
    name = job["dataset"]
    folder = Path(os.fspath(job["preprocessed"])) / name
    DatasetFingerprintExtractor(name, job["processes"], verbose=False).run(overwrite_existing=True)
    planner = PLANNERS[recipe.network]
    content = json.loads((Path(job["raw"]) / name / "dataset.json").read_text(encoding="utf-8"))
    if job["start"] is None:
        memory = {} if recipe.gpu_memory_gb is None else {"gpu_memory_target_in_gb": recipe.gpu_memory_gb}
        kind = _edited(_PLANNERS[planner.kind], recipe, planner.network_class)
        kind(name, plans_name=planner.plans, **memory).plan_experiment()
        plans = json.loads((folder / f"{planner.plans}.json").read_text(encoding="utf-8"))
        check_plans(plans, recipe)
    else:
        theirs = {stage: json.loads(Path(path).read_text(encoding="utf-8")) for stage, path in job["start"].items()}
        plans = theirs["plans"]
        check_start(plans, theirs["dataset"], recipe, len(content["channel_names"]))
        plans = {**plans, "dataset_name": name, "plans_name": planner.plans}
        for one in recipe.prepared if recipe.batch is not None else ():
            plans["configurations"][one]["batch_size"] = recipe.batch
        shutil.copyfile(Path(job["raw"]) / name / "dataset.json", folder / "dataset.json")
        replace(folder / f"{planner.plans}.json", json.dumps(plans, indent=4))
    known = PlansManager(plans)
    chosen = {one: known.get_configuration(one) for one in recipe.stages}
    return {"stages": {
        stage: {"patch": list(it.patch_size), "batch": it.batch_size, "spacing": list(it.spacing)}
        for stage, it in chosen.items()
    }}  # fmt: skip


def _edited(kind: Any, recipe: NnunetRecipe, network_class: str | None) -> Any:
    """A planner with the recipe's patch, features, batch and network. The rest follows from these."""

    class Planner(kind):
        UNet_base_num_features: int

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if recipe.features is not None:
                self.UNet_base_num_features = recipe.features

        def get_plans_for_configuration(self, spacing: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
            it = super().get_plans_for_configuration(spacing, *args, **kwargs)
            if recipe.patch is not None and len(recipe.patch) == len(it["patch_size"]):
                most = self.UNet_max_features_2d if len(recipe.patch) == 2 else self.UNet_max_features_3d
                _, strides, kernels, patch, _ = get_pool_and_conv_props(
                    spacing, list(recipe.patch), _LEAST_EDGE, 999999
                )
                shape = Topology(tuple(map(int, patch)), _whole(strides), _whole(kernels))
                it = with_patch(it, shape, self.UNet_base_num_features, most)
            if recipe.batch is not None:
                it = {**it, "batch_size": recipe.batch}
            return with_network(it, network_class)

    return Planner


def _whole(rows: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(value) for value in row) for row in rows)


def preprocess(job: dict[str, Any], _recipe: NnunetRecipe, _say: Say) -> dict[str, Any]:
    """Prepare all studies for a configuration, and keep their labels for the validation."""
    name, ending = job["dataset"], job["ending"]
    folder = Path(job["preprocessed"]) / name
    plans = folder / f"{job['plans']}.json"
    configuration = PlansManager(str(plans)).get_configuration(job["configuration"])
    preprocessor = configuration.preprocessor_class(verbose=False)
    preprocessor.show_progress_bar = False
    preprocessor.run(name, job["configuration"], job["plans"], num_processes=job["processes"])
    truth = folder / "gt_segmentations"
    truth.mkdir(exist_ok=True)
    for case in job["cases"]:
        shutil.copyfile(Path(job["raw"]) / name / "labelsTr" / f"{case}{ending}", truth / f"{case}{ending}")
    return {"studies": len(job["cases"])}


def train(job: dict[str, Any], recipe: NnunetRecipe, say: Say) -> dict[str, Any]:
    """Train one network, or go on with it, and validate it as nnU-Net does."""
    folder = Path(job["preprocessed"]) / job["dataset"]
    plans = json.loads((folder / f"{job['plans']}.json").read_text(encoding="utf-8"))
    dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    device = _device(recipe)
    trainer = Trainer(
        plans={**plans, "continue_training": False}, configuration=job["configuration"], fold=job["fold"],
        dataset_json=dataset, device=device,
    )  # fmt: skip
    trainer.take(recipe, say, job["doing"], tuple(job["lesion"]))
    trainer.seed(recipe.epochs)  # of the weights; epochs have the numbers below
    out = Path(trainer.output_folder)
    there = [out / f"checkpoint_{kind}.pth" for kind in ("final", "latest", "best")]
    known = next((path for path in there if path.is_file()), None)
    if known is not None:
        trainer.load_checkpoint(str(known))
    elif job["weights"] is not None:
        trainer.initialize()
        _load(getattr(trainer.network, "module", trainer.network), Path(job["weights"]))
    if known != there[0]:
        trainer.run_training()
    validated = _validated(trainer, say, job["doing"])
    return _result(trainer, validated) if trainer.local_rank == 0 else {}


def _result(trainer: Trainer, validated: dict[str, Any]) -> dict[str, Any]:
    """What a training gave."""
    return {
        "folder": trainer.output_folder, "epochs": len(trainer.rows()), "stopped": trainer.spent(),
        "minutes": round(trainer.spent_s() / 60, 2), **validated, "device": trainer.device.type,
        "parameters": sum(weights.numel() for weights in trainer.network.parameters()),
    }  # fmt: skip


def _validated(trainer: Trainer, say: Say, doing: str) -> dict[str, Any]:
    """What nnU-Net's validation gives, in the first process: of how many studies, and the Dice of each label."""
    if not trainer.recipe.validation:
        return {"studies": 0, "dice": {}, "foreground_dice": None}
    say(PROGRESS, done=1.0, total=1.0, what=f"{doing}: validating")
    trainer.perform_actual_validation(trainer.recipe.probabilities)
    if trainer.local_rank != 0:
        return {}
    summary = json.loads((Path(trainer.output_folder) / "validation" / "summary.json").read_text(encoding="utf-8"))
    dice = {label: number(scores["Dice"]) for label, scores in summary["mean"].items()}
    foreground = number(summary["foreground_mean"]["Dice"])
    return {"studies": len(summary["metric_per_case"]), "dice": dice, "foreground_dice": foreground}


def judge(job: dict[str, Any], _recipe: NnunetRecipe, say: Say) -> dict[str, Any]:
    """Mean Dice of trained configurations, and of pairs of them, over all folds: nnU-Net's own cross-validation.

    nnU-Net's ``find_best_configuration`` does the same, and looks for a postprocessing, which is never wanted here.
    """
    from nnunetv2.ensembling.ensemble import ensemble_crossvalidations
    from nnunetv2.evaluation.accumulate_cv_results import accumulate_cv_results
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder

    dice = {}
    for done, entry in enumerate(job["entries"]):
        say(PROGRESS, done=done, total=len(job["entries"]), what=f"judging {entry['name']}")
        folders, out = entry["folders"], entry["out"]
        if len(folders) == 1:
            accumulate_cv_results(folders[0], out, job["folds"], job["processes"])
        else:
            shutil.rmtree(out, ignore_errors=True)
            ensemble_crossvalidations(folders, out, job["folds"], job["processes"])
            plans = PlansManager(str(Path(folders[0]) / "plans.json"))
            dataset = json.loads((Path(folders[0]) / "dataset.json").read_text(encoding="utf-8"))
            labels = plans.get_label_manager(dataset)
            compute_metrics_on_folder(
                job["truth"], out, str(Path(out) / "summary.json"), plans.image_reader_writer_class(),
                dataset["file_ending"], labels.foreground_regions if labels.has_regions else labels.foreground_labels,
                labels.ignore_label, job["processes"],
            )  # fmt: skip
        summary = json.loads((Path(out) / "summary.json").read_text(encoding="utf-8"))
        dice[entry["name"]] = number(summary["foreground_mean"]["Dice"])
    return {"dice": dice}


def _train(job: dict[str, Any], recipe: NnunetRecipe, say: Say) -> dict[str, Any]:
    """Train in this process, or in several."""
    if recipe.gpus == 1:
        return train(job, recipe, say)
    if _device(recipe).type == "cuda" and torch.cuda.device_count() < recipe.gpus:
        raise ConfigError(
            f"There are {torch.cuda.device_count()} GPUs here, not {recipe.gpus}.", hint="Set gpus lower."
        )
    return train_together(recipe.gpus, _device(recipe).type, _one_of_several, (job, recipe), say)


def _one_of_several(job: dict[str, Any], recipe: NnunetRecipe, say: Say) -> dict[str, Any]:
    """Train in one of several processes; what went wrong and has a sentence is told in it."""
    try:
        return train(job, recipe, say)
    except Exception as error:
        if (told := _known_trouble(error)) is None:
            raise
        say(ERROR, **plain_error(told))
        raise


def _device(recipe: NnunetRecipe) -> torch.device:
    kind = recipe.device
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    ready = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not ready[kind]:
        raise ConfigError(f"There is no {kind} device here.", hint='Set device to "cpu" or "auto".')
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    torch.backends.cudnn.benchmark = kind == "cuda"
    return torch.device(kind)


def _load(network: torch.nn.Module, path: Path) -> None:
    """Take weights over, but for the heads: labels may be others."""
    from safetensors.torch import load_file

    given, own = load_file(path), network.state_dict(keep_vars=True)
    with torch.no_grad():
        for name in {id(weight): name for name, weight in own.items()}.values():
            matches = [other for other, weight in own.items() if weight is own[name] and other in given]
            if ".seg_layers." in name:
                continue
            if not matches or given[matches[0]].shape != own[name].shape:
                raise ModelError(
                    f"The weights to start from do not fit the network at {name}.",
                    hint="Start from a model of the same network, configuration and number of channels.",
                )
            own[name].copy_(given[matches[0]])


def _known_trouble(error: BaseException) -> MetsegError | None:
    """The sentence for what went wrong, where there is one."""
    if isinstance(error, MetsegError):
        return error
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return InputError("The disk is full.", hint="Make room where the recipe's out lies; the same command goes on.")
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(error):
        return MetsegError("There is not enough memory.", hint="Take a smaller patch or batch, or fewer workers.")
    return None


def _stay_with_parent() -> None:
    """End this process and its own when the parent is gone: then stdin closes."""
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


def main() -> int:
    """Do the job that stdin tells; returns the exit code."""
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what nnU-Net prints goes where its errors go, at once
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    line = bytearray()
    while not line.endswith(b"\n"):
        line += os.read(0, 1) or b"\n"
    job = json.loads(line)
    threading.Thread(target=_stay_with_parent, daemon=True).start()

    def say(kind: str, **content: Any) -> None:
        messages.write(line_of(kind, content))

    steps = {"plan": plan, "preprocess": preprocess, "train": _train, "judge": judge}
    try:
        result = steps[job["step"]](job, NnunetRecipe.model_validate(job["recipe"]), say)
    except ToldError:
        return 1
    except Exception as error:
        told = _known_trouble(error)
        if told is None:
            raise
        say(ERROR, **plain_error(told))
        return 1
    say(RESULT, **result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
