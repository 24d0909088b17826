"""Make a bundle of a model that nnU-Net v2 trained. Nothing of it is run, and the user's folder is only read."""

import json
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import ValidationError

from metseg.core.errors import ConfigError, ModelError
from metseg.core.study import SEQUENCES
from metseg.engines.bundle import Bundle, read_bundle, sha256_of, write_manifest
from metseg.engines.manifest import BundleManifest
from metseg.engines.nnunet.stage import NnunetModel, Stage
from metseg.engines.nnunet.unet_graph import unet_graph
from metseg.io.nnunet_folder import TrainedFolder, choose, find_trained, read_checkpoint
from metseg.io.nnunet_plans import Labels, model_of, stage_of

_SOURCE: Final = "nnunet/source.json"
_NAMES: Final = {  # how data sets call their channels, in lower case without anything but letters and digits
    "t1c": "t1c", "t1ce": "t1c", "t1gd": "t1c", "t1post": "t1c", "t1km": "t1c", "t1contrast": "t1c", "t1wce": "t1c",
    "ct1": "t1c", "t1": "t1n", "t1n": "t1n", "t1w": "t1n", "t1pre": "t1n", "t1native": "t1n", "flair": "t2f",
    "t2f": "t2f", "t2flair": "t2f", "t2": "t2w", "t2w": "t2w", "ct": "ct", "cect": "ct",
}  # fmt: skip
_NO_LESION: Final = re.compile(r"o?edema|snfh|whole|\bwt\b|resection|cavity|\brc\b|brain|peritumou?ral", re.IGNORECASE)


@dataclass(frozen=True)
class Wishes:
    """What the user says of a model beyond what its folder says.

    Args:
        name: of the bundle; None: made of the data set's.
        configuration: one of those that were trained; None: the last stage of a cascade, or the finest.
        folds: names; empty: all numbered ones.
        sequences: which image each channel is; empty: by the names in ``dataset.json``.
        lesion: names of the labels that make a lesion; empty: all but those that name oedema, cavity, brain or whole.
        licence: of the weights.
    """

    name: str | None = None
    configuration: str | None = None
    folds: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    lesion: tuple[str, ...] = ()
    licence: str | None = None


@dataclass(frozen=True)
class _Source:
    """What is imported: the folders of the stages, the coarse one first, and the files that decide the bundle."""

    folders: tuple[TrainedFolder, ...]
    folds: tuple[str, ...]
    hashes: dict[str, str]
    wishes: dict[str, Any]

    def as_plain(self) -> dict[str, Any]:
        """What is kept in the bundle, to know it again."""
        return {"files": self.hashes, "wishes": self.wishes}

    def made(self, bundle: Bundle) -> bool:
        """Whether a bundle came of these files; and of these wishes, unless there are none."""
        kept = json.loads(bundle.path(_SOURCE).read_text(encoding="utf-8"))
        same_wishes = not any(self.wishes.values()) or kept.get("wishes") == self.wishes
        return bool(kept.get("files") == self.hashes and same_wishes)


def import_nnunet(root: Path, target: Path, wishes: Wishes | None = None, *, replace: bool = False) -> Bundle:
    """Convert a trained folder, or the one that ``root`` holds, into the bundle ``target``.

    The bundle appears whole or not at all. One that is there already and came of the same files is left as it is.

    Args:
        root: ``nnUNet_results``, a data set's folder in it, or a trained folder.
        target: the bundle's folder.
        wishes: of the user.
        replace: a bundle that was imported of other files.

    Raises:
        ModelError: no model, several, a broken or unsupported one; or ``target`` holds another.
        ConfigError: channels or labels that cannot be matched.
    """
    wishes = wishes or Wishes()
    source = _source(root, wishes)
    if target.exists() and (there := _imported(target, source, replace=replace)):
        return there
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        aside.mkdir(parents=True)
        _write(aside, target.name, source, wishes)
        return _put(aside, target, source)
    except OSError as error:
        raise ModelError(f"The bundle {target.name} could not be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def bundle_name(root: Path, wishes: Wishes | None = None) -> str:
    """What a bundle of the model in ``root`` is called, where the user did not say.

    Raises:
        ModelError: no model, or several.
    """
    wishes = wishes or Wishes()
    if wishes.name:
        return wishes.name
    folder = choose(root, find_trained(root), wishes.configuration)
    words = re.sub(r"[^a-z0-9._]+", "-", f"{folder.path.parent.name}-{folder.configuration}".lower())
    return words.strip("-._")[:64]


def _source(root: Path, wishes: Wishes) -> _Source:
    found = find_trained(root)
    last = choose(root, found, wishes.configuration)
    first = last.previous(found)
    folders = (last,) if first is None else (first, last)
    folds = wishes.folds or tuple(sorted(set.intersection(*(set(one.folds) for one in folders))))
    for one in folders:
        if missing := [fold for fold in folds if fold not in one.folds]:
            raise ModelError(f"{one.path.name} lacks the fold {missing[0]}; it has {', '.join(one.folds)}.")
    if not folds:
        raise ModelError(f"The stages {' and '.join(one.configuration for one in folders)} share no fold.")
    files = [
        path
        for one in folders
        for path in (one.path / "plans.json", one.path / "dataset.json", *(one.folds[fold] for fold in folds))
    ]
    top = last.path.parent
    said = asdict(wishes)
    del said["name"]
    hashes = {path.relative_to(top).as_posix(): sha256_of(path) for path in files}
    return _Source(folders, folds, hashes, json.loads(json.dumps(said)))


def _imported(target: Path, source: _Source, *, replace: bool) -> Bundle | None:
    """The bundle that is there, if it came of the same files; None if it did not, but may be replaced."""
    bundle = read_bundle(target)
    if _SOURCE not in bundle.manifest.files:
        raise ModelError(f"{target} is a bundle, but was not imported from nnU-Net.", hint="Choose another name.")
    if source.made(bundle):
        return bundle
    if not replace:
        raise ModelError(
            f"The bundle {target} came of other files or options.", hint="Choose another name, or use --force."
        )
    return None


def _put(aside: Path, target: Path, source: _Source) -> Bundle:
    """Give a finished bundle its name; an older one steps aside first."""
    old = aside.with_suffix(".old")
    if target.exists():
        target.rename(old)
    try:
        aside.rename(target)
    except OSError:
        # Another process was faster.
        if (there := _imported(target, source, replace=False)) is not None:
            return there
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
    return read_bundle(target)


def _write(folder: Path, name: str, source: _Source, wishes: Wishes) -> None:
    from safetensors.numpy import save_file

    last = source.folders[-1].plans()
    stages: list[Stage] = []
    for trained in source.folders:
        paths = [f"{trained.configuration}/fold_{fold}.safetensors" for fold in source.folds]
        stage = None
        for path, fold in zip(paths, source.folds, strict=True):
            checkpoint = read_checkpoint(trained.folds[fold])
            stage = stage_of(trained.plans(), trained.configuration, paths, checkpoint.mirror_axes)
            unet_graph(stage.network, checkpoint.weights, stage.window)  # refuses weights of another network
            (folder / path).parent.mkdir(exist_ok=True)
            save_file({key: np.ascontiguousarray(w) for key, w in checkpoint.weights.items()}, str(folder / path))
        if stage is not None:
            stages.append(stage)
        (folder / "nnunet" / trained.configuration).mkdir(parents=True)
        for file in ("plans.json", "dataset.json"):
            shutil.copyfile(trained.path / file, folder / "nnunet" / trained.configuration / file)
    (folder / _SOURCE).write_text(json.dumps(source.as_plain(), indent=2) + "\n", encoding="utf-8")
    model = model_of(last, stages)
    labels = last.labels()
    sequences = _sequences(last.channels(), wishes.sequences)
    _write_readme(folder, name, source, sequences, labels)
    try:
        manifest = BundleManifest.model_validate(_manifest(name, source, model, labels, sequences, wishes))
    except ValidationError as error:
        raise ModelError(f"The model does not fit a bundle: {error.errors()[0]['msg']}.") from error
    write_manifest(folder, manifest)


def _manifest(
    name: str, source: _Source, model: NnunetModel, labels: Labels, sequences: tuple[str, ...], wishes: Wishes
) -> dict[str, Any]:
    named = {value: label for label, value in zip(labels.names, labels.values, strict=True) if value}
    last = model.stages[-1]
    spacing = None
    if len(last.spacing_mm) == 3:
        spacing = tuple(last.spacing_mm[n] for n in np.argsort(model.axes))
    trained = source.folders[-1]
    return {
        "name": name, "version": source.hashes[f"{trained.path.name}/plans.json"][:12],
        "modality": "CT" if sequences == ("ct",) else "MR", "sequences": sequences, "spacing_mm": spacing,
        "labels": named, "lesion": _lesion(named, wishes.lesion), "outputs": tuple(named.values()),
        "preprocessing": (), "nnunet": model, "operating_points": {"nnunet": {"threshold": None}},
        "default_operating_point": "nnunet",
        "training_data": (f"What {trained.trainer} was trained on: {trained.path.parent.name}.",),
        "limits": ("It was imported: metseg measured nothing of it.",),
        "intended_use": "Research, as far as those who trained it say. Not for diagnosis or treatment.",
        "licence": wishes.licence or "unknown", "files": {},
    }  # fmt: skip


def _sequences(channels: tuple[str, ...], wished: tuple[str, ...]) -> tuple[str, ...]:
    """The sequence of each channel."""
    if wished:
        if len(wished) != len(channels) or set(wished) - set(SEQUENCES):
            raise ConfigError(
                f"The model has {len(channels)} channels ({', '.join(channels)}), not {', '.join(wished)}.",
                hint=f"Name one of {', '.join(SEQUENCES)} for each, in order.",
            )
        return wished
    plain = [re.sub(r"[^a-z0-9]", "", channel.lower()) for channel in channels]
    if unknown := [channel for channel, key in zip(channels, plain, strict=True) if key not in _NAMES]:
        raise ConfigError(
            f"dataset.json calls a channel {unknown[0]!r}, which could be any sequence.",
            hint=f"Say which of {', '.join(SEQUENCES)} each channel is, in order: {', '.join(channels)}.",
        )
    return tuple(_NAMES[key] for key in plain)


def _lesion(labels: Mapping[int, str], wished: Sequence[str]) -> tuple[int, ...]:
    """Values of the labels that make a lesion."""
    if unknown := [name for name in wished if name not in labels.values()]:
        raise ConfigError(f"The model has no label {unknown[0]!r}.", hint=f"It has {', '.join(labels.values())}.")
    own = [value for value, name in labels.items() if (name in wished if wished else not _NO_LESION.search(name))]
    return tuple(own or labels)


def _write_readme(folder: Path, name: str, source: _Source, sequences: tuple[str, ...], labels: Labels) -> None:
    stages = "\n".join(f"- `{one.path.name}`, folds {', '.join(source.folds)}" for one in source.folders)
    (folder / "README.md").write_text(
        f"# {name}\n\nImported by `metseg models import` from a model that nnU-Net v2 trained on "
        f"{source.folders[-1].path.parent.name}:\n\n{stages}\n\nChannels: {', '.join(sequences)}. "
        f"Outputs: {', '.join(labels.names)}.\n\nmetseg measured nothing of it. What it was trained on, how good it is "
        "and under which licence it may be used, those who trained it know.\n",
        encoding="utf-8",
    )  # fmt: skip
