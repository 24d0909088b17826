"""The same cases twice: within a data set, and in data sets that were imported before."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from metseg.core.errors import InputError
from metseg.datasets.adapters.folders import told
from metseg.datasets.manifest import ManifestRow, patients_in, read_manifest, twins_in
from metseg.datasets.nnunet_raw import read_raw_set
from metseg.datasets.ready_case import Finding, voxels_sha256
from metseg.datasets.source import Adapter
from metseg.io.case_names import shown_name
from metseg.io.image_formats import read_image_file
from metseg.io.limits import LABEL_LIMITS
from metseg.pipeline.dataset_case import CaseEnd


def check_against(against: Sequence[Path], dst: Path) -> None:
    """Refuse folders that cannot be compared with, before any work is done.

    Raises:
        InputError: one is no data set, or the one to be written itself, or its manifest cannot be read.
    """
    for folder in against:
        if folder.resolve() == dst.resolve():
            raise InputError("A data set cannot be compared with itself.", hint="Give another with --against.")
        read_raw_set(folder)
        read_manifest(folder)


def overlaps(adapter: Adapter, ends: Sequence[CaseEnd], against: Sequence[Path]) -> list[Finding]:
    """Cases that are there twice, here or in data sets that ``check_against`` let pass, and sets known to share some.

    Raises:
        InputError: a data set to compare with has changed under our hands.
    """
    rows = [row for end in ends for row in end.rows]
    findings = list(_within(rows))
    for folder in against:
        findings += _with(adapter, rows, folder)
    compared = {row.set for folder in against for row in read_manifest(folder)}
    for other, what in sorted(adapter.overlaps.items()):
        hint = "" if other in compared else f"Compare with an import of {other} by --against."
        findings.append(Finding("overlap", f"It shares patients with {other}: {what}.", hint=hint))
    return findings


def _within(rows: Sequence[ManifestRow]) -> Iterator[Finding]:
    patients = patients_in(rows)
    for cases in twins_in(rows):
        several = len({patients[case] for case in cases}) > 1
        whose = "called different patients; folds keep them together" if several else "of one patient"
        yield Finding("duplicate", f"{told(cases)} hold the same voxels, {whose}.", cases[0])


def _with(adapter: Adapter, rows: Sequence[ManifestRow], folder: Path) -> Iterator[Finding]:
    theirs = read_manifest(folder)
    name = shown_name(folder)
    hashes = {row.voxels_sha256: row.case for row in theirs if row.voxels_sha256}
    if not theirs:
        hashes, broken = _hashed(folder)
        if broken:
            yield Finding("note", f"{told(broken)} in {name} cannot be read, and were not compared.")
    twins = {row.case: hashes[row.voxels_sha256] for row in rows if row.voxels_sha256 in hashes}
    for case, other in sorted(twins.items()):
        yield Finding("duplicate", f"It holds the same voxels as {other} in {name}.", case)
    sets = {row.set for row in theirs}
    if not sets & {adapter.name, *adapter.overlaps}:
        return
    shared = sorted(set(patients_in(rows).values()) & {row.patient for row in theirs})
    if shared:
        yield Finding("overlap", f"{len(shared)} patients have the same name in {name}: {told(shared)}.")


def _hashed(folder: Path) -> tuple[dict[str, str], list[str]]:
    """The case of every image of a data set without a manifest, by its hash; and files that cannot be read."""
    raw = read_raw_set(folder)
    hashes, broken = {}, []
    for part in (raw.training, raw.test):
        for case, channels in part.images.items():
            for path in channels.values():
                try:
                    image = read_image_file(path, LABEL_LIMITS, shown_name(path))
                except InputError:
                    broken.append(shown_name(path))
                else:
                    hashes[voxels_sha256(image.volume)] = case
    return hashes, broken
