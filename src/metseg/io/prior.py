"""Masks of the lesions known from an earlier visit: which case has which, and how one comes to a study."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from metseg.core.errors import ConfigError, InputError
from metseg.core.study import Study
from metseg.core.volume import LabelMap
from metseg.io.case_names import shown_name
from metseg.io.discover import CaseInput
from metseg.io.folder_walk import is_folder, there
from metseg.io.image_file import WARNING
from metseg.io.labels import read_labels
from metseg.io.lesion_files import read_tracking_uids
from metseg.lesions.components import label_instances
from metseg.lesions.known import measure_known
from metseg.preprocess.nearest import carried_to_grid

# In a folder, the first of these that is there; the last two are results of metseg.
_NUMBERED: Final = "lesions.nii.gz"
_NAMES: Final = ("{case}.nii.gz", "{case}/lesions.nii.gz", "{case}/segmentation.nii.gz")
# In messages and notes: the file's own name may be the patient's, and notes go into the result.
_NAME: Final = "the prior"
_MOST_OUTSIDE: Final = 0.5
_ROUNDING: Final = 1e-9


def with_priors(cases: Sequence[CaseInput], prior: Path, out: Path) -> list[CaseInput]:
    """The cases, each with the mask of its known lesions, if it has one.

    Args:
        cases: all of a run.
        prior: a mask, for one case; or a folder that holds masks by the names of the cases.
        out: the output folder, which must not hold what guides its results.

    Raises:
        ConfigError: one mask for several cases, a folder that has none for any case, or a place in the output folder.
        InputError: there is no such path.
    """
    if not there(prior):
        raise InputError(f"{shown_name(prior)} (prior) does not exist.", hint="Check the path.")
    if out.resolve() in (prior.resolve(), *prior.resolve().parents):
        raise ConfigError(
            "The prior lies in the output folder, where results would replace it.",
            hint="Choose another output folder with -o.",
        )
    if not is_folder(prior):
        if len(cases) > 1:
            raise ConfigError(
                f"One mask is given as prior, but there are {len(cases)} cases.",
                hint="Give a folder that holds CASE.nii.gz for each case, or one case.",
            )
        return [replace(case, prior=prior) for case in cases]
    found = [replace(case, prior=_in_folder(prior, case.case)) for case in cases]
    if found and all(case.prior is None for case in found):
        raise ConfigError(
            f"The folder {shown_name(prior)} holds no prior for any case.",
            hint="Name masks after the cases: CASE.nii.gz, CASE/lesions.nii.gz or CASE/segmentation.nii.gz.",
        )
    return found


def guided_by(study: Study, path: Path) -> Study:
    """The study with the lesions of a mask as its prior: every voxel that is not 0, numbered by component.

    Args:
        study: without a prior.
        path: a label map on any grid in the same world space.

    Returns:
        An empty mask leaves the study as it is, but for a note.

    Raises:
        InputError: the mask is refused as label maps are, or over half of it lies outside the study's images.
    """
    read = read_labels(path, name=_NAME)
    source = replace(study.source, notes=(*study.source.notes, *read.notes))
    mask = np.asarray(read.labels.array) != 0
    if not mask.any():
        note = f"{WARNING}The mask given as prior is empty: the result is that without one."
        return replace(study, source=replace(source, notes=(*source.notes, note)))
    grid = read.labels.grid
    lesions = LabelMap(label_instances(mask), grid)
    prior = LabelMap(carried_to_grid(lesions.array, grid, study.grid), study.grid)
    names = _names(path, np.asarray(read.labels.array), lesions.array)
    known = tuple(replace(one, tracking_uid=names.get(one.id)) for one in measure_known(lesions, prior))
    outside_mm3 = sum((1 - one.share_inside) * one.volume_mm3 for one in known)
    if outside_mm3 > (_MOST_OUTSIDE + _ROUNDING) * sum(one.volume_mm3 for one in known):
        raise InputError(
            f"Over half of {_NAME} lies outside the images of study {study.case}: it is not registered to them.",
            hint="Register the earlier visit to this study, and bring its mask along.",
        )
    return replace(study, source=source, prior=prior, known=known)


def _names(path: Path, values: NDArray[Any], components: NDArray[Any]) -> dict[int, str]:
    """The tracking UID of each component, where the mask is a result of metseg with its table beside it."""
    if path.name != _NUMBERED:
        return {}
    uids = read_tracking_uids(path.with_name("lesions.json"))
    found: dict[int, str] = {}
    for number, box in enumerate(find_objects(components), 1):
        inside = values[box][components[box] == number]
        numbers, counts = np.unique(inside, return_counts=True)
        uid = uids.get(int(numbers[counts.argmax()]))
        if uid is not None and uid not in found.values():
            found[number] = uid
    return found


def _in_folder(folder: Path, case: str) -> Path | None:
    candidates = (folder / name.format(case=case) for name in _NAMES)
    return next((path for path in candidates if path.is_file()), None)
