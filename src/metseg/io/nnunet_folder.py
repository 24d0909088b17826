"""A folder that nnU-Net v2 left: which configurations were trained in it, with which folds, and their weights.

nnU-Net's results lie in ``nnUNet_results/DatasetXXX_NAME/TRAINER__PLANS__CONFIGURATION/fold_N/checkpoint_final.pth``,
with ``plans.json`` and ``dataset.json`` beside the folds. Any of these folders may be given.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from metseg.core.errors import ModelError
from metseg.engines.nnunet.unet_weights import Weights, once
from metseg.io.nnunet_plans import Plans
from metseg.io.torch_file import read_torch_file

CHECKPOINTS: Final = ("checkpoint_final.pth", "checkpoint_best.pth")
# What a user who names none wants: the last stage of a cascade, or else the finest network.
PREFERRED: Final = ("3d_cascade_fullres", "3d_fullres", "3d_lowres", "2d")
_LARGEST_JSON: Final = 64 << 20
_WEIGHTS: Final = "network_weights"
# What torch puts before the names of a network that it wraps, to train on several GPUs or to compile.
_WRAPPED: Final = re.compile(r"^(?:module\.|_orig_mod\.)+")
_KEYS_TOLD: Final = 8


@dataclass(frozen=True)
class Checkpoint:
    """What metseg needs of a checkpoint.

    Args:
        weights: by name, each once; in single precision, but for counters.
        trainer: name of nnU-Net's class.
        configuration: that it was trained for.
        mirror_axes: along which the training allows mirroring.
    """

    weights: Weights
    trainer: str
    configuration: str
    mirror_axes: tuple[int, ...]


@dataclass(frozen=True)
class TrainedFolder:
    """``TRAINER__PLANS__CONFIGURATION``, with all that a model needs.

    Args:
        path: of the folder.
        trainer: name of nnU-Net's class.
        plans_name: of the plans.
        configuration: that was trained.
        folds: checkpoint of each fold, by the fold's name.
    """

    path: Path
    trainer: str
    plans_name: str
    configuration: str
    folds: Mapping[str, Path]

    def plans(self) -> Plans:
        """Both its JSON files.

        Raises:
            ModelError: one is missing or no JSON.
        """
        return read_plans(self.path)

    def previous(self, all_of_them: Sequence["TrainedFolder"]) -> "TrainedFolder | None":
        """The folder of the stage before, in a cascade; None where there is no cascade.

        Raises:
            ModelError: it was not trained, or is not there.
        """
        wanted = self.plans().configuration(self.configuration).get("previous_stage")
        if not wanted:
            return None
        place = (self.path.parent, self.trainer, self.plans_name, wanted)
        for other in all_of_them:
            if (other.path.parent, other.trainer, other.plans_name, other.configuration) == place:
                return other
        raise ModelError(
            f"{self.configuration} needs the labels of {wanted}, but {self.path.parent.name} has no trained "
            f"{self.trainer}__{self.plans_name}__{wanted}.",
            hint="Put that folder beside it, or choose a configuration that stands by itself.",
        )


def find_trained(root: Path) -> tuple[TrainedFolder, ...]:
    """All trained folders at or below ``root``, at most two levels down; one that is given itself brings its siblings.

    Raises:
        ModelError: there is none.
    """
    top = root.parent if split_name(root.name) else root
    found = [one for level in ("", "[!.]*", "[!.]*/[!.]*") for path in sorted(top.glob(level) if level else [top])
             for one in _trained(path)]  # fmt: skip
    if not found:
        raise ModelError(
            f"There is no trained nnU-Net model in {root.name}.",
            hint="A model is a folder TRAINER__PLANS__CONFIGURATION with plans.json, dataset.json and "
            "fold_0/checkpoint_final.pth.",
        )
    return tuple(found)


def choose(root: Path, found: Sequence[TrainedFolder], configuration: str | None = None) -> TrainedFolder:
    """The folder to take: the one that was given, or the preferred configuration of the only data set.

    Raises:
        ModelError: several could be meant, or none has the configuration.
    """
    candidates = [one for one in found if one.path == root] or list(found)
    if configuration is not None:
        candidates = [one for one in candidates if one.configuration == configuration]
    order = [name for name in PREFERRED if any(one.configuration == name for one in candidates)]
    best = [one for one in candidates if not order or one.configuration == order[0]]
    if len(best) == 1:
        return best[0]
    there = ", ".join(sorted(f"{one.path.parent.name}/{one.path.name}" for one in (best or found)))
    if not best:
        raise ModelError(f"No trained model has the configuration {configuration}.", hint=f"There is {there}.")
    raise ModelError(f"{root.name} holds {len(best)} models, and nothing tells which is meant.",
                     hint=f"Give the folder of one: {there}.")  # fmt: skip


def read_plans(folder: Path) -> Plans:
    """Both JSON files of a trained folder, or of a stage in a bundle.

    Raises:
        ModelError: one is missing or no JSON.
    """
    return Plans(_read_json(folder / "plans.json"), _read_json(folder / "dataset.json"))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint without running anything that is in it.

    Raises:
        ModelError: it is damaged, foreign, or holds more than weights and plain data.
    """
    content = read_torch_file(path)
    weights = content.get(_WEIGHTS) if isinstance(content, Mapping) else None
    if not isinstance(weights, Mapping) or not all(isinstance(w, np.ndarray) for w in weights.values()):
        raise ModelError(
            f"{path.parent.name}/{path.name} is no checkpoint of nnU-Net: {_instead_of_weights(content)}.",
            hint=f"nnU-Net v2 keeps the weights by name under the key {_WEIGHTS}; save them so.",
        )
    init = content.get("init_args", {})
    own = once({_WRAPPED.sub("", str(name)): np.asarray(w) for name, w in weights.items()})
    axes = content.get("inference_allowed_mirroring_axes") or ()
    return Checkpoint(
        {name: w.astype(np.float32) if w.dtype.kind == "f" else w for name, w in own.items()},
        str(content.get("trainer_name", "")),
        str(init.get("configuration", "")) if isinstance(init, Mapping) else "",
        tuple(int(axis) for axis in axes),
    )


def _instead_of_weights(content: Any) -> str:
    """What a foreign checkpoint holds where nnU-Net has its weights, as the end of a sentence."""
    if not isinstance(content, Mapping):
        return f"it holds a {type(content).__name__}, no keys with values"
    if _WEIGHTS in content:
        return f"what it has under the key {_WEIGHTS} are no weights by name"
    told = ", ".join(repr(str(key)[:64]) for key in list(content)[:_KEYS_TOLD])
    more = f" and {len(content) - _KEYS_TOLD} more" if len(content) > _KEYS_TOLD else ""
    return f"it has no key {_WEIGHTS}, but {told}{more}" if told else f"it has no key {_WEIGHTS}, nor any other"


def split_name(name: str) -> tuple[str, str, str] | None:
    """Trainer, plans and configuration of a folder ``TRAINER__PLANS__CONFIGURATION``; None if it is no such name."""
    match = re.fullmatch(r"([A-Za-z]\w*?)__([\w-]+?)__(\w+)", name)
    return None if match is None else (match[1], match[2], match[3])


def _trained(path: Path) -> Iterator[TrainedFolder]:
    names = split_name(path.name)
    if names is None or not (path / "plans.json").is_file() or not (path / "dataset.json").is_file():
        return
    folds = {}
    for folder in sorted(path.glob("fold_*")):
        there = [folder / name for name in CHECKPOINTS if (folder / name).is_file()]
        if there:
            folds[folder.name.removeprefix("fold_")] = there[0]
    numbered = {name: file for name, file in folds.items() if name != "all"}
    if folds:
        yield TrainedFolder(path, *names, numbered or folds)


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise ModelError(f"{path.parent.name}/{path.name} is over {_LARGEST_JSON} bytes long.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path.parent.name}/{path.name} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path.parent.name}/{path.name} is no JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path.parent.name}/{path.name} is not what nnU-Net writes.")
    return content
