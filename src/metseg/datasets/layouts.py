"""Where a data set keeps its images and labels: nnU-Net raw, and BIDS."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from metseg import __version__
from metseg.io.atomic import write_text
from metseg.io.tables import csv_text

LayoutName = Literal["nnunet", "bids"]
_BIDS_SUFFIX: Final = {
    "t1c": "ce-gadolinium_T1w", "t1n": "T1w", "t2w": "T2w", "t2f": "FLAIR", "ct": "ct",
}  # fmt: skip
_TRUTH: Final = "derivatives/truth"


@dataclass(frozen=True)
class CaseFiles:
    """Where one case's files lie, relative to the data set: images by sequence, labels, lesion numbers."""

    images: dict[str, Path]
    labels: Path
    instances: Path


class Layout(Protocol):
    """A convention for a data set's files."""

    def case(self, name: str, sequences: Sequence[str]) -> CaseFiles:
        """Where the files of a case lie."""
        ...

    def describe(
        self, out: Path, *, cases: Sequence[str], sequences: Sequence[str], labels: Mapping[int, str], about: str
    ) -> None:
        """Write what the convention wants to know about the data set as a whole."""
        ...


class NnunetLayout:
    """``imagesTr/CASE_0000.nii.gz``, ``labelsTr/CASE.nii.gz`` and ``dataset.json``, as nnU-Net v2 reads them.

    The numbers of the lesions lie in ``instancesTr``, which nnU-Net ignores.
    """

    def case(self, name: str, sequences: Sequence[str]) -> CaseFiles:
        """Where the files of a case lie."""
        images = {s: Path("imagesTr") / f"{name}_{number:04d}.nii.gz" for number, s in enumerate(sequences)}
        return CaseFiles(images, Path("labelsTr") / f"{name}.nii.gz", Path("instancesTr") / f"{name}.nii.gz")

    def describe(
        self, out: Path, *, cases: Sequence[str], sequences: Sequence[str], labels: Mapping[int, str], about: str
    ) -> None:
        """Write ``dataset.json``; a channel called CT makes nnU-Net normalise it as CT."""
        content = {
            "channel_names": {str(n): "CT" if s == "ct" else s for n, s in enumerate(sequences)},
            "labels": {"background": 0, **{name: number for number, name in labels.items()}},
            "numTraining": len(cases),
            "file_ending": ".nii.gz",
            "description": about,
        }
        write_text(out / "dataset.json", _json(content))


class BidsLayout:
    """``sub-CASE/anat/…`` after BIDS 1.10, the truth as a derivative; CT, for which BIDS has no word yet, in ``ct``."""

    def case(self, name: str, sequences: Sequence[str]) -> CaseFiles:
        """Where the files of a case lie."""
        subject = f"sub-{name.replace('-', '')}"
        folder = "ct" if "ct" in sequences else "anat"
        images = {s: Path(subject) / folder / f"{subject}_{_BIDS_SUFFIX[s]}.nii.gz" for s in sequences}
        truth = Path(_TRUTH) / subject / folder
        return CaseFiles(images, truth / f"{subject}_dseg.nii.gz", truth / f"{subject}_desc-lesions_dseg.nii.gz")

    def describe(
        self, out: Path, *, cases: Sequence[str], sequences: Sequence[str], labels: Mapping[int, str], about: str
    ) -> None:
        """Write the descriptions of the data set and its derivative, the participants, and what the labels mean."""
        made_by = [{"Name": "metseg", "Version": __version__}]
        plain: dict[str, Any] = {"Name": "Synthetic brain metastases", "BIDSVersion": "1.10.0", "GeneratedBy": made_by}
        write_text(out / "dataset_description.json", _json({**plain, "DatasetType": "raw"}))
        derived = {**plain, "Name": "Truth of the synthetic brain metastases", "DatasetType": "derivative"}
        (out / _TRUTH).mkdir(parents=True, exist_ok=True)
        write_text(out / _TRUTH / "dataset_description.json", _json(derived))
        rows = [{"participant_id": f"sub-{case.replace('-', '')}"} for case in cases]
        write_text(out / "participants.tsv", csv_text(["participant_id"], rows))  # one column: no separator
        names = "".join(f"{number}\t{name}\n" for number, name in labels.items())
        write_text(out / _TRUTH / "dseg.tsv", f"index\tname\n{names}")
        write_text(out / "README", about + "\n")
        if "ct" in sequences:
            write_text(out / ".bidsignore", "*/ct/\n")


LAYOUTS: Final[dict[LayoutName, Layout]] = {"nnunet": NnunetLayout(), "bids": BidsLayout()}


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
