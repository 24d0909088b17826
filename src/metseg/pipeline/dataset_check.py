"""Check a data set in nnU-Net raw layout, whoever made it: every problem is listed, none stops the check."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from metseg.core.errors import MetsegError
from metseg.core.grid import Grid
from metseg.core.progress import Progress, no_progress
from metseg.datasets.adapters.folders import told
from metseg.datasets.manifest import ManifestRow, leak_groups, patients_in, read_manifest, twins_in
from metseg.datasets.nnunet_raw import TEST, TRAINING, RawPart, RawSet, read_raw_set
from metseg.datasets.ready_case import Finding
from metseg.datasets.splits import divided, read_splits
from metseg.io.case_names import shown_name
from metseg.io.image_formats import read_image_file
from metseg.io.labels import label_file
from metseg.io.limits import DEFAULT_LIMITS, LABEL_LIMITS
from metseg.io.patients import patients_of

# One slice, or an image that is all alike, is a finding here, not the end of reading.
_LIMITS: Final = DEFAULT_LIMITS.model_copy(update={"min_size": 1, "constant_allowed": True})


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Args:
        cases: how many there are.
        problems: all of them; none: the data set can be trained on.
        notes: what could not be checked.
    """

    cases: int
    problems: tuple[Finding, ...]
    notes: tuple[Finding, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 where there is a problem."""
        return 1 if self.problems else 0


@dataclass(frozen=True)
class _Seen:
    """What was seen of a case: problems, hashes by file, and whether its mask holds anything."""

    findings: list[Finding]
    hashes: dict[Path, str]
    foreground: bool = False


def check_dataset(folder: Path, patient_regex: str | None = None, *, progress: Progress = no_progress) -> Checked:
    """Look at everything in a data set.

    Args:
        folder: holds ``dataset.json``.
        patient_regex: finds the patient in a case's name; None: the manifest tells.
        progress: told after each case.

    Raises:
        InputError: there is no usable ``dataset.json`` or manifest, or the pattern does not fit.
    """
    raw = read_raw_set(folder)
    manifest = read_manifest(folder)
    names = sorted({*raw.training.images, *raw.training.labels})
    problems = list(_described(raw))
    hashes: dict[Path, str] = {}
    foreground = False
    parts = [(raw.training, True), (raw.test, False)]
    total = sum(len({*part.images, *part.labels}) for part, _ in parts)
    done = 0
    for part, labelled in parts:
        for name in sorted({*part.images, *part.labels}):
            seen = _case(raw, part, name, labelled=labelled)
            problems += seen.findings
            hashes |= seen.hashes
            foreground |= seen.foreground
            done += 1
            progress(done, total, name)
    if names and not foreground:
        problems.append(Finding("no-foreground", "No mask of the data set marks anything."))
    problems += _against_manifest(raw, manifest, hashes)
    patients, notes = _patients(names, manifest, patient_regex)
    problems += _splits(folder, names, leak_groups(patients, twins_in(manifest)))
    return Checked(total, tuple(problems), tuple(notes))


def _described(raw: RawSet) -> Iterator[Finding]:
    """Problems with ``dataset.json`` and with the names of files."""
    if raw.declared != len(raw.training.images):
        yield Finding(
            "description", f"dataset.json declares {raw.declared} training cases, but there are "
            f"{len(raw.training.images)}."
        )  # fmt: skip
    if list(raw.labels) != list(range(1, len(raw.labels) + 1)):
        numbers = ", ".join(map(str, raw.labels))
        yield Finding("description", f"Labels are numbered {numbers}; nnU-Net wants 1, 2, 3 … without a gap.")
    for path in (*raw.training.others, *raw.test.others):
        yield Finding("left-over", f"{path.parent.name}/{shown_name(path)} belongs to no case.")


def _case(raw: RawSet, part: RawPart, name: str, *, labelled: bool) -> _Seen:
    channels, mask = part.images.get(name, {}), part.labels.get(name)
    findings = list(_files(raw, channels, mask, name, labelled=labelled))
    grids: dict[str, Grid] = {}
    hashes: dict[Path, str] = {}
    foreground = False
    for path in [*channels.values(), *([mask] if mask else [])]:
        try:
            image = read_image_file(path, LABEL_LIMITS if path == mask else _LIMITS, shown_name(path))
            hashes[path] = image.sha256
            grids[path.name if path != mask else "the mask"] = image.volume.grid
            if path == mask:
                labels = label_file(image, shown_name(path)).labels.array
                foreground = bool(labels.any())
                findings += _values(raw, labels, name)
            elif image.volume.array.min() == image.volume.array.max():
                findings.append(Finding("constant", f"Every voxel of {path.name} has the same value.", name))
        except MetsegError as error:
            findings.append(Finding("broken", error.message, name, error.hint))
    return _Seen([*findings, *_grids(grids, name)], hashes, foreground)


def _files(
    raw: RawSet, channels: Mapping[int, Path], mask: Path | None, name: str, *, labelled: bool
) -> Iterator[Finding]:
    missing = [raw.channels[n] for n in range(len(raw.channels)) if n not in channels]
    extra = [n for n in channels if n >= len(raw.channels)]
    if missing:
        yield Finding("channel", f"It lacks the channel {', '.join(missing)}.", name)
    if extra:
        yield Finding("channel", f"It has channel {extra[0]}, but dataset.json names {len(raw.channels)}.", name)
    if labelled and mask is None:
        yield Finding("no-mask", f"It has no mask in {TRAINING[1]}.", name)
    if name in raw.training.images and name in raw.test.images and labelled:
        yield Finding("left-over", f"It is in {TRAINING[0]} and in {TEST[0]}.", name)


def _values(raw: RawSet, labels: np.ndarray, name: str) -> Iterator[Finding]:
    found, counts = np.unique(labels, return_counts=True)
    for value, count in zip(found.tolist(), counts.tolist()):
        if value not in raw.labels and value != 0:
            yield Finding("label", f"Its mask holds {value} ({count} voxels), which dataset.json does not name.", name)


def _grids(grids: Mapping[str, Grid], name: str) -> Iterator[Finding]:
    """One-slice volumes, and files that do not lie where the first one lies."""
    if not grids:
        return
    first, grid = next(iter(grids.items()))
    if min(grid.shape) == 1:
        sizes = "×".join(map(str, grid.shape))
        yield Finding("one-slice", f"It is one slice ({sizes}), no volume.", name)
    for other, theirs in grids.items():
        if not theirs.matches(grid):
            yield Finding("grid", f"{other} ({theirs}) does not lie on the grid of {first} ({grid}).", name)


def _against_manifest(raw: RawSet, rows: Sequence[ManifestRow], hashes: Mapping[Path, str]) -> Iterator[Finding]:
    """Files that are missing, left over, or no longer what was imported."""
    if not rows:
        return
    named = {raw.folder / row.file: row for row in rows}
    for path, row in sorted(named.items()):
        if not path.is_file():
            yield Finding("missing", f"{row.file} is in the manifest, but not there.", row.case)
        elif path in hashes and hashes[path] != row.file_sha256:
            yield Finding("hash", f"{row.file} is no longer what was imported: its hash differs.", row.case)
    for part in (raw.training, raw.test):
        files = [*(p for channels in part.images.values() for p in channels.values()), *part.labels.values()]
        for path in sorted(set(files) - named.keys()):
            yield Finding("left-over", f"{path.parent.name}/{shown_name(path)} is not in the manifest.")


def _patients(
    names: Sequence[str], rows: Sequence[ManifestRow], regex: str | None
) -> tuple[dict[str, str], list[Finding]]:
    if regex is not None:
        return patients_of(names, regex=regex), []
    known = {case: patient for case, patient in patients_in(rows).items() if case in names}
    unknown = [name for name in names if name not in known]
    if not unknown:
        return known, []
    what = f"Nothing tells the patients of {len(unknown)} cases ({told(unknown)}): each counts as one of its own."
    note = Finding("note", what, hint="Give --patient-regex, as '^([^_]+)_'.")
    return {**known, **{name: name for name in unknown}}, [note]


def _splits(folder: Path, names: Sequence[str], groups: Mapping[str, str]) -> Iterator[Finding]:
    try:
        folds = read_splits(folder)
    except MetsegError as error:
        yield Finding("splits", error.message, hint=error.hint)
        return
    held = Counter(case for fold in folds or () for case in fold["val"])
    for number, fold in enumerate(folds or ()):
        if both := sorted({*fold["train"]} & {*fold["val"]}):
            yield Finding("splits", f"Fold {number} has {told(both)} on both sides.")
        elif leaked := divided(fold, groups):
            yield Finding("patient", f"Fold {number} has patient {told(leaked)} on both sides.")
        if unknown := sorted({*fold["train"], *fold["val"]} - {*names}):
            yield Finding("splits", f"Fold {number} names {told(unknown)}, which are not there.")
    if folds and (never := [name for name in names if not held[name]]):
        yield Finding("splits", f"{told(never)} are in no fold's validation cases.")
    if twice := [case for case, count in held.items() if count > 1]:
        yield Finding("splits", f"{told(sorted(twice))} are validation cases of several folds.")
