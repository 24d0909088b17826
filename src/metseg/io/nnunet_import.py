"""Make a bundle of a model that nnU-Net v2 trained. Nothing of it is run, and the user's folder is only read."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import ValidationError

from metseg.core.errors import ConfigError, ModelError
from metseg.engines.bundle import Bundle, read_bundle, read_manifest, sha256_of, write_manifest
from metseg.engines.manifest import MANIFEST_NAME, NAME_PATTERN, BundleManifest
from metseg.engines.nnunet.stage import NnunetModel, Stage
from metseg.engines.nnunet.unet_graph import unet_graph
from metseg.io.nnunet_channels import channel_doubts, channel_sequences
from metseg.io.nnunet_folder import TrainedFolder, choose, find_trained, read_checkpoint
from metseg.io.nnunet_plans import Labels, model_of, stage_of
from metseg.io.nnunet_source import SOURCE, Origin, Source, dataset_name, read_source
from metseg.io.nnunet_stamp import STAMP, Looks, looks_of, read_stamp, write_stamp
from metseg.io.nnunet_zip import models_folder
from metseg.io.output_folder import make_output_folder
from metseg.io.whole_folder import alone_in, partial_folder, publish, settle_leftovers

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
class Card:
    """What those who trained a model know of it; an import alone knows none of it.

    Args:
        training_data: a sentence each.
        results: measured, by name of the data.
        limits: what it is known to be bad at, a sentence each.
        intended_use: one sentence.
        about: Markdown for the bundle's README.
    """

    training_data: tuple[str, ...]
    results: Mapping[str, Any]
    limits: tuple[str, ...]
    intended_use: str
    about: str


@dataclass(frozen=True)
class _Chosen:
    """What is imported: the folders of the stages, the coarse one first, and the files that decide the bundle."""

    folders: tuple[TrainedFolder, ...]
    folds: tuple[str, ...]
    files: dict[str, Path]
    looks: Looks | None
    wishes: dict[str, Any]

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each file: all of them are read."""
        return {name: sha256_of(path) for name, path in self.files.items()}

    def made(self, bundle: Bundle, *, by_looks: bool) -> bool:
        """Whether a bundle came of these files, by their looks or by their bytes; and of these wishes, if any."""
        kept = read_source(bundle)
        if kept is None or not _agree(kept, self.wishes):
            return False
        if not by_looks:
            return kept.files == self.hashes
        stamp = read_stamp(bundle)
        return stamp is not None and stamp.source == self.looks and stamp.holds(bundle)


def import_model(source: Path, out: Path, wishes: Wishes | None = None, *, replace: bool = False) -> Bundle:
    """``import_nnunet`` of a folder or a zip, to ``out/<name>``. A zip that was imported before is not unpacked again.

    Args:
        source: ``nnUNet_results``, a data set's folder in it, a trained folder, or a zip of such.
        out: folder of bundles.
        wishes: of the user.
        replace: a bundle that was imported of other files.

    Raises:
        ModelError: as for ``import_nnunet``.
        ConfigError: channels or labels that cannot be matched.
        InputError: the zip will not do, or ``out`` cannot be made or written.
    """
    wishes = wishes or Wishes()
    zipped = source if source.is_file() else None
    if zipped is not None and (there := _of_zip(zipped, out, wishes)):
        return there
    with models_folder(source) as folder:
        return import_nnunet(folder, out / bundle_name(folder, wishes), wishes, replace=replace, zipped=zipped)


def import_nnunet(
    root: Path,
    target: Path,
    wishes: Wishes | None = None,
    *,
    replace: bool = False,
    zipped: Path | None = None,
    card: Card | None = None,
) -> Bundle:
    """Convert a trained folder, or the one that ``root`` holds, into the bundle ``target``.

    The bundle appears whole or not at all. One that is there already and came of the same files is left as it is;
    files are the same if they are in name, size and time as they were then, or else if their SHA-256 is.

    Args:
        root: ``nnUNet_results``, a data set's folder in it, or a trained folder.
        target: the bundle's folder.
        wishes: of the user.
        replace: a bundle that was imported of other files.
        zipped: the zip that ``root`` was unpacked from.
        card: of those who trained it; None: it is not known.

    Raises:
        ModelError: no model, several, a broken or unsupported one; or ``target`` holds another.
        ConfigError: channels or labels that cannot be matched.
        InputError: the folder above ``target`` cannot be made or written.
    """
    wishes = wishes or Wishes()
    chosen = _chosen(root, wishes, zipped)
    make_output_folder(target.parent)
    try:
        with alone_in(target.parent):
            settle_leftovers(target, _own_names)
            if there := _imported(target, chosen, wishes, replace=replace):
                return there
        with partial_folder(target, _own_names) as partial:
            bundle = _write(partial, target.name, chosen, wishes, card)
            write_stamp(bundle, chosen.looks, wishes.name)
            with alone_in(target.parent):
                # Another process may have been faster.
                if there := _imported(target, chosen, wishes, replace=replace):
                    return there
                publish(partial, target, _own_names)
        return Bundle(target, bundle.manifest, bundle.sha256)
    except OSError as error:
        raise ModelError(f"The bundle {target.name} could not be written: {error.strerror}.") from error


def bundle_name(root: Path, wishes: Wishes | None = None) -> str:
    """What a bundle of the model in ``root`` is called, where the user did not say.

    Raises:
        ConfigError: the user named it in a way that no bundle can be named.
        ModelError: no model, or several.
    """
    wishes = wishes or Wishes()
    if wishes.name:
        if not re.fullmatch(NAME_PATTERN, wishes.name):
            raise ConfigError(
                f"{wishes.name!r} cannot name a model.", hint="Use up to 64 of a-z, 0-9, '.', '_' and '-'."
            )
        return wishes.name
    folder = choose(root, find_trained(root), wishes.configuration)
    words = re.sub(r"[^a-z0-9._]+", "-", f"{folder.path.parent.name}-{folder.configuration}".lower())
    return words.strip("-._")[:64]


def _chosen(root: Path, wishes: Wishes, zipped: Path | None) -> _Chosen:
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
    looks = looks_of(top, files) if zipped is None else looks_of(zipped.parent, [zipped])
    named = {path.relative_to(top).as_posix(): path for path in files}
    return _Chosen(folders, folds, named, looks, _said(wishes))


def _said(wishes: Wishes) -> dict[str, Any]:
    """Wishes as a bundle keeps them; it has its name anyway."""
    said: dict[str, Any] = json.loads(json.dumps(asdict(wishes)))
    del said["name"]
    return said


def _agree(kept: Source, said: Mapping[str, Any]) -> bool:
    """Whether a bundle is what these wishes ask for; none ask for whatever there is."""
    return not any(said.values()) or kept.wishes == said


def _of_zip(zipped: Path, out: Path, wishes: Wishes) -> Bundle | None:
    """The bundle in ``out`` that was imported of a zip of this name, size and time, by these wishes; None if none."""
    looks = looks_of(zipped.parent, [zipped])
    folders = [out / wishes.name] if wishes.name else sorted(out.glob("[!.]*"))
    for folder in folders:
        if not (folder / STAMP).is_file():
            continue
        with suppress(ModelError):  # a broken bundle is told of, or replaced, once it is clear that it is meant
            bundle = read_manifest(folder)
            stamp, kept = read_stamp(bundle), read_source(bundle)
            known = stamp is not None and (stamp.source, stamp.name) == (looks, wishes.name) and stamp.holds(bundle)
            if known and kept is not None and _agree(kept, _said(wishes)):
                return bundle
    return None


def _imported(target: Path, chosen: _Chosen, wishes: Wishes, *, replace: bool) -> Bundle | None:
    """The bundle that is there, if it came of the same files; None if there is none, or one that may be replaced."""
    if not target.exists():
        return None
    bundle = read_manifest(target)
    if SOURCE not in bundle.manifest.files:
        raise ModelError(f"{target} is a bundle, but was not imported from nnU-Net.", hint="Choose another name.")
    if chosen.made(bundle, by_looks=True):
        return bundle
    bundle = read_bundle(target)
    if chosen.made(bundle, by_looks=False):
        write_stamp(bundle, chosen.looks, wishes.name)
        return bundle
    if not replace:
        raise ModelError(
            f"The bundle {target} came of other files or options.", hint="Choose another name, or use --force."
        )
    return None


def _own_names(folder: Path) -> set[str]:
    """What of a bundle's folder is not the user's; all is, where it is no whole bundle."""
    try:
        files = read_manifest(folder).manifest.files
    except ModelError:
        return set()
    return {MANIFEST_NAME, *(name.partition("/")[0] for name in files)}


def _write(folder: Path, name: str, chosen: _Chosen, wishes: Wishes, card: Card | None) -> Bundle:
    last = chosen.folders[-1]
    hashes = chosen.hashes  # of the files before they are converted
    stages: list[Stage] = []
    origins: dict[str, Origin] = {}
    for trained in chosen.folders:
        stage, trainer = _write_stage(folder, trained, chosen.folds)
        stages.append(stage)
        origins[stage.name] = Origin(folder=trained.path.name, trainer=trainer)
    source = Source(dataset=dataset_name(last, name), stages=origins, files=hashes, wishes=chosen.wishes)
    source.write(folder)
    model = model_of(last.plans(), stages)
    labels = last.plans().labels()
    sequences = channel_sequences(last.plans().channels(), wishes.sequences)
    _write_readme(folder, name, chosen, sequences, labels, card)
    told = _manifest(name, chosen, model, labels, sequences, wishes)
    if card is not None:
        told |= {key: value for key, value in vars(card).items() if key != "about"}
        told["limits"] = (*card.limits, *channel_doubts(chosen.folders[-1].plans().channels(), sequences))
    try:
        manifest = BundleManifest.model_validate(told)
    except ValidationError as error:
        raise ModelError(f"The model does not fit a bundle: {error.errors()[0]['msg']}.") from error
    return write_manifest(folder, manifest)


def _write_stage(folder: Path, trained: TrainedFolder, folds: Sequence[str]) -> tuple[Stage, str]:
    """The weights of all folds and both JSON files; what the stage is, and the name of its trainer."""
    from safetensors.numpy import save_file

    paths = [f"{trained.configuration}/fold_{fold}.safetensors" for fold in folds]
    (folder / trained.configuration).mkdir()
    for path, fold in zip(paths, folds, strict=True):
        checkpoint = read_checkpoint(trained.folds[fold])
        stage = stage_of(trained.plans(), trained.configuration, paths, checkpoint.mirror_axes)
        unet_graph(stage.network, checkpoint.weights, stage.window)  # refuses weights of another network
        # np.ascontiguousarray would give a single number an axis.
        save_file({key: np.asarray(w, order="C") for key, w in checkpoint.weights.items()}, str(folder / path))
    kept = folder / "nnunet" / trained.configuration
    kept.mkdir(parents=True)
    for file in ("plans.json", "dataset.json"):
        shutil.copyfile(trained.path / file, kept / file)
    return stage, checkpoint.trainer or trained.trainer


def _manifest(
    name: str, chosen: _Chosen, model: NnunetModel, labels: Labels, sequences: tuple[str, ...], wishes: Wishes
) -> dict[str, Any]:
    named = {value: label for label, value in zip(labels.names, labels.values, strict=True) if value}
    last = model.stages[-1]
    spacing = None
    if len(last.spacing_mm) == 3:
        spacing = tuple(last.spacing_mm[n] for n in np.argsort(model.axes))
    trained = chosen.folders[-1]
    return {
        "name": name, "version": chosen.hashes[f"{trained.path.name}/plans.json"][:12],
        "modality": "CT" if sequences == ("ct",) else "MR", "sequences": sequences, "spacing_mm": spacing,
        "labels": named, "lesion": lesion_labels(named, wishes.lesion), "outputs": tuple(named.values()),
        "preprocessing": trained.plans().steps(), "nnunet": model, "operating_points": {"nnunet": {"threshold": None}},
        "default_operating_point": "nnunet",
        "training_data": (f"What {trained.trainer} was trained on: {trained.path.parent.name}.",),
        "limits": ("It was imported: metseg measured nothing of it.",
                   *channel_doubts(trained.plans().channels(), sequences)),
        "intended_use": "Research, as far as those who trained it say. Not for diagnosis or treatment.",
        "licence": wishes.licence or "unknown", "files": {},
    }  # fmt: skip


def lesion_labels(labels: Mapping[int, str], wished: Sequence[str]) -> tuple[int, ...]:
    """Values of the labels that make a lesion.

    Args:
        labels: their names, by value.
        wished: names of those that do; none: all but those that name something else.

    Raises:
        ConfigError: a name that is not among them.
    """
    if unknown := [name for name in wished if name not in labels.values()]:
        raise ConfigError(f"The model has no label {unknown[0]!r}.", hint=f"It has {', '.join(labels.values())}.")
    own = [value for value, name in labels.items() if (name in wished if wished else not _NO_LESION.search(name))]
    return tuple(own or labels)


def _write_readme(
    folder: Path, name: str, chosen: _Chosen, sequences: tuple[str, ...], labels: Labels, card: Card | None
) -> None:
    stages = "\n".join(f"- `{one.path.name}`, folds {', '.join(chosen.folds)}" for one in chosen.folders)
    unknown = (
        "metseg measured nothing of it. What it was trained on, how good it is and under which licence it may be used, "
        "those who trained it know."
    )
    origin = "Imported by `metseg models import` from a model that nnU-Net v2 trained" if card is None else "Trained"
    about = unknown if card is None else card.about
    (folder / "README.md").write_text(
        f"# {name}\n\n{origin} on {chosen.folders[-1].path.parent.name}:\n\n{stages}\n\n"
        f"Channels: {', '.join(sequences)}. Outputs: {', '.join(labels.names)}.\n\n{about}\n",
        encoding="utf-8",
    )
