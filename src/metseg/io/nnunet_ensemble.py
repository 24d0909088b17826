"""Make one bundle of several that were imported from nnU-Net: the mean of their probabilities decides."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from metseg.core.errors import ConfigError, ModelError
from metseg.engines.bundle import Bundle, read_manifest, write_manifest
from metseg.engines.manifest import MANIFEST_NAME, BundleManifest
from metseg.engines.nnunet.stage import NnunetModel
from metseg.io.whole_folder import partial_folder, publish_new

_SAME = ("modality", "sequences", "skull_stripped", "labels", "lesion", "preprocessing")


def write_ensemble(members: Sequence[Bundle], target: Path, results: Mapping[str, Any] | None = None) -> Bundle:
    """Write the bundle ``target``, which holds all of its members, whole or not at all.

    One that is there already and has the same members is left as it is.

    Args:
        members: two or more; labels and probabilities are those of nnU-Net's ensembles.
        target: the bundle's folder; its name is the bundle's.
        results: measured of the ensemble; those of the members are kept, by their names.

    Raises:
        ConfigError: fewer than two members, one twice, or a name that no bundle can have.
        ModelError: members that are no nnU-Net models or do not fit together, or another ``target`` is there.
        InputError: the folder above ``target`` cannot be made or written.
    """
    _check(members)
    told = _manifest(members, target.name, results or {})
    if target.exists():
        there = read_manifest(target)
        if (there.manifest.version, len(there.manifest.ensemble) + 1) == (told["version"], len(members)):
            return there
        raise ModelError(f"{target} is another model.", hint="Choose another name.")
    try:
        manifest = BundleManifest.model_validate(told)
    except ValidationError as error:
        raise ModelError(f"These models cannot decide together: {error.errors()[0]['msg']}.") from error
    try:
        with partial_folder(target, lambda _: ()) as partial:
            for number, member in enumerate(members):
                for name in member.manifest.files:
                    copy = partial / _inside(number) / name
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(member.path(name), copy)
                shutil.copyfile(member.folder / MANIFEST_NAME, partial / _inside(number) / "member.json")
            (partial / "README.md").write_text(_readme(members, target.name), encoding="utf-8")
            bundle = write_manifest(partial, manifest)
            publish_new(partial, target)
    except OSError as error:
        raise ModelError(f"The bundle {target.name} could not be written: {error.strerror}.") from error
    return Bundle(target, bundle.manifest, bundle.sha256)


def _check(members: Sequence[Bundle]) -> None:
    if len({member.sha256 for member in members}) < max(2, len(members)):
        raise ConfigError("An ensemble is of two models or more, each once.")
    first = members[0]
    for member in members:
        it = member.manifest
        if it.nnunet is None or it.ensemble:
            kind = "an ensemble itself" if it.ensemble else "no nnU-Net model"
            raise ModelError(f"The model {member.name} is {kind}.", hint="Ensembles are made of imported models.")
        if other := [field for field in _SAME if getattr(it, field) != getattr(first.manifest, field)]:
            raise ModelError(
                f"{first.name} and {member.name} differ in {', '.join(other)}, so that they cannot decide together.",
                hint="Take models that were trained on the same images and labels.",
            )


def _inside(number: int) -> str:
    return f"members/{number}"


def _manifest(members: Sequence[Bundle], name: str, results: Mapping[str, Any]) -> dict[str, Any]:
    first = members[0].manifest
    models = [_moved(member, number) for number, member in enumerate(members)]
    licences = dict.fromkeys(member.manifest.licence for member in members)
    every = [member.manifest for member in members]
    return {
        **first.model_dump(), "name": name, "nnunet": models[0], "ensemble": models[1:],
        "version": hashlib.sha256(" ".join(member.sha256 for member in members).encode()).hexdigest()[:12],
        "training_data": tuple(dict.fromkeys(line for it in every for line in it.training_data)),
        "limits": tuple(dict.fromkeys(line for it in every for line in it.limits)),
        "results": {**{member.name: dict(member.manifest.results) for member in members}, **results},
        "calibration": None, "licence": " AND ".join(licences), "files": {},
    }  # fmt: skip


def _moved(member: Bundle, number: int) -> NnunetModel:
    """A member's model, its weights where the ensemble has them."""
    (model,) = member.manifest.nnunet_models
    stages = [
        stage.model_copy(update={"weights": tuple(f"{_inside(number)}/{path}" for path in stage.weights)})
        for stage in model.stages
    ]
    return model.model_copy(update={"stages": tuple(stages)})


def _readme(members: Sequence[Bundle], name: str) -> str:
    lines = "\n".join(f"- {member.name} {member.card.version}, SHA-256 {member.sha256}" for member in members)
    return (
        f"# {name}\n\nAn ensemble: the mean of the probabilities of these models decides, as with nnU-Net's "
        f"`nnUNetv2_ensemble`.\n\n{lines}\n\nEach lies under `members/` with the card that it had.\n"
    )
