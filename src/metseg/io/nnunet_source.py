"""What a bundle keeps of the nnU-Net folders that it was imported from, beside its weights."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from metseg.core.options import Options
from metseg.engines.bundle import Bundle
from metseg.io.nnunet_folder import TrainedFolder

SOURCE: Final = "nnunet/source.json"
_DATASET: Final = r"^Dataset\d{3}_[\w-]+$"


class Origin(Options):
    """Where a stage came from.

    Args:
        folder: ``TRAINER__PLANS__CONFIGURATION``.
        trainer: nnU-Net's class, as the checkpoints name it.
    """

    folder: Annotated[str, Field(pattern=r"^[A-Za-z]\w*__[\w-]+__\w+$")]
    trainer: str


class Source(Options):
    """All of it; the file's keys are the names of these fields.

    Args:
        dataset: name of the data set, as nnU-Net writes it.
        stages: by name.
        files: SHA-256 of each file that decides the bundle, by its path below the data set's folder.
        wishes: of the user, but for the name.
    """

    dataset: Annotated[str, Field(pattern=_DATASET)]
    stages: Mapping[str, Origin]
    files: Mapping[str, str]
    wishes: Mapping[str, Any]

    def write(self, folder: Path) -> None:
        """Write it among a bundle's files."""
        (folder / SOURCE).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_source(bundle: Bundle) -> Source | None:
    """What a bundle keeps; None if it was not imported from nnU-Net, or by a metseg that kept less.

    Raises:
        ModelError: it was imported, but lacks the file.
    """
    if SOURCE not in bundle.manifest.files:
        return None
    try:
        return Source.model_validate_json(bundle.path(SOURCE).read_bytes())
    except ValidationError:
        return None


def dataset_name(trained: TrainedFolder, bundle_name: str) -> str:
    """Name of the data set: of its folder, else in the plans, else one made of the bundle's."""
    names = (trained.path.parent.name, str(trained.plans().plans.get("dataset_name")))
    given = [name for name in names if re.fullmatch(_DATASET, name)]
    return given[0] if given else f"Dataset999_{re.sub(r'[^A-Za-z0-9]+', '_', bundle_name)}"
