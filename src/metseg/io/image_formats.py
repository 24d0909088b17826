"""One image file, read by the reader of its format."""

from pathlib import Path

from metseg.io.image_file import ImageFile
from metseg.io.limits import Limits
from metseg.io.nifti import read_nifti_image
from metseg.io.other_formats import OTHER_SUFFIXES, read_other


def read_image_file(path: Path, limits: Limits, name: str) -> ImageFile:
    """Read NIfTI, MetaImage or NRRD, told by the file's name.

    Args:
        path: the file.
        limits: what it may claim and hold.
        name: what messages and notes call it.

    Raises:
        InputError: the file is refused.
    """
    if path.name.lower().endswith(OTHER_SUFFIXES):
        return read_other(path, limits, name)
    return read_nifti_image(path, limits, name)
