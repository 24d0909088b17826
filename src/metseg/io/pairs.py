"""Which prediction belongs to which reference: by the names of the files, or by a table."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from metseg.core.errors import InputError
from metseg.core.options import Options
from metseg.io.case_names import IMAGE_SUFFIXES, shown_name, stem
from metseg.io.folder_walk import is_folder, is_hidden, there
from metseg.io.pair_table import PairRow, read_pair_table
from metseg.io.patients import patients_of

PREDICTION_SUFFIX: Final = "_pred"
REFERENCE_SUFFIX: Final = "_ref"
# What metseg itself calls a result.
_RESULT: Final = ("run.json", "segmentation.nii.gz")
_RESULT_PROBABILITY: Final = "probability.nii.gz"
_SHOWN: Final = 8
_DEEPEST: Final = 16


class PairOptions(Options):
    """How files find each other.

    Args:
        pred_suffix: what names of predictions end in, before ``.nii.gz``; other files are not looked at. None for
            ``_pred`` where any file's name ends so, and else for plain names.
        ref_suffix: the same of references; None for ``_ref`` or plain names.
        prob_suffix: the same of probability maps, which lie beside the predictions; None for none.
        patient_regex: finds the patient's name in the case's: its first group, or all that matches.
    """

    pred_suffix: str | None = None
    ref_suffix: str | None = None
    prob_suffix: str | None = None
    patient_regex: str | None = None


@dataclass(frozen=True)
class CasePair:
    """The files of one case.

    Args:
        case: the reference's file name up to the suffix.
        patient: whose case it is; the case's name unless told otherwise.
        prediction: None where it is missing.
        reference: the truth.
        probability: of the prediction; None where there is none.
    """

    case: str
    patient: str
    prediction: Path | None
    reference: Path
    probability: Path | None = None


@dataclass(frozen=True)
class Pairing:
    """All cases, and what was left over.

    Args:
        pairs: one a reference, sorted by case.
        unmatched: names of predictions that have no reference.
    """

    pairs: tuple[CasePair, ...]
    unmatched: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Cases without a prediction."""
        return tuple(pair.case for pair in self.pairs if pair.prediction is None)


@dataclass(frozen=True)
class _File:
    """A label map that was found, its name without suffixes, and the probability that lies with a result of ours."""

    name: str
    path: Path
    is_result: bool = False


def find_pairs(
    prediction: Path, reference: Path, options: PairOptions | None = None, table: Path | None = None
) -> Pairing:
    """Pair predictions with references.

    Args:
        prediction: a file, or a folder that is searched with all folders in it; results of ``metseg segment`` bear
            the names of their folders.
        reference: a file or a folder likewise.
        options: how names are compared.
        table: a CSV file (``metseg.io.pair_table``) that names the files of each case, or the patient of each, or
            both.

    Raises:
        InputError: nothing is there, nothing fits together, or two files have the name of one case.
        ConfigError: patients that are told in two ways, or a pattern that is none.
    """
    options = options or PairOptions()
    for path in (prediction, reference):
        if not there(path):
            raise InputError(f"{shown_name(path)} does not exist.", hint="Name files or folders that are there.")
    if is_folder(prediction) != is_folder(reference):
        raise InputError("One of the two is a folder and the other a file.", hint="Give two files or two folders.")
    rows = read_pair_table(table) if table else ()
    if any(row.reference for row in rows):
        pairing = _listed_pairs(rows, prediction, reference)
    elif is_folder(reference):
        pairing = _folder_pairs(prediction, reference, options)
    else:
        pairing = _file_pair(prediction, reference, options)
    patients = patients_of([pair.case for pair in pairing.pairs], rows, options.patient_regex)
    return replace(pairing, pairs=tuple(replace(pair, patient=patients[pair.case]) for pair in pairing.pairs))


def _file_pair(prediction: Path, reference: Path, options: PairOptions) -> Pairing:
    name = _case_name(stem(reference.name), REFERENCE_SUFFIX if options.ref_suffix is None else options.ref_suffix)
    own = _case_name(stem(prediction.name), PREDICTION_SUFFIX if options.pred_suffix is None else options.pred_suffix)
    probability = None
    if options.prob_suffix:
        beside = [prediction.with_name(f"{own}{options.prob_suffix}{suffix}") for suffix in IMAGE_SUFFIXES]
        probability = next((path for path in beside if path.is_file()), None)
        if probability is None:
            raise InputError(
                f"There is no {own}{options.prob_suffix} beside {shown_name(prediction)}.",
                hint="Put the probability map there, or leave --prob-suffix out.",
            )
    case = shown_name(Path(name))
    return Pairing((CasePair(case, case, prediction, reference, probability),))


def _case_name(name: str, suffix: str) -> str:
    return name.removesuffix(suffix) or name


def _folder_pairs(prediction: Path, reference: Path, options: PairOptions) -> Pairing:
    predicted, present = (tuple(_search(folder)) for folder in (prediction, reference))
    probabilities = _of_suffix(predicted, options.prob_suffix) if options.prob_suffix else {}
    taken = set(probabilities.values())
    predicted = tuple(file for file in predicted if file.path not in taken)
    ours = _of_suffix(predicted, _suffix(predicted, options.pred_suffix, PREDICTION_SUFFIX))
    if prediction.resolve() == reference.resolve():
        taken |= set(ours.values())
        present = tuple(file for file in present if file.path not in taken)
    theirs = _of_suffix(present, _suffix(present, options.ref_suffix, REFERENCE_SUFFIX))
    if not theirs or not ours.keys() & theirs.keys():
        raise InputError(
            f"No prediction has the name of a reference; predictions: {_some(ours)}; references: {_some(theirs)}.",
            hint="Say what names end in with --pred-suffix and --ref-suffix, or list the files with --map.",
        )
    pairs = []
    for case in sorted(theirs):
        shown, path = shown_name(Path(case)), ours.get(case)
        probability = probabilities.get(case) or _beside_result(path)
        pairs.append(CasePair(shown, shown, path, theirs[case], probability if path else None))
    return Pairing(tuple(pairs), tuple(shown_name(Path(name)) for name in sorted(ours.keys() - theirs.keys())))


def _listed_pairs(rows: Sequence[PairRow], prediction: Path, reference: Path) -> Pairing:
    if not is_folder(prediction):
        raise InputError("A table of files needs two folders.", hint="Give the folders that its names start from.")
    pairs = []
    for row in rows:
        present = reference / row.reference
        path = prediction / row.prediction if row.prediction else None
        probability = prediction / row.probability if row.probability else None
        for file in (present, probability):
            if file is not None and not file.is_file():
                raise InputError(
                    f"The table names {shown_name(file)} for case {row.case}, but it is not there.",
                    hint="Names start from the folder of the predictions or references.",
                )
        pairs.append(CasePair(row.case, row.case, path if path and path.is_file() else None, present, probability))
    return Pairing(tuple(sorted(pairs, key=lambda pair: pair.case)))


def _search(folder: Path, depth: int = 0) -> Iterator[_File]:
    """Label maps in a folder and in those below; a folder that metseg wrote stands for its segmentation."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"The folder {shown_name(folder)} cannot be listed: {error.strerror}.", hint="Check its rights."
        ) from error
    if set(_RESULT) <= {entry.name for entry in entries}:
        yield _File(folder.name, folder / _RESULT[1], is_result=True)
        return
    for entry in entries:
        if is_hidden(entry.name):
            continue
        if is_folder(entry):
            yield from _search(entry, depth + 1) if depth < _DEEPEST else ()
        elif entry.name.lower().endswith(IMAGE_SUFFIXES):
            yield _File(stem(entry.name), entry)


def _suffix(files: Iterable[_File], given: str | None, usual: str) -> str:
    if given is not None:
        return given
    return usual if any(file.name.endswith(usual) for file in files) else ""


def _of_suffix(files: Iterable[_File], suffix: str) -> dict[str, Path]:
    """Files whose names end in a suffix, by what stands before it."""
    found: dict[str, Path] = {}
    for file in files:
        if not file.is_result and not (file.name.endswith(suffix) and file.name != suffix):
            continue
        name = file.name if file.is_result else file.name.removesuffix(suffix)
        if name in found:
            raise InputError(
                f"Two files have the name of case {shown_name(Path(name))}: {shown_name(found[name])} in "
                f"{shown_name(found[name].parent)} and {shown_name(file.path)} in {shown_name(file.path.parent)}.",
                hint="Rename or move one, or list the files with --map.",
            )
        found[name] = file.path
    return found


def _beside_result(path: Path | None) -> Path | None:
    """The probability map that ``metseg segment --probability`` wrote beside a result."""
    if path is None or path.name != _RESULT[1] or not (path.parent / _RESULT[0]).is_file():
        return None
    beside = path.with_name(_RESULT_PROBABILITY)
    return beside if beside.is_file() else None


def _some(named: Mapping[str, Path]) -> str:
    names = [shown_name(Path(name)) for name in sorted(named)]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "none") + more
