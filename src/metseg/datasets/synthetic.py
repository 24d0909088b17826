"""Data sets of synthetic studies: made by several processes, the same whatever their number, and resumable."""

import json
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator

from metseg import __version__
from metseg.core.errors import MetsegError, explained
from metseg.core.options import Options
from metseg.core.progress import Progress, no_progress
from metseg.datasets.as_done import as_done
from metseg.datasets.layouts import LAYOUTS, LayoutName
from metseg.datasets.splits import write_splits
from metseg.io.atomic import write_text
from metseg.io.nifti import write_nifti
from metseg.io.output_folder import make_output_folder, resume_output_folder
from metseg.io.tables import csv_text
from metseg.synthesis.head import make_head
from metseg.synthesis.hosts import FIRST_UNSEEN_HEAD, Host, HostFile, find_hosts
from metseg.synthesis.study import (
    SEQUENCES,
    Modality,
    SyntheticStudy,
    TrueLesion,
    choose_host,
    draw_head_seed,
    make_study,
)
from metseg.synthesis.truth import LABELS

SETTINGS: Final = "synthesis.json"
LESIONS: Final = "lesions.csv"
STUDIES: Final = "studies.csv"
_RECORDS: Final = "records"


class SynthesisOptions(Options):
    """What to make.

    Args:
        modality: ``t1c``: T1 after contrast agent; ``mr4``: that, T1, FLAIR and T2; ``ct``: after contrast agent.
        count: of studies.
        seed: of the series; study n of a series is the same in a long series and a short one.
        hosts: folder with ``hosts_labels/`` and ``hosts_t1c/open_ms/``; None: heads made from nothing.
        unseen: of the hosts, only those that no shipped model was trained on.
        seen: of the hosts, only the others.
        layout: of the folders.
    """

    modality: Modality = "t1c"
    count: Annotated[int, Field(ge=1, le=9999)] = 10
    seed: Annotated[int, Field(ge=0)] = 0
    hosts: Path | None = None
    unseen: bool = False
    seen: bool = False
    layout: LayoutName = "nnunet"

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if self.seen and self.unseen:
            raise ValueError("hosts are seen or unseen, not both")
        return self

    @property
    def held_out(self) -> bool | None:
        """Which hosts, as ``find_hosts`` wants it."""
        return self.unseen if self.seen or self.unseen else None


@dataclass(frozen=True)
class Failure:
    """A study that could not be made, and why."""

    case: str
    message: str
    hint: str


@dataclass(frozen=True)
class Synthesised:
    """How a run went: cases made now, cases that were there already, failures."""

    made: tuple[str, ...]
    kept: tuple[str, ...]
    failures: tuple[Failure, ...]


def case_name(number: int) -> str:
    """Name of study ``number`` (from 1)."""
    return f"synthetic-{number:04d}"


@lru_cache(maxsize=2)
def _found(hosts: Path, *, held_out: bool | None) -> tuple[HostFile, ...]:
    return tuple(find_hosts(hosts, held_out=held_out))


@lru_cache(maxsize=3)
def _read(host: HostFile) -> Host:
    return host.read()


def _host(options: SynthesisOptions, number: int) -> Host:
    if options.hosts is None:
        return make_head(draw_head_seed(options.seed, number, FIRST_UNSEEN_HEAD))
    files = _found(options.hosts, held_out=options.held_out)
    return _read(files[choose_host(options.seed, number, [f.is_map for f in files], options.modality)])


def _make(out: Path, options: SynthesisOptions, number: int) -> None:
    """Make one study and write it; its record comes last, and says that all of it is there."""
    case = case_name(number)
    study = make_study(options.seed, number, _host(options, number), options.modality)
    files = LAYOUTS[options.layout].case(case, SEQUENCES[options.modality])
    for path in (*files.images.values(), files.labels, files.instances):
        (out / path).parent.mkdir(parents=True, exist_ok=True)
    for sequence, path in files.images.items():
        write_nifti(out / path, study.images[sequence])
    write_nifti(out / files.labels, study.labels)
    write_nifti(out / files.instances, study.instances)
    write_text(out / _RECORDS / f"{case}.json", json.dumps(_record(case, study), indent=2) + "\n")


def _record(case: str, study: SyntheticStudy) -> dict[str, Any]:
    """What is known of a study, one value a name, and of its lesions."""
    protocol, grid = study.made.protocol, study.labels.grid
    lesions = [_lesion_row(case, lesion) for lesion in study.lesions]
    return {
        "case": case,
        "host": study.made.host,
        "skull": study.made.skull,
        "metastases": sum(lesion.nature == "metastasis" for lesion in study.lesions),
        "slices": ("sagittal", "coronal", "axial")[protocol.slice_axis],
        "thickness_mm": protocol.thickness_mm,
        "gap_mm": protocol.gap_mm,
        "in_plane_mm": protocol.in_plane_mm,
        **{f"tilt_{axis}_deg": round(tilt, 3) for axis, tilt in zip("xyz", protocol.tilt_deg, strict=True)},
        "cut_below": round(protocol.cut[0], 3),
        "cut_above": round(protocol.cut[1], 3),
        **{f"voxels_{axis}": size for axis, size in zip("ijk", grid.shape, strict=True)},
        "lesions": lesions,
    }


def _lesion_row(case: str, lesion: TrueLesion) -> dict[str, Any]:
    plain = asdict(lesion)
    centre = plain.pop("centre_mm")
    plain.update({f"{axis}_mm": place for axis, place in zip("xyz", centre, strict=True)})
    return {"case": case, **{k: round(v, 4) if isinstance(v, float) else v for k, v in plain.items()}}


def _settings(options: SynthesisOptions) -> dict[str, Any]:
    plain = options.model_dump(mode="json", exclude={"count", "hosts", "seen"})  # the hosts' names tell
    names = None if options.hosts is None else [f.name for f in _found(options.hosts, held_out=options.held_out)]
    return {"metseg": __version__, **plain, "hosts": names}


def synthesise(
    out: Path, options: SynthesisOptions, *, workers: int = 1, progress: Progress = no_progress
) -> Synthesised:
    """Make ``options.count`` studies in ``out``, or those that are still missing there.

    Args:
        out: the data set's folder.
        options: what to make.
        workers: processes; the studies do not depend on their number.
        progress: told after each study.

    Raises:
        InputError, ConfigError: ``out`` holds something else, or there are no hosts.
    """
    resume_output_folder(out, SETTINGS, _settings(options), what="series of synthetic studies")
    make_output_folder(out / _RECORDS)
    numbers = list(range(1, options.count + 1))
    kept = [n for n in numbers if (out / _RECORDS / f"{case_name(n)}.json").exists()]
    failures, made = [], []
    progress(len(kept), len(numbers), "studies")
    missing = sorted(set(numbers) - set(kept))
    for number, error in as_done(partial(_make, out, options), missing, workers):
        if error is None:
            made.append(number)
        else:
            failures.append(Failure(case_name(number), *explained(error)))
        progress(len(kept) + len(made) + len(failures), len(numbers), "studies")
    _summarise(out, options)
    return Synthesised(
        tuple(case_name(n) for n in sorted(made)),
        tuple(case_name(n) for n in kept),
        tuple(sorted(failures, key=lambda failure: failure.case)),
    )


def _summarise(out: Path, options: SynthesisOptions) -> None:
    """Tables of studies and lesions, folds, and what the layout wants, from the records of all studies in ``out``."""
    paths = sorted((out / _RECORDS).glob("*.json"))
    try:
        records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    except (OSError, ValueError) as error:
        raise MetsegError("A record of a study cannot be read.", hint="Remove it and run the command again.") from error
    studies = [{name: value for name, value in r.items() if name != "lesions"} for r in records]
    for name, rows in ((LESIONS, [row for r in records for row in r["lesions"]]), (STUDIES, studies)):
        columns = list(dict.fromkeys(key for row in rows for key in row))
        write_text(out / name, csv_text(columns, rows))
    cases = [r["case"] for r in records]
    write_splits(out, {r["case"]: r["host"] for r in records}, seed=options.seed)
    about = (
        f"Synthetic studies ({options.modality}) with brain metastases, made by metseg {__version__}, "
        f"seed {options.seed}. No patient is shown. For research."
    )
    LAYOUTS[options.layout].describe(
        out, cases=cases, sequences=SEQUENCES[options.modality], labels=LABELS, about=about
    )
