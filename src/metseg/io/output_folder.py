"""The folder that results go to: made, or refused in a sentence; what the user keeps there stays."""

import os
from collections.abc import Iterable
from errno import EACCES
from pathlib import Path

from metseg.core.errors import InputError
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
