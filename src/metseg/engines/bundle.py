"""A model bundle: a folder that explains itself. Reading one checks it; nothing in it is ever unpickled."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from metseg.core.errors import ModelError
from metseg.engines.base import ModelCard
from metseg.engines.manifest import MANIFEST_NAME, BundleManifest

_LARGEST_MANIFEST: Final = 1_000_000
_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose manifest is valid and whose files are those it names.

    Args:
        folder: where it lies.
        manifest: what its ``model.json`` says.
        sha256: of ``model.json``: it holds the hashes of all other files, so this is the hash of the whole bundle.
    """

    folder: Path
    manifest: BundleManifest
    sha256: str

    @property
    def name(self) -> str:
        """Of the model."""
        return self.manifest.name

    @property
    def card(self) -> ModelCard:
        """What everyone needs to know of the model."""
        it = self.manifest
        return ModelCard(
            name=it.name,
            version=it.version,
            sha256=self.sha256,
            modality=it.modality,
            sequences=it.sequences,
            spacing_mm=it.spacing_mm,
            labels=it.labels,
            lesion=it.lesion,
            skull_stripped=it.skull_stripped,
            operating_points=it.operating_points,
            default_operating_point=it.default_operating_point,
            calibration=it.calibration,
            limits=it.limits,
            intended_use=it.intended_use,
        )

    def path(self, name: str) -> Path:
        """Path of a file that the manifest names.

        Raises:
            ModelError: the manifest does not name it.
        """
        if name not in self.manifest.files:
            raise ModelError(
                f"Bundle {self.name} ({self.folder}) has no {name}.", hint="Choose an engine that its files fit."
            )
        return self.folder / name


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle and check every file against its hash.

    Raises:
        ModelError: no folder, no ``model.json``, a field that is wrong (says which), a file that is missing or changed.
    """
    bundle = read_manifest(folder)
    for name, expected in bundle.manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise ModelError(f"Bundle {folder} lacks the file {name}.", hint="Copy or install the bundle again.")
        if sha256_of(path) != expected:
            raise ModelError(
                f"The file {name} of bundle {folder} is not the one that {MANIFEST_NAME} names: its SHA-256 differs.",
                hint="It was changed or damaged; copy or install the bundle again.",
            )
    return bundle


def read_manifest(folder: Path) -> Bundle:
    """Read a bundle's ``model.json`` without looking at its other files.

    Raises:
        ModelError: no folder, no ``model.json``, or a field that is wrong (says which).
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise ModelError(f"There is no model bundle at {folder}: it has no {MANIFEST_NAME}.")
    if path.stat().st_size > _LARGEST_MANIFEST:
        raise ModelError(f"{path} is over {_LARGEST_MANIFEST} bytes long, so it is no {MANIFEST_NAME}.")
    content = path.read_bytes()
    try:
        manifest = BundleManifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ModelError(
            f"{path} is not valid{f' at {where}' if where else ''}: {first['msg']}{more}.",
            hint="The bundle may be of another version of metseg, or edited by hand.",
        ) from error
    return Bundle(folder, manifest, hashlib.sha256(content).hexdigest())


def write_manifest(folder: Path, manifest: BundleManifest) -> Bundle:
    """Write ``model.json`` beside a bundle's files, with the hashes of all files that lie there now.

    Args:
        folder: holds the bundle's other files already.
        manifest: its ``files`` are replaced.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST_NAME)
    hashes = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    complete = BundleManifest.model_validate({**manifest.model_dump(), "files": hashes})
    text = json.dumps(complete.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
    return read_bundle(folder)
