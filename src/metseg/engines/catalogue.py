"""Which bundles there are: those that ship with metseg, and any folder."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from metseg.core.errors import ModelError
from metseg.core.study import Modality
from metseg.engines.bundle import Bundle, read_bundle, read_manifest
from metseg.engines.manifest import MANIFEST_NAME

DEFAULT_BUNDLES: Final[Mapping[Modality, str]] = {"MR": "mets-t1c", "CT": "mets-ct"}


def shipped_folder() -> Path:
    """The folder of the bundles that ship with metseg."""
    return Path(str(files("metseg") / "models"))


def list_bundles(folder: Path | None = None) -> tuple[Bundle, ...]:
    """The bundles in a folder (None: those that ship), by name; their manifests are read, their hashes not checked.

    Raises:
        ModelError: a manifest that is not valid.
    """
    place = shipped_folder() if folder is None else folder
    return tuple(read_manifest(path.parent) for path in sorted(place.glob(f"*/{MANIFEST_NAME}")))


def shipped_manifest(name: str) -> Bundle:
    """The bundle of that name that ships; its manifest is read, its hashes are not checked.

    Raises:
        ModelError: its manifest is missing or not valid.
    """
    return read_manifest(shipped_folder() / name)


def find_bundle(name_or_folder: str | Path) -> Bundle:
    """The bundle in a folder, or the shipped one of that name; every file is checked against its hash.

    A name that ships wins over a folder of the same name in the working directory; ``./name`` means the folder.

    Raises:
        ModelError: there is none, or it is broken.
    """
    shipped = {path.parent.name: path.parent for path in shipped_folder().glob(f"*/{MANIFEST_NAME}")}
    if str(name_or_folder) in shipped and not isinstance(name_or_folder, Path):
        return read_bundle(shipped[str(name_or_folder)])
    folder = Path(name_or_folder).expanduser()
    if not folder.is_dir():
        known = f"Known models: {', '.join(shipped)}" if shipped else "No models are installed"
        raise ModelError(
            f"There is no model called {str(name_or_folder)!r}, and no folder of that name.",
            hint=f"{known}; a path to a bundle's folder works too.",
        )
    return read_bundle(folder)
