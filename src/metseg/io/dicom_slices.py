"""From the frames of one series to exactly one frame for each position: duplicates, several volumes, misfits."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from metseg.core.errors import InputError
from metseg.io.dicom_choice import MIN_SLICES
from metseg.io.dicom_frames import TIME_KEYS, VOLUME_KEYS, Frame
from metseg.io.dicom_series import SAME_POSITION_MM, Candidate, along_normal, modality_of
from metseg.io.dicom_values import texts_of
from metseg.io.image_file import WARNING

Decode = Callable[[Frame], NDArray[np.float32]]
RESEND: Final = "Export the whole series again from the archive."
_FIRST: Final = "the first was used"
_LAST: Final = (
    "the last whole one in time was used, as contrast comes late in a dynamic series; check that it shows contrast, "
    "or give only the files of the volume that you want"
)
_SAME_SIZE: Final = 1e-3  # largest relative difference of pixel sizes within one volume


def one_frame_a_position(candidate: Candidate, decode: Decode) -> tuple[list[Frame], tuple[str, ...]]:
    """The frames of one volume, sorted along the normal, and notes on what was left out.

    Args:
        candidate: the series that was chosen.
        decode: gives a frame's pixels; called only where two frames lie at one position.

    Raises:
        InputError: a frame that cannot be placed, sizes or orientations that disagree, frames at one position with
            different content that nothing tells apart, or fewer than ``MIN_SLICES`` positions.
    """
    _refuse_misfits(candidate)
    positions = along_normal(candidate.frames)
    frames = [candidate.frames[number] for number in np.argsort(positions, kind="stable")]
    frames, notes = _resolve(frames, candidate.name, decode)
    if len(frames) < MIN_SLICES:
        raise InputError(
            f"{_start(candidate.name)} has {len(frames)} slice{'s' * (len(frames) != 1)}; "
            f"at least {MIN_SLICES} are needed.",
            hint="Give the whole series of the head, not a single slice, a localiser or a thin slab.",
        )
    return frames, notes


def _start(name: str) -> str:
    return name[0].upper() + name[1:]


def _refuse_misfits(candidate: Candidate) -> None:
    """Frames that cannot be placed, or do not fit the others of the series."""
    if candidate.faults:
        fault, count = candidate.faults[0], len(candidate.faults)
        more = f" (and {count - 1} more like it)" if count > 1 else ""
        raise InputError(
            f"{fault.header.name} of {candidate.name} cannot be placed: {fault.finding}{more}.", hint=RESEND
        )
    strays = [size for size in candidate.siblings if size < MIN_SLICES]
    if strays:
        raise InputError(
            f"{_start(candidate.name)} mixes orientations: {len(candidate.frames)} slices lie one way, "
            f"{sum(strays)} another.",
            hint="Take the slices of the other orientation away, or export the series again.",
        )
    frames = candidate.frames
    _refuse_difference(candidate, "matrix sizes", [f"{frame.size[1]}×{frame.size[0]}" for frame in frames])
    spacings = np.array([frame.pixel_mm for frame in frames])
    usual = np.median(spacings, axis=0)
    same = np.abs(spacings / usual - 1).max(axis=1) <= _SAME_SIZE  # rounding in the header is no difference
    pixels = np.where(same[:, None], usual, spacings)
    labels = [f"{column:.6g}×{row:.6g} mm" for row, column in pixels]
    _refuse_difference(candidate, "pixel sizes", labels)
    references = [frame.header.text("FrameOfReferenceUID") for frame in frames]
    names = {
        reference: f"frame of reference {number + 1}" for number, reference in enumerate(dict.fromkeys(references))
    }
    _refuse_difference(candidate, "frames of reference", [names[reference] for reference in references])


def _refuse_difference(candidate: Candidate, what: str, labels: Sequence[str]) -> None:
    kinds = sorted(set(labels), key=lambda label: (-labels.count(label), label))
    if len(kinds) < 2:
        return
    positions = along_normal(candidate.frames)
    odd = sorted(position for position, label in zip(positions, labels, strict=True) if label != kinds[0])
    odd_names = [frame.name for frame, label in zip(candidate.frames, labels, strict=True) if label != kinds[0]]
    raise InputError(
        f"{_start(candidate.name)} mixes {what}: {', '.join(kinds[:4])}; the odd slices lie at {listed_mm(odd)} "
        f"({odd_names[0]}{' …' if len(odd_names) > 1 else ''}).",
        hint="Export the series again, or give only the files that belong together.",
    )


def listed_mm(positions: Sequence[float], most: int = 6) -> str:
    """Positions along the normal, for messages."""
    shown = ", ".join(f"{position:.2f}" for position in positions[:most])
    return f"{shown}{' …' if len(positions) > most else ''} mm"


def _resolve(frames: list[Frame], name: str, decode: Decode) -> tuple[list[Frame], tuple[str, ...]]:
    """Drop exact copies; then, if positions still repeat, take one of the volumes the series holds."""
    frames, same_object = _drop_copies(frames, decode, same_object=True)
    if not _clashes(frames):
        return frames, _note_copies(same_object)
    volume, note = _split(frames)
    if volume:
        return volume, (*_note_copies(same_object), note)
    frames, same_pixels = _drop_copies(frames, decode, same_object=False)
    copies = _note_copies(same_object + same_pixels)
    clashes = _clashes(frames)
    if not clashes:
        return frames, copies
    volume, note = _split(frames)
    if volume:
        return volume, (*copies, note)
    raise InputError(
        f"{_start(name)} holds different slices at the same position, at {listed_mm(clashes)}, and its headers do not "
        "tell which belong together.",
        hint="Give only the files of the volume that you want.",
    )


def _note_copies(dropped: int) -> tuple[str, ...]:
    return (f"{dropped} exact cop{'y' if dropped == 1 else 'ies'} of slices were left out.",) if dropped else ()


def _at_one_position(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames, sorted along the normal, in groups that share a position."""
    groups: list[list[Frame]] = []
    last = -np.inf
    for frame, position in zip(frames, along_normal(frames), strict=True):
        if groups and position - last <= SAME_POSITION_MM:
            groups[-1].append(frame)
        else:
            groups.append([frame])
            last = position
    return groups


def _clashes(frames: Sequence[Frame]) -> list[float]:
    """Positions that more than one frame claims."""
    groups = _at_one_position(frames)
    return [float(group[0].position @ frames[0].normal) for group in groups if len(group) > 1]


def _drop_copies(frames: list[Frame], decode: Decode, *, same_object: bool) -> tuple[list[Frame], int]:
    """Without frames whose pixels repeat another's at the same place; only within one SOP instance if asked so."""
    kept: list[Frame] = []
    for group in _at_one_position(frames):
        unique: list[Frame] = []
        for frame in group:
            if not any(_is_copy(frame, other, decode, same_object=same_object) for other in unique):
                unique.append(frame)
        kept.extend(unique)
    return kept, len(frames) - len(kept)


def _is_copy(frame: Frame, other: Frame, decode: Decode, *, same_object: bool) -> bool:
    uids = [one.header.text("SOPInstanceUID") for one in (frame, other)]
    if same_object and (uids[0] != uids[1] or frame.header is other.header):
        return False
    if np.linalg.norm(frame.position - other.position) > SAME_POSITION_MM:
        return False
    return np.array_equal(decode(frame), decode(other))


def _split(frames: Sequence[Frame]) -> tuple[list[Frame], str]:
    """One volume of a series that holds several, told apart by one attribute or by two; empty if none does."""
    needed = len(_at_one_position(frames))
    telling = [key for key in VOLUME_KEYS if len({frame.volume_key(key) for frame in frames}) > 1]
    pairs = [(one, other) for number, one in enumerate(telling) for other in telling[number + 1 :]]
    for keys in [*((key,) for key in telling), *pairs]:
        groups: dict[tuple[str, ...], list[Frame]] = {}
        for frame in frames:
            groups.setdefault(tuple(frame.volume_key(key) for key in keys), []).append(frame)
        if any(_clashes(group) for group in groups.values()):
            continue
        whole = {key: group for key, group in groups.items() if len(group) == needed}
        if whole:
            volume, which = _pick(keys, whole)
            warning = WARNING if which != _FIRST else ""
            return volume, (
                f"{warning}The series holds {len(groups)} volumes at the same positions, told apart by "
                f"{' and '.join(keys)}; {which}."
            )
    return [], ""


def _pick(keys: Sequence[str], whole: Mapping[tuple[str, ...], list[Frame]]) -> tuple[list[Frame], str]:
    """The volume to use: of each kind the first, magnitude before phase; of the times of an MR the last.

    A dynamic series begins before contrast arrives; the models need the images after it.
    """
    some_frame = next(iter(whole.values()))[0]
    timed = [key in TIME_KEYS and modality_of(some_frame.header) == "MR" for key in keys]

    def kind(values: tuple[str, ...]) -> tuple[bool, list[tuple[int, float, str]]]:
        parts = [_sortable(value) for value, is_time in zip(values, timed, strict=True) if not is_time]
        return _is_phase(whole[values][0]), parts

    def time(values: tuple[str, ...]) -> list[tuple[bool, tuple[int, float, str]]]:
        parts = [value for value, is_time in zip(values, timed, strict=True) if is_time]
        return [(value != "", _sortable(value)) for value in parts]  # no time counts as earlier than any

    first = min(kind(values) for values in whole)
    same_kind = [values for values in whole if kind(values) == first]
    return whole[max(same_kind, key=time)], _LAST if len(same_kind) > 1 else _FIRST


def _is_phase(frame: Frame) -> bool:
    """Phase, real and imaginary images come after magnitude ones."""
    words = {*texts_of(frame.layers, "ImageType")[2:], *texts_of(frame.layers, "ComplexImageComponent")}
    return bool(words & {"P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY"})


def _sortable(text: str) -> tuple[int, float, str]:
    """Numbers by value, then texts by letter."""
    try:
        return 0, float(text), ""
    except ValueError:
        return 1, 0.0, text
