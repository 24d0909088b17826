"""Read one case: its images by sequence, whatever their format, as a study."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from metseg.core.errors import ConfigError, InputError
from metseg.core.study import Identity, Modality, Source, Study
from metseg.io.case_names import shown_name, stem
from metseg.io.discover import FORMATS, CaseInput, find_sources
from metseg.io.folder_walk import DETACHED_SUFFIXES, HEADER_SUFFIXES, is_dicom, is_hidden
from metseg.io.image_file import SIDES, WARNING, ImageFile
from metseg.io.image_formats import read_image_file
from metseg.io.limits import DEFAULT_LIMITS, Limits
from metseg.io.prior import guided_by
from metseg.io.sequence_names import Told, sequence_doubts, sequences_in
from metseg.io.zip_files import unpacked

if TYPE_CHECKING:
    from metseg.io.dicom_reference import Reference


def read_study(
    case_input: CaseInput,
    sequences: tuple[str, ...],
    modality: Modality,
    limits: Limits = DEFAULT_LIMITS,
    *,
    first: Callable[[], ImageFile] | None = None,
) -> Study:
    """Read the images that a model wants.

    Args:
        case_input: what to read.
        sequences: of the model, in its order: file ``_0000`` is the first, and a lone file is too.
        modality: ``"MR"`` or ``"CT"``: which series of a mixed DICOM folder is right.
        limits: what a file may claim and hold.
        first: gives what ``first_image`` gives; asked for a lone image, as the caller may have read it already.

    Returns:
        A study with those of the wanted sequences that are there; its source names the user's files, the hash over
        their bytes, and every note of the readers. Its prior is the case's.

    Raises:
        InputError: a file that is refused, images on different grids, or none of the wanted sequences; a prior that
            is refused or lies elsewhere.
        ConfigError: no sequence is wanted.
    """
    case_input.check()
    if not sequences:
        raise ConfigError("No sequence is wanted.", hint="Name the sequences in the model's description.")
    if case_input.sequences is not None:
        images, notes = _read_named(case_input, sequences, modality, limits)
    elif is_dicom_case(case_input):
        images, notes = {sequences[0]: _read_dicom_case(case_input, modality, limits)}, ()
    else:
        images, notes = _read_channels(case_input, sequences, limits, first)
    study = Study(
        case=case_input.case,
        images={sequence: image.volume for sequence, image in images.items()},
        source=_source(case_input, images, (*notes, *_doubts(case_input, sequences, images))),
    )
    return study if case_input.prior is None else guided_by(study, case_input.prior)


def read_image(path: Path, modality: Modality | None = None, limits: Limits = DEFAULT_LIMITS) -> ImageFile:
    """Read one image: a file of any format, a folder of DICOM, or a zip that holds one image.

    Raises:
        InputError: the image is refused, or there is not exactly one.
    """
    cases = find_sources([path])
    if len(cases) != 1 or len(cases[0].channels) > 1:
        raise InputError(f"{shown_name(path)} holds several images, but one is wanted.", hint="Name the file to read.")
    if is_dicom_case(cases[0]):
        return _read_dicom_case(cases[0], modality, limits)
    return first_image(cases[0], limits)


def is_dicom_case(case_input: CaseInput) -> bool:
    """Whether the case, whose sequences are not named, is made of DICOM files, zipped or not."""
    return case_input.kind == "dicom" or (case_input.kind == "zip" and not case_input.members)


def first_image(case_input: CaseInput, limits: Limits = DEFAULT_LIMITS) -> ImageFile:
    """The first image of a case that is made of image files, zipped or not.

    Raises:
        InputError: it is refused.
    """
    with _image_files(case_input, limits) as files:
        (file, name) = files[0]
        return read_image_file(file, limits, name)


def dicom_modality(case_input: CaseInput, limits: Limits = DEFAULT_LIMITS) -> Modality:
    """The modality of a case of DICOM files, by their headers; where there are volumes of both, MR.

    Raises:
        InputError: no image among the files, or those of several patients.
    """
    from metseg.io.dicom import modality_of_files

    with _dicom_files(case_input, limits) as files:
        return modality_of_files(files)


def read_identity(case_input: CaseInput, limits: Limits = DEFAULT_LIMITS) -> Identity:
    """Who was imaged, as the case's DICOM headers say; empty for a case of other files.

    Raises:
        InputError: the files cannot be read again.
    """
    from metseg.io.identity import identity_of_files

    for each in _dicom_parts(case_input):
        with _dicom_files(each, limits) as files:
            identity = identity_of_files(files)
        if identity != Identity():
            return identity
    return Identity()


def _dicom_parts(case_input: CaseInput) -> list[CaseInput]:
    """The case itself, or those of its named sequences, that are made of DICOM files."""
    if case_input.sequences is None:
        return [case_input] if is_dicom_case(case_input) else []
    parts = [part for path in case_input.sequences.values() for part in find_sources([path])]
    return [part for part in parts if is_dicom_case(part)]


def read_dicom_reference(
    case_input: CaseInput, sequence: str, modality: Modality, limits: Limits = DEFAULT_LIMITS
) -> "Reference":
    """The DICOM series that ``read_study`` read as ``sequence``, as results refer to it.

    Raises:
        InputError: it cannot be referred to.
    """
    from metseg.io.dicom_reference import read_reference

    case = case_input if case_input.sequences is None else find_sources([case_input.sequences[sequence]])[0]
    with _dicom_files(case, limits) as files:
        return read_reference(files, modality, limits)


def _read_named(
    case_input: CaseInput, sequences: Sequence[str], modality: Modality, limits: Limits
) -> tuple[dict[str, ImageFile], tuple[str, ...]]:
    named = case_input.sequences or {}
    if not set(named) & set(sequences):
        raise InputError(
            f"Case {case_input.case} has {', '.join(named)}, but the model needs {', '.join(sequences)}.",
            hint="Give the sequence the model needs, or choose another model.",
        )
    images = {name: read_image(named[name], modality, limits) for name in sequences if name in named}
    unused = [name for name in named if name not in sequences]
    return images, (f"Not used by the model: {', '.join(unused)}.",) if unused else ()


def _read_channels(
    case_input: CaseInput, sequences: Sequence[str], limits: Limits, first: Callable[[], ImageFile] | None
) -> tuple[dict[str, ImageFile], tuple[str, ...]]:
    """Channel n is the model's n-th sequence; channels the model does not have are left unread."""
    channels = case_input.channels or (0,)
    if first is not None and channels == (0,):
        return {sequences[0]: first()}, ()
    images: dict[str, ImageFile] = {}
    unused = []
    with _image_files(case_input, limits) as files:
        for channel, (file, name) in zip(channels, files):
            if channel < len(sequences):
                images[sequences[channel]] = read_image_file(file, limits, name)
            else:
                unused.append(name)
    if not unused:
        return images, ()
    takes = f"The model takes {', '.join(sequences)}{' in this order' if len(sequences) > 1 else ''}"
    return images, (f"{WARNING}{takes}, but there are {len(channels)} images; not used: {', '.join(unused)}.",)


def _doubts(case_input: CaseInput, sequences: Sequence[str], images: Mapping[str, ImageFile]) -> tuple[str, ...]:
    """Warnings where the name or the header of an image says that it is another sequence than it was taken for."""
    if case_input.sequences is not None:
        names = {name: (path.name, shown_name(path)) for name, path in case_input.sequences.items()}
    elif is_dicom_case(case_input):
        names = dict.fromkeys(images, ("", "The DICOM series"))
    else:
        numbers = case_input.numbers or range(1, len(case_input.members) + 1)
        zipped = [(PurePosixPath(m).name, f"image {n} of the zip") for m, n in zip(case_input.members, numbers)]
        loose = zipped or [(file.name, shown_name(file)) for file in case_input.files]
        names = {sequences[n]: each for n, each in zip(case_input.channels or (0,), loose) if n < len(sequences)}
    claims = {name: sequences_in(stem(names[name][0])) for name in images}
    if len(claims) > 1 and len(set(claims.values())) == 1:  # what all have in common tells none from another
        claims = dict.fromkeys(claims, frozenset())
    taken = {name: Told(names[name][1], claims[name], image.described) for name, image in images.items()}
    return tuple(WARNING + doubt for doubt in sequence_doubts(taken, sequences))


@contextmanager
def _image_files(case_input: CaseInput, limits: Limits) -> Iterator[list[tuple[Path, str]]]:
    """The image files of a case and what to call them; unpacked for as long as the block lasts where they are zipped.

    Names in a zip tend to be the patient's: its images are told by number.
    """
    if case_input.kind != "zip":
        yield [(file, shown_name(file)) for file in case_input.files]
        return
    members = set(case_input.members)
    folders = {PurePosixPath(m).parent for m in members if m.lower().endswith(HEADER_SUFFIXES)}

    def wanted(inside: PurePosixPath) -> bool:
        detached = inside.parent in folders and inside.name.lower().endswith(DETACHED_SUFFIXES)
        return str(inside) in members or detached

    numbers = case_input.numbers or range(1, len(members) + 1)
    with unpacked(case_input.files[0], wanted, limits, keep_names=bool(folders)) as files:
        yield [(files[member], f"image {n} of the zip") for member, n in zip(case_input.members, numbers)]


@contextmanager
def _dicom_files(case_input: CaseInput, limits: Limits) -> Iterator[list[Path]]:
    """The DICOM files of a case, unpacked for as long as the block lasts where they are zipped."""
    path = case_input.files[0]
    is_zip = case_input.kind == "zip"

    def wanted(inside: PurePosixPath) -> bool:
        return not any(map(is_hidden, inside.parts))

    with unpacked(path, wanted, limits) if is_zip else nullcontext({f.name: f for f in case_input.files}) as unzipped:
        files = [file for file in unzipped.values() if is_dicom(file)] if is_zip else list(case_input.files)
        if not files:
            raise InputError(f"There is no image in {shown_name(path)}.", hint=f"Give {FORMATS}.")
        yield files


def _read_dicom_case(case_input: CaseInput, modality: Modality | None, limits: Limits) -> ImageFile:
    from metseg.io.dicom import read_dicom

    with _dicom_files(case_input, limits) as files:
        image = read_dicom(files, modality=modality, limits=limits)
    return ImageFile(image.volume, image.headers, image.notes, image.sha256, "dicom", image.described, image.slices)


def _source(case_input: CaseInput, images: Mapping[str, ImageFile], notes: tuple[str, ...]) -> Source:
    read = list(images.values())
    headers: dict[str, str] = {}
    for image in reversed(read):  # where images differ, the first one's word stands
        headers |= image.headers
    hashes = [image.sha256 for image in read]
    notes_read = [note for image in read for note in image.notes]
    return Source(
        paths=case_input.files,
        sha256=hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest(),
        format=read[0].format,
        notes=(*case_input.notes, *notes, *dict.fromkeys(notes_read)),
        headers=headers,
        slice_names=read[0].slice_names,
        sides_known=not any(SIDES in note.casefold() for note in notes_read if note.startswith(WARNING)),
    )
