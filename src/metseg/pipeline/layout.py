"""Results in layouts of others: BIDS derivatives, nnU-Net labels. The result folders themselves lie aside.

A result is finished in its own folder first; what other layouts want is copied from there, so a run that was stopped
between the two goes on with the copies.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from metseg import __version__
from metseg.config.options import Layout
from metseg.core.errors import InputError
from metseg.io.atomic import write_bytes, write_text
from metseg.io.case_names import stem
from metseg.io.discover import CaseInput
from metseg.io.output_folder import make_output_folder
from metseg.io.tables import as_cell
from metseg.pipeline.manifest import file_sha256

_DERIVATIVE: Final = "derivatives/metseg"
_ASIDE: Final[dict[Layout, str]] = {"metseg": "", "bids": f"{_DERIVATIVE}/results", "nnunet": "results"}
_MASK: Final = "segmentation.nii.gz"
_ENTITY: Final = re.compile(r"([a-z]+)-([A-Za-z0-9]+)")
_DESCRIPTION: Final = f"{_DERIVATIVE}/dataset_description.json"
_BIDS_VERSION: Final = "1.10.0"


def results_folder(out: Path, layout: Layout) -> Path:
    """Where the result folders of the cases go."""
    return out / _ASIDE[layout]


def check_layout(
    case_input: CaseInput, out: Path, layout: Layout, before: Mapping[str, Any] | None, *, force: bool = False
) -> None:
    """Make sure that laying out a result takes nothing from the user.

    Args:
        case_input: the case.
        out: the output folder.
        layout: of the copies.
        before: manifest of the result that is there; None where there is none.
        force: let them be replaced all the same.

    Raises:
        InputError: a file stands there that metseg did not write, or that was changed since.
    """
    known = {} if before is None else _wanted(case_input, layout, before)
    for name in _names(case_input, layout):
        path = out / name
        if path.exists() and not force and file_sha256(path) != known.get(name):
            raise InputError(
                f"{path.name} stands where a result would go, but metseg did not write it as it is.",
                hint="Move it away, choose another output folder, or use --force to replace it.",
            )
    if layout == "bids" and not _is_ours(out / _DESCRIPTION):
        raise InputError(
            f"{_DESCRIPTION} in the output folder tells of another data set.", hint="Choose another output folder."
        )


def lay_out(
    case_input: CaseInput, folder: Path, out: Path, layout: Layout, manifest: Mapping[str, Any], *, again: bool = False
) -> None:
    """Copy what the layout wants out of a finished result folder.

    Args:
        case_input: the case.
        folder: of its result.
        out: the output folder.
        layout: of the copies.
        manifest: of the result.
        again: the result was there before: only what is missing is written.

    Raises:
        MetsegError: a file cannot be written.
    """
    for name in _names(case_input, layout):
        path = out / name
        if again and path.exists():
            continue
        make_output_folder(path.parent)
        content = (folder / _MASK).read_bytes() if name.endswith(".nii.gz") else _sidecars(manifest)[path.suffix]
        write_bytes(path, content)
    if layout == "bids":
        write_text(out / _DESCRIPTION, _json(_description()))
        write_text(out / _DERIVATIVE / ".bidsignore", "results/\n")


def _names(case_input: CaseInput, layout: Layout) -> tuple[str, ...]:
    """What a case gets in a layout, from the output folder."""
    if layout == "nnunet":
        return (f"{case_input.case}.nii.gz",)
    if layout == "bids":
        folder, name = bids_name(case_input)
        start = f"{_DERIVATIVE}/{folder}/{name}_desc-metseg_dseg"
        return (f"{start}.nii.gz", f"{start}.tsv", f"{start}.json")
    return ()


def bids_name(case_input: CaseInput) -> tuple[str, str]:
    """Folder and beginning of the names of a case's files: its own entities, where its file is named by BIDS.

    Else its name is the subject, with the letters and digits that BIDS allows.

    >>> bids_name(CaseInput("x", (Path("sub-02_ses-1_ce-gd_T1w.nii.gz"),)))
    ('sub-02/ses-1/anat', 'sub-02_ses-1_ce-gd')
    >>> bids_name(CaseInput("Müller, 2. Kopf", (Path("a.nii"),)))
    ('sub-Muller2Kopf/anat', 'sub-Muller2Kopf')
    """
    own = stem(case_input.files[0].name) if case_input.kind == "image" else case_input.case
    found = [match for part in own.split("_") if (match := _ENTITY.fullmatch(part))]
    entities = [(match[1], match[2]) for match in found if match[1] not in {"desc", "space"}]
    if not entities or entities[0][0] != "sub":
        plain = unicodedata.normalize("NFKD", case_input.case)
        entities = [("sub", re.sub(r"[^A-Za-z0-9]", "", plain) or hashlib.sha256(plain.encode()).hexdigest()[:8])]
    folders = [f"{key}-{value}" for key, value in entities if key in {"sub", "ses"}]
    kind = case_input.files[0].parent.name
    return "/".join([*folders, kind if kind in {"anat", "ct"} else "anat"]), "_".join(
        f"{key}-{value}" for key, value in entities
    )


def _wanted(case_input: CaseInput, layout: Layout, manifest: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of each file that a finished result has in a layout."""
    mask = next((str(item["sha256"]) for item in manifest["outputs"] if item["name"] == _MASK), "")
    sidecars = {end: hashlib.sha256(content).hexdigest() for end, content in _sidecars(manifest).items()}
    return {name: sidecars.get(Path(name).suffix, mask) for name in _names(case_input, layout)}


def _sidecars(manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """What the mask's numbers mean, and how it was made."""
    # Names are those that the model gives: no tab, no line, no formula.
    named = [(number, as_cell(" ".join(str(name).split()))) for number, name in manifest.get("labels", {}).items()]
    lines = ["index\tname", "0\tbackground", *(f"{number}\t{name}" for number, name in named)]
    made = {
        "Description": "Brain metastases, outlined by software. Research, not for primary diagnosis.",
        "Manual": False,
        "SpatialReference": "orig",
        "GeneratedBy": {"Name": "metseg", "Version": manifest["versions"].get("metseg", "")},
        "Model": {key: manifest["model"].get(key) for key in ("name", "version", "sha256")},
        "OperatingPoint": manifest["options"].get("operating_point"),
        "Lesions": manifest["lesions"]["count"],
        "VolumeMm3": manifest["lesions"]["volume_mm3"],
    }
    return {".tsv": ("\n".join(lines) + "\n").encode(), ".json": _json(made).encode()}


def _description() -> dict[str, Any]:
    return {
        "Name": "metseg: outlines of brain metastases",
        "BIDSVersion": _BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "metseg", "Version": __version__}],
    }


def _is_ours(path: Path) -> bool:
    """Is there no description of a data set, or one that metseg wrote?"""
    if not path.exists():
        return True
    try:
        return bool(json.loads(path.read_text(encoding="utf-8"))["GeneratedBy"][0]["Name"] == "metseg")
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return False


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
