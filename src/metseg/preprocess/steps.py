"""The ordered list of steps that a bundle asks for, from plain data to prepared channels."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from metseg.core.errors import ConfigError
from metseg.core.grid import Grid
from metseg.core.study import Modality, Study
from metseg.core.volume import Volume
from metseg.preprocess.clahe import Clahe
from metseg.preprocess.extent import CropForeground, PadToMultiple
from metseg.preprocess.normalise import NormaliseForeground, NormaliseWindow
from metseg.preprocess.reorient import Reorient
from metseg.preprocess.resample import Resample


@runtime_checkable
class Step(Protocol):
    """One change of an image.

    ``apply`` takes one image (i, j, k) or channels on one grid (channel, i, j, k), float32, and never changes its
    input. It returns the new array (perhaps the input itself) and the grid that says where its voxels lie; so to
    undo any list of steps is to interpolate from the last grid to the first.
    """

    @property
    def name(self) -> str:
        """As bundles spell it."""
        ...

    def apply(self, array: Float[np.ndarray, "*channel i j k"], grid: Grid) -> tuple[NDArray[np.float32], Grid]:
        """The changed image and its grid."""
        ...


AnyStep = Annotated[
    Reorient | Resample | CropForeground | NormaliseForeground | NormaliseWindow | PadToMultiple | Clahe,
    Field(discriminator="name"),
]
# What may be done to images before nnU-Net sees them: it has its own ways to turn, resample, crop and normalise them.
BeforeNnunet = Annotated[NormaliseWindow | Clahe, Field(discriminator="name")]
_ADAPTER: Final[TypeAdapter[tuple[AnyStep, ...]]] = TypeAdapter(tuple[AnyStep, ...])


def build(steps: Iterable[Mapping[str, Any]]) -> tuple[AnyStep, ...]:
    """Steps from plain data: ``[{"name": "resample", "spacing_mm": [1, 1, 1]}, …]``.

    Raises:
        ConfigError: an unknown step or parameter, or a value out of range; says which step.
    """
    try:
        return _ADAPTER.validate_python([dict(step) for step in steps])
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place, *rest = first["loc"]
        where = ".".join(map(str, rest))
        raise ConfigError(
            f"Preprocessing step {place}{f' ({where})' if where else ''} is wrong: {first['msg']}.",
            hint="There are: reorient, resample, crop_foreground, normalise_foreground, normalise_window, "
            "pad_to_multiple, clahe.",
        ) from error


def check_order(steps: Sequence[Step], modality: Modality) -> None:
    """Refuse CLAHE of a CT that was not windowed: from -1000 to 3000 HU, all of the brain is in a few bins.

    Raises:
        ValueError: no window stands before it, or what the window makes 0 is brain, and no background.
    """
    window: NormaliseWindow | None = None
    for step in steps:
        if isinstance(step, NormaliseWindow):
            window = step
        if not isinstance(step, Clahe) or modality != "CT":
            continue
        if window is None:
            raise ValueError("CLAHE on CT needs a window before it: put the step normalise_window above clahe")
        if step.keep_zero and window.middle != window.low:
            raise ValueError("CLAHE takes 0 for background, and the window before it makes 0 of its middle: set middle "
                             "to what low is, or keep_zero to false")  # fmt: skip


def run(steps: Sequence[Step], volume: Volume) -> tuple[NDArray[np.float32], Grid]:
    """Run steps on one image.

    Returns:
        The prepared array (i, j, k), float32, and its grid.
    """
    array, grid = run_channels(steps, np.asarray(volume.array, dtype=np.float32)[np.newaxis], volume.grid)
    return array[0], grid


def run_study(steps: Sequence[Step], study: Study, sequences: Sequence[str]) -> tuple[NDArray[np.float32], Grid]:
    """Run steps on a study's images together, so that all end on one grid.

    Returns:
        Channels (channel, i, j, k), float32, in the order of ``sequences``, and their grid.

    Raises:
        InputError: a sequence that the study lacks.
    """
    return run_channels(steps, study.stack(sequences), study.grid)


def run_channels(
    steps: Sequence[Step], channels: Float[np.ndarray, "channel i j k"], grid: Grid
) -> tuple[NDArray[np.float32], Grid]:
    """Run steps on channels (channel, i, j, k) that share a grid."""
    array: NDArray[np.float32] = channels.astype(np.float32, copy=False)
    for step in steps:
        array, grid = step.apply(array, grid)
    return array, grid
