"""``run.json``: what made a result, and how to tell that it need not be made again."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from metseg import __version__
from metseg.config.options import SegmentOptions
from metseg.core.errors import InputError
from metseg.core.result import CaseResult
from metseg.core.study import Study
from metseg.engines.base import Engine
from metseg.io.discover import CaseInput
from metseg.io.lesion_files import known_summary
from metseg.io.other_formats import OTHER_SUFFIXES, data_file_of
from metseg.lesions.known import count_known

MANIFEST: Final = "run.json"
SCHEMA: Final = "metseg.run/1"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Fingerprint:
    """What tells two results apart.

    Args:
        input: one hash over the bytes of all input files, whatever parts they play.
        whole: one hash over all that decides a result: the input and the parts its files play, the model, the engine,
            the options, metseg's version; the mask of known lesions, which is no part of ``input``: with another one
            it is the same case done again.
        prior: hash over the bytes of that mask; empty where there is none.
    """

    input: str
    whole: str
    prior: str = ""


def fingerprint(case_input: CaseInput, engine: Engine, options: SegmentOptions) -> Fingerprint:
    """The fingerprint of the result that ``case_input`` would get.

    How many threads run makes no difference to a result, and where the bundle lies is covered by its hash.
    """
    hashed = [(role, file_sha256(path)) for role, path in _input_files(case_input)]
    own = hashlib.sha256("\n".join(sorted(value for _, value in hashed)).encode()).hexdigest()
    digest = hashlib.sha256("".join(f"{role}={value}\n" for role, value in hashed).encode())
    digest.update("\n".join(case_input.members).encode())
    decisive = options.model_dump(mode="json", exclude={"threads", "model", "deidentify_key"})
    facts = {"metseg": __version__, "engine": engine.name, "model": engine.card.sha256, "options": decisive}
    if options.deidentify_key is not None:
        facts["key"] = file_sha256(options.deidentify_key)
    prior = "" if case_input.prior is None else _sha256_of(_with_companions(case_input.prior))
    if prior:
        facts["prior"] = prior
    digest.update(json.dumps(facts, sort_keys=True).encode())
    return Fingerprint(own, digest.hexdigest(), prior)


def compose_manifest(
    result: CaseResult, case_input: CaseInput, *, mark: Fingerprint, outputs: Iterable[Path], warnings: Iterable[str]
) -> dict[str, Any]:
    """The manifest of a result as plain data; holds no patient data and no path of the user's machine."""
    made, study = result.provenance, result.study
    return {
        "schema": SCHEMA,
        "case": study.case,
        "fingerprint": mark.whole,
        "input": {
            "fingerprint": mark.input,
            "sha256": study.source.sha256,
            "format": study.source.format,
            "files": _file_names(case_input),
            "sequences": list(study.images),
            "headers": dict(study.source.headers),
            "shape": list(study.grid.shape),
            "spacing_mm": [round(s, 6) for s in study.grid.spacing_mm],
            "affine": study.grid.affine.tolist(),
            **_prior(study, mark),
        },
        "engine": made.engine,
        "model": dict(made.model),
        "versions": dict(made.versions),
        "options": dict(made.options),
        "timings_s": dict(made.timings_s),
        "warnings": [*made.warnings, *warnings],
        "notes": list(study.source.notes),
        "labels": {str(value): name for value, name in result.segmentation.labels.items()},
        "lesions": _lesions(result),
        **_placing(result),
        "outputs": [{"name": path.name, "bytes": path.stat().st_size, "sha256": file_sha256(path)} for path in outputs],
    }


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a result folder, or None where there is none that this version understands."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        return None
    outputs = manifest.get("outputs")
    if not isinstance(outputs, list) or not all(isinstance(o, dict) and {"name", "sha256"} <= set(o) for o in outputs):
        return None
    return manifest


def check_same_input(manifest: Mapping[str, Any], mark: Fingerprint, folder: Path) -> None:
    """Two patients' files may bear one name: one's result must not take the place of the other's unasked.

    Raises:
        InputError: the result in ``folder`` was made of another input.
    """
    if manifest.get("input", {}).get("fingerprint") != mark.input:
        raise InputError(
            f"The folder {folder} holds the result of another input of the same name.",
            hint="Choose another output folder with -o, or replace that result with --force.",
        )


def is_finished(folder: Path, manifest: Mapping[str, Any], mark: Fingerprint) -> bool:
    """Was this result made of the same input, model and options, and are all its files there?"""
    if manifest.get("fingerprint") != mark.whole:
        return False
    return all((folder / str(item["name"])).is_file() for item in manifest["outputs"])


def _input_files(case_input: CaseInput) -> list[tuple[str, Path]]:
    """Each file that will be read, with the part it plays; folders opened up, in a fixed order."""
    if case_input.sequences is not None:
        named = list(case_input.sequences.items())
    else:
        # One zip may hold several channels: their members tell them apart.
        roles = [*map(str, case_input.channels), *[""] * len(case_input.files)]
        named = list(zip(roles, case_input.files))
    return [(role, each) for role, path in named for each in _with_companions(path)]


def _prior(study: Study, mark: Fingerprint) -> dict[str, Any]:
    """What guided the result, where something did: a hash and a count, never a name."""
    if not mark.prior:
        return {}
    known = 0 if study.prior is None else count_known(study.prior)
    return {"prior": {"sha256": mark.prior, "known_lesions": known}}


def _lesions(result: CaseResult) -> dict[str, Any]:
    """How many, how much, and what became of the known ones where something guided the result."""
    known = {} if result.study.prior is None else {"known": known_summary(result.known)}
    return {"count": len(result.lesions), "volume_mm3": result.lesions.total_volume_mm3, **known}


def _placing(result: CaseResult) -> dict[str, Any]:
    """How the lesions' places were found, or why they were not."""
    made = result.placing
    if made is None:
        return {}
    reason = {"reason": made.reason} if made.reason else {}
    return {"location": {"determined": not made.reason, **reason, **made.measures}}


def _sha256_of(paths: Sequence[Path]) -> str:
    """SHA-256 of a file's bytes, or of the hashes of several."""
    hashes = [file_sha256(path) for path in paths]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _with_companions(path: Path) -> list[Path]:
    """A folder's files; a header and the file that it names for its voxels; else the file."""
    if path.is_dir():
        return sorted(each for each in path.rglob("*") if each.is_file())
    data = data_file_of(path) if path.name.lower().endswith(OTHER_SUFFIXES) else None
    return [path] if data is None else [path, data]


def _file_names(case_input: CaseInput) -> list[str]:
    """Bare file names; not those of DICOM, which can hold identifiers and run into hundreds."""
    return [] if case_input.kind == "dicom" else list(dict.fromkeys(path.name for path in case_input.files))
