"""Read one image or one mask of a source, wherever it lies: a file, a zip, a folder of slices."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from metseg.core.errors import InputError
from metseg.datasets.source import SourceFile
from metseg.io.case_names import shown_name
from metseg.io.gzip_stream import open_regular
from metseg.io.image_file import ImageFile
from metseg.io.image_formats import read_image_file
from metseg.io.labels import LabelFile, label_file
from metseg.io.limits import DEFAULT_LIMITS, LABEL_LIMITS, MIB, Limits
from metseg.io.other_formats import OTHER_SUFFIXES, data_file_of
from metseg.io.png_stack import numbered_slices, read_png_stack
from metseg.io.zip_files import unpacked


def read_source_image(source: SourceFile, limits: Limits = DEFAULT_LIMITS) -> ImageFile:
    """One image.

    Raises:
        InputError: it is refused.
    """
    if source.slices is not None:
        return read_png_stack(source.path, source.slices.spacing_mm, source.slices.axes, limits)
    with _opened(source) as path:
        return read_image_file(path, limits, _name(source))


def read_source_labels(source: SourceFile) -> LabelFile:
    """One mask, its values as they stand.

    Raises:
        InputError: it is refused, or is no label map.
    """
    return label_file(read_source_image(source, LABEL_LIMITS), _name(source))


def source_sha256(source: SourceFile) -> str:
    """Hash over the same bytes as that of ``read_source_image``, but nothing is decoded.

    Raises:
        InputError: it cannot be read.
    """
    digest = hashlib.sha256()
    with _opened(source) as path:
        for part in _parts(path, slices=source.slices is not None):
            with open_regular(part) as file:
                while block := file.read(MIB):
                    digest.update(block)
    return digest.hexdigest()


def _parts(path: Path, *, slices: bool) -> list[Path]:
    """The files that make one image, in reading order."""
    if slices:
        return numbered_slices(path)
    data = data_file_of(path) if path.name.lower().endswith(OTHER_SUFFIXES) else None
    return [path] if data is None else [path, data]


def _name(source: SourceFile) -> str:
    return PurePosixPath(source.member).name if source.member else shown_name(source.path)


@contextmanager
def _opened(source: SourceFile) -> Iterator[Path]:
    """The file itself; unpacked for as long as the block lasts where it is zipped."""
    if not source.member:
        yield source.path
        return
    with unpacked(source.path, lambda inside: inside == PurePosixPath(source.member)) as files:
        if source.member not in files:
            raise InputError(f"{_name(source)} is no longer in {shown_name(source.path)}.", hint="Run it again.")
        yield files[source.member]
