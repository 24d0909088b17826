"""Import a public data set: every case by itself, then what tells of all of them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from metseg.core.errors import ConfigError, InputError, explained
from metseg.core.options import Options
from metseg.core.progress import Progress, no_progress
from metseg.core.study import SEQUENCES
from metseg.datasets.adapters.folders import all_folders, images_in, told
from metseg.datasets.as_done import as_done
from metseg.datasets.catalogue import adapter_options, load_adapter
from metseg.datasets.label_text import parse_labels, parse_repairs
from metseg.datasets.ready_case import Finding
from metseg.datasets.source import Adapter, FoundSet, SourceCase, SourceMask
from metseg.io.case_names import shown_name
from metseg.io.output_folder import make_output_folder, resume_output_folder
from metseg.pipeline.dataset_case import RECORDS, CaseEnd, CaseJob, import_case, read_record, record_end
from metseg.pipeline.dataset_overlap import check_against, overlaps
from metseg.pipeline.dataset_summary import summarise

SETTINGS: Final = "import.json"


class ImportOptions(Options):
    """What to import, and how.

    Args:
        layout: name of an adapter.
        sequences: channels in order; empty: the layout's own.
        labels: what the values in masks mean, as text; empty: what the layout says.
        repairs: what becomes of values that should not be there, each as text.
        settings: the layout's own options, as texts by name.
        against: data sets that were imported before, to look for the same cases in.
    """

    layout: str
    sequences: tuple[str, ...] = ()
    labels: str = ""
    repairs: tuple[str, ...] = ()
    settings: Mapping[str, str] = Field(default_factory=dict)
    against: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Imported:
    """How an import went.

    Args:
        ends: of every case, by name.
        findings: on the set as a whole.
        dry: nothing was written.
    """

    ends: tuple[CaseEnd, ...]
    findings: tuple[Finding, ...]
    dry: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """How many cases were imported, kept, left out, and failed."""
        found = Counter(end.state for end in self.ends)
        return {state: found[state] for state in ("imported", "kept", "left-out", "failed")}

    @property
    def exit_code(self) -> int:
        """1 where a case failed."""
        return 1 if self.counts["failed"] else 0

    def all_findings(self) -> list[Finding]:
        """Those on the set, then those on each case."""
        return [*self.findings, *(finding for end in self.ends for finding in end.findings)]


def import_dataset(
    src: Path, dst: Path, options: ImportOptions, *, workers: int = 1, dry: bool = False,
    progress: Progress = no_progress,
) -> Imported:  # fmt: skip
    """Import what is in ``src`` as a data set in nnU-Net raw layout; a run that was stopped goes on.

    Args:
        src: the data set as it was published; it is only read.
        dst: the folder to write; what it holds of this import already is kept.
        options: which layout, and how.
        workers: processes; they change nothing but the time.
        dry: read and judge all, but write nothing.
        progress: told after each case.

    Raises:
        InputError: ``src`` holds no case of the layout, or ``dst`` holds something else.
        ConfigError: an option that is wrong.
    """
    if not src.is_dir():
        raise InputError(f"{shown_name(src)} is no folder.", hint="Unpack the data set, and give its folder.")
    adapter = load_adapter(options.layout)
    found, left_over = _find(adapter, src, options)
    scheme, found = _relabelled(adapter, found, options)
    sequences = _sequences(adapter, found, options)
    check_against(options.against, dst)
    resume_output_folder(dst, SETTINGS, _settings(options, sequences), what="imported data set", dry=dry)
    if not dry:
        make_output_folder(dst / RECORDS)
    jobs = [CaseJob(case, src, dst, adapter.name, sequences, scheme, dry) for case in _named_once(found.cases)]
    ends = _done(jobs, workers, progress)
    ends = [*ends, *_recorded(dst, {job.case.name for job in jobs})]
    ends.sort(key=lambda end: end.case)
    findings = [*(Finding("note", note) for note in found.notes), *_counted(adapter, found), *left_over]
    if list(scheme) != list(range(1, len(scheme) + 1)):
        numbers = ", ".join(map(str, scheme))
        gap = f"Labels are numbered {numbers}; nnU-Net wants 1, 2, 3 … without a gap."
        findings.append(Finding("doubt", gap, hint="Say which become which with --labels."))
    findings += overlaps(adapter, ends, options.against)
    result = Imported(tuple(ends), tuple(findings), dry)
    if not dry:
        summarise(dst, ends, result.all_findings(), sequences=sequences, scheme=scheme, title=adapter.title)
    return result


def _find(adapter: Adapter, src: Path, options: ImportOptions) -> tuple[FoundSet, list[Finding]]:
    found = adapter.find(src, adapter_options(adapter, options.settings))
    if not found.cases:
        raise InputError(
            f"There is no case of {adapter.name} in {shown_name(src)}.",
            hint=f"Expected: {adapter.expects}; see metseg datasets list {adapter.name}.",
        )
    used = {file.path for case in found.cases for file in case.files()}
    spare = [path.relative_to(src).as_posix() for folder in all_folders(src) for path in images_in(folder)
             if path not in used]  # fmt: skip
    return found, [Finding("note", f"{len(spare)} images are not used: {told(spare)}.")] if spare else []


def _relabelled(adapter: Adapter, found: FoundSet, options: ImportOptions) -> tuple[dict[int, str], FoundSet]:
    """The scheme, and the cases with what the user says about their masks."""
    scheme = adapter.scheme if found.scheme is None else found.scheme
    if not options.labels and not options.repairs:
        return dict(scheme), found
    labels = None
    if options.labels:
        labels, scheme = parse_labels(options.labels, scheme)
        if any(len(case.masks) > 1 for case in found.cases):
            raise ConfigError(
                f"Masks of {adapter.name} are several files a case; --labels cannot say which it means.",
                hint="Leave --labels out.",
            )
    repairs = parse_repairs(options.repairs, scheme)

    def changed(mask: SourceMask) -> SourceMask:
        usual = {value: label for value, label in mask.repairs.items() if labels is None or value not in labels}
        explained = mask if labels is None else replace(mask, labels=labels, other=None)
        return replace(explained, repairs={**usual, **repairs})

    return dict(scheme), replace(
        found, cases=tuple(replace(case, masks=tuple(map(changed, case.masks))) for case in found.cases)
    )


def _sequences(adapter: Adapter, found: FoundSet, options: ImportOptions) -> tuple[str, ...]:
    usual = adapter.sequences if found.sequences is None else found.sequences
    chosen = options.sequences or usual
    known = {*usual, *adapter.optional}
    if unknown := [sequence for sequence in chosen if sequence not in known or sequence not in SEQUENCES]:
        order = ", ".join(sequence for sequence in SEQUENCES if sequence in known)
        raise ConfigError(f"{adapter.name} has no sequence {unknown[0]!r}.", hint=f"It has {order}.")
    if len(set(chosen)) < len(chosen) or not chosen:
        raise ConfigError(f"The sequences {', '.join(chosen)} are not each named once.", hint="Name each once.")
    return tuple(chosen)


def _settings(options: ImportOptions, sequences: Sequence[str]) -> dict[str, Any]:
    plain = options.model_dump(mode="json", exclude={"against"})
    return {**plain, "sequences": list(sequences)}


def _named_once(cases: Sequence[SourceCase]) -> Iterator[SourceCase]:
    """The cases, those with one name as one that cannot be taken."""
    by_name: dict[str, list[SourceCase]] = {}
    for case in cases:
        by_name.setdefault(case.name.casefold(), []).append(case)
    for same in by_name.values():
        several = f"{len(same)} cases have this name, once characters that files cannot have are replaced."
        yield same[0] if len(same) == 1 else replace(same[0], problem=several)


def _done(jobs: Sequence[CaseJob], workers: int, progress: Progress) -> list[CaseEnd]:
    ends: list[CaseEnd] = []
    for job, result in as_done(import_case, jobs, workers):
        name = job.case.name
        if isinstance(result, BaseException):
            message, hint = explained(result)
            ends.append(CaseEnd(name, "failed", findings=(Finding("failed", message, name, hint),)))
        else:
            ends.append(result)
        progress(len(ends), len(jobs), name)
    return ends


def _recorded(dst: Path, names: set[str]) -> Iterator[CaseEnd]:
    """Cases of earlier runs that are no longer in the source: they stay."""
    for path in sorted((dst / RECORDS).glob("*.json")):
        if path.stem not in names and (record := read_record(dst, path.stem)) is not None:
            end = record_end(path.stem, record)
            note = Finding("note", "It is no longer in the source; what was imported of it stays.", path.stem)
            yield replace(end, findings=(*end.findings, note))


def _counted(adapter: Adapter, found: FoundSet) -> Iterator[Finding]:
    """A note where the whole set should have another number of patients or cases."""
    cases = found.cases
    counts = {
        "patients": len({case.patient for case in cases}),
        "labelled": sum(bool(case.masks) for case in cases),
        "unlabelled": sum(not case.masks for case in cases),
    }
    names = {"patients": "patients", "labelled": "cases with a mask", "unlabelled": "cases without a mask"}
    for what, expected in adapter.counts.items():
        if counts[what] != expected:
            yield Finding("note", f"{counts[what]} {names[what]} were found; the whole set has {expected}.")
