"""The data set that a training learns from, and what in it would break the training."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nibabel as nib
import numpy as np

from metseg.core.errors import InputError, ModelError
from metseg.datasets.manifest import MANIFEST
from metseg.datasets.nnunet_raw import DESCRIPTION, TRAINING, RawPart, read_part
from metseg.datasets.splits import SPLITS, Fold, divided, grouped_folds, read_splits
from metseg.io.case_names import shown_name
from metseg.io.limits import LABEL_LIMITS
from metseg.io.nifti import read_nifti
from metseg.io.nnunet_plans import Labels, Plans
from metseg.io.tables import read_table
from metseg.training.nnunet.recipe import NnunetRecipe

_ENDINGS: Final = (".nii.gz", ".nii")
_TOLD: Final = 5


@dataclass(frozen=True)
class RawData:
    """A data set in nnU-Net raw layout.

    Args:
        folder: of the data set.
        name: that nnU-Net gets to know it by.
        channels: names, in order.
        ending: of the files.
        cases: names, sorted.
        labels: what the outputs mean.
        ignored: value of voxels that nobody looked at; None where there is none.
        patients: of each case; empty where nothing says.
    """

    folder: Path
    name: str
    channels: tuple[str, ...]
    ending: str
    cases: tuple[str, ...]
    labels: Labels
    ignored: int | None
    patients: Mapping[str, str]

    def image(self, case: str, channel: int) -> Path:
        """File of an image."""
        return self.folder / "imagesTr" / f"{case}_{channel:04d}{self.ending}"

    def label(self, case: str) -> Path:
        """File of a label map."""
        return self.folder / "labelsTr" / f"{case}{self.ending}"

    def files(self) -> list[Path]:
        """All that a training reads."""
        images = [self.image(case, n) for case in self.cases for n in range(len(self.channels))]
        known = [path for name in (DESCRIPTION, SPLITS, MANIFEST) if (path := self.folder / name).is_file()]
        return [*known, *images, *(self.label(case) for case in self.cases)]


def read_raw(folder: Path) -> RawData:
    """What a data set says of itself, and which files it has; no image is read.

    Raises:
        InputError: it is no data set in nnU-Net raw layout, or lacks files; all that are missing are told.
    """
    told = _read_json(folder / DESCRIPTION)
    if not isinstance(told, dict):
        raise InputError(f"dataset.json in {shown_name(folder)} is not what nnU-Net reads.", hint=_HINT)
    plans = Plans({}, told)
    ending = told.get("file_ending")
    if ending not in _ENDINGS:
        raise InputError(
            f"dataset.json in {shown_name(folder)} gives files the ending {ending!r}; metseg trains on NIfTI.",
            hint=f"Convert the images, and set file_ending to one of {', '.join(_ENDINGS)}.",
        )
    if "dataset" in told:
        raise InputError("dataset.json lists its files itself, under the key dataset.", hint=_HINT)
    try:
        labels, channels = plans.labels(), plans.channels()
    except (ModelError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"dataset.json in {shown_name(folder)} is wrong: {error}", hint=_HINT) from error
    if not channels or not labels.foreground:
        raise InputError(f"dataset.json in {shown_name(folder)} names no channels or no labels.", hint=_HINT)
    ignored = told["labels"].get("ignore")
    part = read_part(folder, TRAINING, ending)
    raw = RawData(
        folder.resolve(), _nnunet_name(folder.resolve()), channels, ending, tuple(sorted(part.images)), labels,
        None if ignored is None else int(ignored), _patients(folder),
    )  # fmt: skip
    _refuse(_missing(raw, part), raw, "Complete them, or take those cases out of imagesTr and labelsTr.")
    return raw


_HINT: Final = "metseg synthesise and metseg datasets import write data sets as nnU-Net wants them."


def _missing(raw: RawData, part: RawPart) -> Iterator[str]:
    if not part.images:
        yield "imagesTr holds no image CASE_0000" + raw.ending
    expected = set(range(len(raw.channels)))
    for case in raw.cases:
        found = set(part.images[case])
        if lacking := sorted(expected - found):
            yield f"{case} lacks channel {lacking[0]} ({raw.channels[lacking[0]]})"
        if more := sorted(found - expected):
            yield f"{case} has a channel {more[0]}, which dataset.json does not name"
        if case not in part.labels:
            yield f"{case} has no label map"


def check_voxels(raw: RawData, recipe: NnunetRecipe) -> None:
    """Read all images and label maps. NaN is looked for here, since nnU-Net reads it as 0, without a word.

    Raises:
        InputError: label values outside the scheme, no foreground anywhere, sizes that differ within a case, voxels
            that are no finite numbers, one slice for a network in 3D, or files that cannot be read.
    """
    known = {0, *raw.labels.foreground} | ({raw.ignored} if raw.ignored is not None else set())
    seen: set[int] = set()
    problems: list[str] = []
    for case in raw.cases:
        try:
            volume, _, _ = read_nifti(raw.label(case), LABEL_LIMITS)
            images = [_looked_at(raw.image(case, n)) for n in range(len(raw.channels))]
        except InputError as error:
            problems.append(f"{case}: {error.message}")
            continue
        except Exception as error:  # noqa: BLE001  nibabel's readers raise whatever they meet
            problems.append(f"{case}: an image cannot be read ({type(error).__name__})")
            continue
        shape, shapes = volume.grid.shape, [size for size, _ in images]
        if any(other != shape for other in shapes):
            problems.append(f"{case}: images and label map differ in size ({', '.join(map(_size, (*shapes, shape)))})")
        for channel, (_, strange) in enumerate(images):
            if strange:
                problems.append(f"{case} has {strange} voxels in channel {channel} that are not finite numbers")
        values = {float(value) for value in np.unique(np.asarray(volume.array))}
        if unknown := sorted(values - known):
            problems.append(f"{case} has the label {unknown[0]:g}, which dataset.json does not name")
        seen |= {int(value) for value in values & set(raw.labels.foreground)}
        if recipe.configuration != "2d" and min(shape) == 1:
            problems.append(f"{case} is a single slice ({_size(shape)}), and {recipe.configuration} is 3D")
    if not seen and not problems:
        problems.append("no label map marks anything: there is nothing to learn")
    _refuse(problems, raw, "Correct the data set; single slices can be trained on with the configuration 2d.")


def folds_of(raw: RawData, recipe: NnunetRecipe) -> tuple[list[Fold], str]:
    """The folds: of the data set's own file, or else made here, the cases of a patient together.

    Returns:
        The folds, and a sentence that says whence they are.

    Raises:
        InputError: cases or patients on both sides, cases that are not there, folds that are not there.
    """
    folds = read_splits(raw.folder)
    if folds is not None:
        told = f"The folds are those of the data set's {SPLITS}."
        _refuse(_split_problems(raw, folds), raw, f"Correct {SPLITS}, or take it away so that folds are made.")
    else:
        folds = grouped_folds({case: raw.patients.get(case, case) for case in raw.cases}, seed=recipe.seed)
        by = "patient" if raw.patients else "study, since nothing says which studies are of one patient"
        told = f"The folds were made by {by}."
    wanted = () if recipe.folds == "all" else recipe.folds
    if lacking := [fold for fold in wanted if fold >= len(folds)]:
        raise InputError(
            f"The recipe wants the fold {lacking[0]}, but {shown_name(raw.folder)} gives {len(folds)} folds.",
            hint=f"Take folds from 0 to {len(folds) - 1}." if folds else 'Take folds = "all".',
        )
    return folds, told


def _split_problems(raw: RawData, folds: Sequence[Fold]) -> Iterator[str]:
    for number, fold in enumerate(folds):
        train, val = set(fold["train"]), set(fold["val"])
        if not train or not val:
            yield f"fold {number} has a side without cases"
        if strange := sorted((train | val) - set(raw.cases)):
            yield f"fold {number} names {strange[0]}, which is not there"
        if both := sorted(train & val):
            yield f"in fold {number} {both[0]} is on both sides"
        elif both := divided(fold, raw.patients):
            case = min(case for case in val if raw.patients.get(case) == both[0])
            yield f"in fold {number} the patient of {case} is on both sides"


def _patients(folder: Path) -> dict[str, str]:
    """Whose each case is, by the manifest; empty without one."""
    if not (folder / MANIFEST).is_file():
        return {}
    rows = read_table(folder / MANIFEST, required=("case", "patient"))
    return {row["case"]: row["patient"] for row in rows if row["case"] and row["patient"]}


def _nnunet_name(folder: Path) -> str:
    if re.fullmatch(r"Dataset\d{3}_[\w-]+", folder.name):
        return folder.name
    return f"Dataset999_{re.sub(r'[^A-Za-z0-9]+', '_', folder.name).strip('_') or 'data'}"


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path.name} in {shown_name(path.parent)} cannot be read: {error.strerror}.",
                         hint=_HINT) from error  # fmt: skip
    except ValueError as error:
        raise InputError(f"{path.name} in {shown_name(path.parent)} is no JSON: {error}.", hint=_HINT) from error


def _looked_at(path: Path) -> tuple[tuple[int, ...], int]:
    """Size of an image, and how many of its voxels are no finite numbers."""
    voxels = np.asanyarray(nib.Nifti1Image.from_filename(path).dataobj)
    return voxels.shape, voxels.size - int(np.count_nonzero(np.isfinite(voxels)))


def _size(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _refuse(problems: Iterator[str] | Sequence[str], raw: RawData, hint: str) -> None:
    """Raise for all problems at once, the first few by name."""
    found = list(problems)
    if not found:
        return
    more = f"; and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    raise InputError(
        f"The data set {shown_name(raw.folder)} cannot be trained on: {'; '.join(found[:_TOLD])}{more}.", hint=hint
    )
