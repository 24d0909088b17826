"""Images that are put through steps before nnU-Net sees them; the bundle records the steps, and its engine runs them.

Processed copies lie in the run's own raw folder, compressed, in single precision: nnU-Net takes its fingerprint, plans
and prepares from them. Labels are a link to the data set's.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from metseg.core.errors import ConfigError, InputError
from metseg.core.progress import Progress, no_progress
from metseg.core.study import Modality
from metseg.core.volume import Volume
from metseg.datasets.as_done import as_done
from metseg.engines.bundle import Bundle
from metseg.io.atomic import write_text
from metseg.io.case_names import shown_name
from metseg.io.limits import Limits
from metseg.io.nifti import read_nifti_image, write_nifti
from metseg.io.nifti_header import NiftiCodes
from metseg.io.nnunet_channels import channel_sequences
from metseg.io.nnunet_plans import STEPS
from metseg.preprocess.steps import AnyStep, check_order, run
from metseg.training.nnunet.dataset import RawData

# nnU-Net learns from thin slabs, too, which metseg segment would refuse.
_LIMITS: Final = Limits(min_size=1, constant_allowed=True)


def check_steps(raw: RawData, steps: Sequence[AnyStep], sequences: tuple[str, ...]) -> None:
    """Refuse steps that the bundle would refuse when all is trained.

    Args:
        raw: the data set.
        steps: of the recipe.
        sequences: which image each channel is; empty: by the names in ``dataset.json``.

    Raises:
        ConfigError: CLAHE of CT without a window before it, or channels that nobody knows.
    """
    modality: Modality = "CT" if steps and channel_sequences(raw.channels, sequences) == ("ct",) else "MR"
    try:
        check_order(steps, modality)
    except ValueError as error:
        raise ConfigError(f"The recipe's preprocessing will not do: {error}.") from error


def check_start_steps(start: Bundle, steps: Sequence[AnyStep]) -> None:
    """Refuse to go on from a model that saw its images otherwise.

    Raises:
        ConfigError: its steps are others.
    """
    if tuple(start.manifest.preprocessing) != tuple(steps):
        theirs, ours = (", ".join(step.name for step in of) or "none" for of in (start.manifest.preprocessing, steps))
        raise ConfigError(
            f"The model to start from learned from images after other steps ({theirs}) than the recipe's ({ours}).",
            hint="Give the recipe the [[preprocessing]] that the model's model.json says, with the same values.",
        )


def write_processed(
    raw: RawData, steps: Sequence[AnyStep], folder: Path, *, workers: int = 1, progress: Progress = no_progress
) -> dict[str, Any]:
    """Write a data set whose images went through steps; files that are there, from a run that was stopped, are kept.

    Args:
        raw: the data set.
        steps: in order.
        folder: of the new one.
        workers: processes; they change nothing but the time.
        progress: told after each image.

    Returns:
        ``images``, how many there are, and ``bytes``, how much room they take.

    Raises:
        InputError: an image that cannot be read, or a folder that cannot be written.
        MetsegError: the disk is full, or a process was killed.
    """
    try:
        (folder / "imagesTr").mkdir(parents=True, exist_ok=True)
        if not (folder / "labelsTr").is_symlink():
            (folder / "labelsTr").symlink_to(raw.folder / "labelsTr", target_is_directory=True)
    except OSError as error:
        raise InputError(f"{shown_name(folder)} cannot be written: {error.strerror}.") from error
    told = json.loads((raw.folder / "dataset.json").read_text(encoding="utf-8"))
    told[STEPS] = [step.model_dump(mode="json") for step in steps]
    write_text(folder / "dataset.json", json.dumps(told, indent=2) + "\n")
    sources = [raw.image(case, n) for case in raw.cases for n in range(len(raw.channels))]
    one = partial(_write_one, steps=tuple(steps), folder=folder / "imagesTr")
    sizes = []
    for _, done in as_done(one, sources, workers):
        if isinstance(done, BaseException):
            raise done
        sizes.append(done)
        progress(len(sizes), len(sources), "processing images")
    return {"images": len(sizes), "bytes": sum(sizes)}


def _write_one(source: Path, *, steps: tuple[AnyStep, ...], folder: Path) -> int:
    """One image; returns the size of its file."""
    target = folder / source.name
    if not target.is_file():
        image = read_nifti_image(source, _LIMITS)
        array, grid = run(steps, image.volume)
        write_nifti(target, Volume(array, grid), NiftiCodes.from_headers(image.headers))
    return target.stat().st_size
