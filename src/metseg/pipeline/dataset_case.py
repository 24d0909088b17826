"""One case of a data set to be imported: written whole or not at all; its record comes last and vouches for it."""

import hashlib
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from metseg.core.errors import InputError, explained
from metseg.core.grid import Grid
from metseg.core.volume import LabelMap, Volume
from metseg.datasets.layouts import NnunetLayout
from metseg.datasets.manifest import MASK, ManifestRow
from metseg.datasets.nnunet_raw import TEST, TRAINING
from metseg.datasets.ready_case import Finding, ReadyCase, prepare_case
from metseg.datasets.source import SourceCase, SourceFile
from metseg.datasets.source_files import source_sha256
from metseg.io.atomic import write_text
from metseg.io.gzip_stream import open_regular
from metseg.io.limits import MIB
from metseg.io.nifti import write_nifti
from metseg.lesions.components import label_instances

RECORDS: Final = "records"
State = Literal["imported", "kept", "left-out", "failed"]
_LOG = logging.getLogger(__name__)
_NO_TUMOUR: Final = {"surrounding oedema", "resection cavity"}
_INT16: Final = np.iinfo(np.int16)


@dataclass(frozen=True)
class CaseJob:
    """What to do with one case.

    Args:
        case: of the source.
        src: the source's folder.
        dst: the data set's; nothing is written there if ``dry``.
        layout: name of the source's.
        sequences: channels, in order.
        scheme: name of each label.
        dry: only say what would happen.
    """

    case: SourceCase
    src: Path
    dst: Path
    layout: str
    sequences: tuple[str, ...]
    scheme: Mapping[int, str]
    dry: bool = False


@dataclass(frozen=True)
class CaseEnd:
    """What became of a case.

    Args:
        case: its name.
        state: ``kept``: it was there already.
        rows: of the manifest.
        findings: what was done, or why not.
    """

    case: str
    state: State
    rows: tuple[ManifestRow, ...] = ()
    findings: tuple[Finding, ...] = ()


def import_case(job: CaseJob) -> CaseEnd:
    """Import one case, or say why not; never raises an error of one case."""
    name = job.case.name
    try:
        if (reason := _unfit(job)) is not None:
            return CaseEnd(name, "left-out" if reason.kind == "left-out" else "failed", findings=(reason,))
        if (kept := _kept(job)) is not None:
            return kept
        ready = prepare_case(job.case, job.sequences, job.scheme)
        findings = tuple(Finding(f.kind, f.message, name, f.hint) for f in ready.findings)
        rows = _written(job, ready, findings)
    except Exception as error:  # noqa: BLE001  # the next case must be imported whatever this one met
        _LOG.debug("case %s failed", name, exc_info=True)
        message, hint = explained(error)
        return CaseEnd(name, "failed", findings=(Finding("failed", message, name, hint),))
    return CaseEnd(name, "imported", rows, findings)


def read_record(dst: Path, name: str) -> dict[str, Any] | None:
    """What is recorded of a case; None where there is nothing, or nothing that can be read."""
    with suppress(OSError, ValueError):
        record = json.loads((dst / RECORDS / f"{name}.json").read_text(encoding="utf-8"))
        return record if isinstance(record, dict) and {"plan", "rows", "findings"} <= record.keys() else None
    return None


def record_end(name: str, record: Mapping[str, Any]) -> CaseEnd:
    """A record as the end of a case that was there already."""
    rows = tuple(ManifestRow(**row) for row in record["rows"])
    return CaseEnd(name, "kept", rows, tuple(Finding(**finding) for finding in record["findings"]))


def file_sha256(path: Path) -> str:
    """Hash over a file's bytes.

    Raises:
        InputError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(MIB):
            digest.update(block)
    return digest.hexdigest()


def _unfit(job: CaseJob) -> Finding | None:
    """Why the case cannot be imported, as far as its files' names tell."""
    case = job.case
    if case.problem:
        return Finding("failed", case.problem, case.name)
    missing = [sequence for sequence in job.sequences if sequence not in case.images]
    if missing:
        has = ", ".join(s for s in job.sequences if s in case.images)
        there = f"It lacks {', '.join(missing)}."
        return Finding("left-out", there, case.name, f"--sequences {has.replace(' ', '')} takes it." if has else "")
    if not case.masks and not case.unlabelled:
        return Finding("failed", "It has no mask.", case.name)
    return None


def _plan(job: CaseJob) -> dict[str, Any]:
    """What decides how a case's files become the data set's, but for their content."""
    masks = [
        {"labels": sorted(m.labels.items()), "repairs": sorted(m.repairs.items()), "other": m.other}
        for m in job.case.masks
    ]
    plan = {
        "layout": job.layout,
        "patient": job.case.patient,
        "sequences": job.sequences,
        "scheme": sorted(job.scheme.items()),
        "masks": masks,
        "slices": [asdict(file.slices) for file in job.case.files() if file.slices],
        "geometry_of_mask": job.case.geometry_of_mask,
    }
    return dict(json.loads(json.dumps(plan)))


def _kept(job: CaseJob) -> CaseEnd | None:
    """The case as it is there already, made in the same way of the same bytes; None where it is not."""
    record = read_record(job.dst, job.case.name)
    if record is None or record["plan"] != _plan(job):
        return None
    end = record_end(job.case.name, record)
    if any(not (job.dst / row.file).is_file() for row in end.rows):
        return None
    hashes = {row.role: row.source_sha256 for row in end.rows}
    now = {s: source_sha256(job.case.images[s]) for s in job.sequences}
    if job.case.masks:
        now[MASK] = "|".join(source_sha256(mask.file) for mask in job.case.masks)
    return end if now == hashes else None


def _places(job: CaseJob) -> dict[str, Path]:
    """Where each sequence and the mask go, from the data set's folder on."""
    files = NnunetLayout().case(job.case.name, job.sequences)
    images, _ = TRAINING if job.case.masks else TEST
    places = {sequence: Path(images) / path.name for sequence, path in files.images.items()}
    return {**places, MASK: files.labels} if job.case.masks else places


def _written(job: CaseJob, ready: ReadyCase, findings: tuple[Finding, ...]) -> tuple[ManifestRow, ...]:
    """Write the files of a case, then its record.

    Raises:
        MetsegError: the disk is full, or the like; what was written of the case is gone then.
    """
    places = _places(job)
    if job.dry:
        return _rows(job, ready, places, dict.fromkeys(places, ""))
    record = job.dst / RECORDS / f"{job.case.name}.json"
    before = read_record(job.dst, job.case.name)
    record.unlink(missing_ok=True)
    for row in before["rows"] if before else ():
        (job.dst / row["file"]).unlink(missing_ok=True)
    try:
        for role, place in places.items():
            (job.dst / place).parent.mkdir(parents=True, exist_ok=True)
            content = ready.labels if role == MASK else _compact(ready.images[role])
            write_nifti(job.dst / place, _there(content, job), ready.codes)
        hashes = {role: file_sha256(job.dst / place) for role, place in places.items()}
        rows = _rows(job, ready, places, hashes)
        content_of_record = {
            "plan": _plan(job), "rows": [asdict(row) for row in rows], "findings": [asdict(f) for f in findings],
        }  # fmt: skip
        write_text(record, json.dumps(content_of_record, indent=1, ensure_ascii=False) + "\n")
    except BaseException:
        for place in places.values():
            with suppress(OSError):
                (job.dst / place).unlink(missing_ok=True)
        raise
    return rows


def _there(content: Volume | LabelMap | None, job: CaseJob) -> Volume | LabelMap:
    if content is None:
        raise InputError(f"Case {job.case.name} has no labels to write.")
    return content


def _compact(volume: Volume) -> Volume:
    """The same values in int16, where it can hold them all."""
    array: NDArray[Any] = volume.array
    if array.min() < _INT16.min or array.max() > _INT16.max or not np.array_equal(array, np.rint(array)):
        return volume
    return Volume(array.astype(np.int16), volume.grid)


def _rows(
    job: CaseJob, ready: ReadyCase, places: Mapping[str, Path], hashes: Mapping[str, str]
) -> tuple[ManifestRow, ...]:
    sources: dict[str, list[SourceFile]] = {sequence: [job.case.images[sequence]] for sequence in job.sequences}
    read = dict(zip(job.sequences, ready.source_sha256))
    if job.case.masks:
        sources[MASK] = [mask.file for mask in job.case.masks]
        read[MASK] = "|".join(ready.source_sha256[len(job.sequences) :])
    grid: Grid = ready.images[job.sequences[0]].grid
    return tuple(
        ManifestRow(
            case=job.case.name,
            set=job.layout,
            patient=job.case.patient,
            time_point=job.case.time_point,
            role=role,
            file=place.as_posix(),
            file_sha256=hashes[role],
            source="|".join(file.told(job.src) for file in sources[role]),
            source_sha256=read[role],
            voxels_sha256=ready.voxels_sha256.get(role, ""),
            size="x".join(map(str, grid.shape)),
            spacing_mm="x".join(f"{s:.6g}" for s in grid.spacing_mm),
            **(_label_facts(ready.labels) if role == MASK and ready.labels else {}),
        )
        for role, place in places.items()
    )


def _label_facts(labels: LabelMap) -> dict[str, str]:
    values, counts = np.unique(labels.array[labels.array > 0], return_counts=True)
    tumour = [number for number, name in labels.labels.items() if name not in _NO_TUMOUR]
    lesions = int(label_instances(np.isin(labels.array, tumour)).max())
    return {"labels": " ".join(f"{v}:{n}" for v, n in zip(values.tolist(), counts.tolist())), "lesions": str(lesions)}
