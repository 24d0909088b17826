"""Zips of nnU-Net's models, as ``nnUNetv2_export_model_to_zip`` writes them, or made by hand of such folders."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from metseg.io.case_names import safe_name, stem
from metseg.io.limits import MODEL_LIMITS, Limits
from metseg.io.nnunet_folder import split_name
from metseg.io.whole_folder import passing_folder
from metseg.io.zip_files import unpack

_NEEDED: Final = re.compile(r"plans\.json|dataset\.json|fold_\w+/checkpoint_(final|best)\.pth")


@contextmanager
def models_folder(source: Path, limits: Limits = MODEL_LIMITS) -> Iterator[Path]:
    """A folder of models as it is; or what models need of a zip, unpacked for as long as the block lasts.

    Args:
        source: a folder, or a zip that holds ``TRAINER__PLANS__CONFIGURATION`` folders at any depth.
        limits: caps on the whole zip.

    Raises:
        InputError: the zip is none, does what no honest one does, is damaged, or there is no room to unpack it.
    """
    if not source.is_file():
        yield source
        return
    with passing_folder() as temporary:
        folder = temporary / safe_name(source.name)  # messages name it
        folder.mkdir()
        unpack(source, folder, lambda inside: _place(inside, stem(source.name)), limits)
        yield folder


def _place(inside: PurePosixPath, name: str) -> PurePosixPath | None:
    """``DATASET/TRAINER__PLANS__CONFIGURATION/…`` for a file that a model needs; ``name`` stands for no DATASET."""
    for depth, part in enumerate(inside.parts):
        if split_name(part) and _NEEDED.fullmatch("/".join(inside.parts[depth + 1 :])):
            dataset = inside.parts[depth - 1] if depth else name
            return PurePosixPath(safe_name(dataset), *inside.parts[depth:])
    return None
