"""How the files of an import looked, so that the next one need not read them all to know that they are the same.

It lies in a bundle, but is none of the files that ``model.json`` names: the bundle's hash does not depend on times.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from metseg.core.errors import MetsegError
from metseg.core.options import Options
from metseg.engines.bundle import Bundle
from metseg.io.atomic import write_text

STAMP: Final = "nnunet/stamp.json"
Looks = Mapping[str, tuple[int, int]]  # size in bytes and time of the last change in nanoseconds, by name


class Stamp(Options):
    """What was there when an import ended.

    Args:
        source: the files that were imported, or the zip that held them.
        bundle: the bundle's own files.
        name: of the bundle, where the user gave one.
    """

    source: Looks
    bundle: Looks
    name: str | None = None

    def holds(self, bundle: Bundle) -> bool:
        """Whether the bundle's files look as they did."""
        return looks_of(bundle.folder, _own_files(bundle)) == self.bundle


def looks_of(top: Path, files: Iterable[Path]) -> Looks | None:
    """How files look now, by their paths below ``top``; None where one is missing."""
    try:
        stats = {file.relative_to(top).as_posix(): file.stat() for file in files}
    except OSError:
        return None
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def read_stamp(bundle: Bundle) -> Stamp | None:
    """What a bundle's last import left; None where that is missing or not to be understood."""
    try:
        return Stamp.model_validate_json((bundle.folder / STAMP).read_bytes())
    except (OSError, ValidationError):
        return None


def write_stamp(bundle: Bundle, source: Looks | None, name: str | None) -> None:
    """Leave a stamp, if the bundle can be written; without one, the next import reads all files again.

    Args:
        bundle: made of the source, or found to be.
        source: how it looked before it was read.
        name: that the user gave.
    """
    own = looks_of(bundle.folder, _own_files(bundle))
    if source is not None and own is not None and (bundle.folder / STAMP).parent.is_dir():
        with suppress(MetsegError):
            stamp = Stamp(source=source, bundle=own, name=name)
            write_text(bundle.folder / STAMP, stamp.model_dump_json(indent=2) + "\n")


def _own_files(bundle: Bundle) -> list[Path]:
    return [bundle.folder / name for name in ("model.json", *bundle.manifest.files)]
