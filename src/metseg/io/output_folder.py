"""The folder that results go to: made, or refused in a sentence; what the user keeps there stays."""

import json
import os
from collections.abc import Iterable, Mapping
from errno import EACCES
from pathlib import Path
from typing import Any

from metseg.core.errors import ConfigError, InputError
from metseg.io.atomic import write_text
from metseg.io.case_names import shown_name


def unwritable(folder: Path, error: OSError) -> InputError:
    """What to say when ``folder`` could not be made or written."""
    return InputError(
        f"The output folder {shown_name(folder)} cannot be written: {error.strerror or type(error).__name__}.",
        hint="Choose a folder that you may write to, with -o.",
    )


def make_output_folder(folder: Path) -> None:
    """Make ``folder`` and those above it, where they are missing.

    Raises:
        InputError: it cannot be made, or not be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(EACCES, os.strerror(EACCES))
    except OSError as error:
        raise unwritable(folder, error) from error


def prepare_output_folder(folder: Path, names: Iterable[str], *, force: bool = False) -> None:
    """Make ``folder``, and make sure that writing ``names`` into it takes nothing from the user.

    Raises:
        InputError: the folder cannot be made, or holds one of the names (``force`` lets them be replaced).
    """
    make_output_folder(folder)
    clashing = [name for name in names if (folder / name).exists()]
    if clashing and not force:
        raise InputError(
            f"{clashing[0]} is in the output folder {shown_name(folder)} already.",
            hint="Choose another folder with -o, or replace it with --force.",
        )


def resume_output_folder(folder: Path, name: str, settings: Mapping[str, Any], *, what: str, dry: bool = False) -> None:
    """Make ``folder`` and write into it the settings of what it will hold; or make sure that it was begun with them.

    Args:
        folder: empty, not there yet, or begun by an earlier call.
        name: of the file for the settings.
        settings: plain data.
        what: the folder holds, for messages: ``"series of synthetic studies"``.
        dry: write nothing.

    Raises:
        ConfigError: it was begun with other settings.
        InputError: it holds something else, or cannot be written.
    """
    path = folder / name
    text = json.dumps(settings, indent=2) + "\n"
    if path.exists():
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{name} in {shown_name(folder)} cannot be read.", hint="Choose another folder."
            ) from error
        if known != json.loads(text):
            raise ConfigError(
                f"{shown_name(folder)} holds a {what} that was begun with other settings.",
                hint=f"Go on with those in its {name}, or choose another folder.",
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{shown_name(folder)} is there already, and is no {what}.",
            hint="Choose a folder that is empty or not there yet.",
        )
    if not dry:
        make_output_folder(folder)
        write_text(path, text)
