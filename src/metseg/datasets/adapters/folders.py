"""What adapters ask of folders: folders of a pattern, images by name, whatever their format."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from metseg.core.errors import ConfigError, InputError
from metseg.io.case_names import IMAGE_SUFFIXES, shown_name, stem
from metseg.io.folder_walk import is_folder, is_hidden


def folders_named(src: Path, pattern: str) -> Iterator[tuple[Path, re.Match[str]]]:
    """Folders at or below ``src`` whose whole name fits a pattern, sorted by path; hidden ones left out."""
    compiled = re.compile(pattern, re.IGNORECASE)
    for folder in all_folders(src):
        if match := compiled.fullmatch(folder.resolve().name if folder == src else folder.name):
            yield folder, match


def all_folders(src: Path) -> Iterator[Path]:
    """``src`` and every folder below it, sorted; hidden ones left out, links not followed."""
    for place, names, _ in os.walk(src):
        names[:] = sorted(name for name in names if not is_hidden(name))
        yield Path(place)


def places_of(src: Path, folder: Path) -> tuple[str, ...]:
    """Names of the folders from ``src``, itself included, to ``folder``, in lower case."""
    return tuple(part.lower() for part in (src.resolve().name, *folder.relative_to(src).parts))


def images_in(folder: Path) -> list[Path]:
    """Image files right in a folder, sorted by name; none where there is no such folder.

    Raises:
        InputError: the folder cannot be listed.
    """
    if not is_folder(folder):
        return []
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"The folder {shown_name(folder)} cannot be listed: {error.strerror}.", hint="Check its rights."
        ) from error
    return [path for path in files if path.name.lower().endswith(IMAGE_SUFFIXES) and not is_hidden(path.name)]


def image_named(folder: Path, *names: str) -> Path | None:
    """The first of some images that is there, by its name without suffix; upper and lower case are one."""
    by_name = {stem(path.name).casefold(): path for path in images_in(folder)}
    return next((by_name[name.casefold()] for name in names if name.casefold() in by_name), None)


def first_group(regex: str, text: str) -> str:
    """The first group that a pattern finds in a text, or all that matches; empty where it finds nothing.

    Raises:
        ConfigError: the pattern is no regular expression.
    """
    try:
        match = re.search(regex, text)
    except re.error as error:
        raise ConfigError(f"{regex!r} is no regular expression: {error}.", hint=r"Try '_(\d+)'.") from error
    return "" if match is None else str(match[1] if match.re.groups else match[0])


def told(names: Sequence[str], shown: int = 4) -> str:
    """A few names, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
