"""Which folders of DICOM files belong to one study."""

import logging
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)
# Folders that say what they hold, not whose it is.
_SAY_NOTHING: Final = {"dicom", "dicoms", "dcm", "images", "image", "dicomdat", "data"}


def dicom_studies(top: Path, folders: Mapping[Path, tuple[Path, ...]]) -> list[tuple[str, tuple[Path, ...]]]:
    """DICOM files by study, with a name for each study from the names of its folders.

    Folders belong together where their first files carry the same StudyInstanceUID; a folder whose first file carries
    none stands for itself. The identifier is compared and forgotten.

    Args:
        top: the folder the user named.
        folders: DICOM files of each folder at or below it.
    """
    studies: dict[str, list[Path]] = {}
    for folder, files in folders.items():
        key = (_study_uid(files[0]) if len(folders) > 1 else "") or str(folder)
        studies.setdefault(key, []).append(folder)
    named = [(_parts(top, members), members) for members in studies.values()]
    count = Counter(parts[0] for parts, _ in named)
    return [
        (parts[0] if count[parts[0]] == 1 else "_".join(parts), tuple(f for folder in members for f in folders[folder]))
        for parts, members in named
    ]


def _parts(top: Path, members: list[Path]) -> tuple[str, ...]:
    """Names of the folders from ``top`` down to the one that holds the whole study; at least one."""
    common = Path(os.path.commonpath(members))
    parts = tuple(part for part in common.relative_to(top).parts if part.lower() not in _SAY_NOTHING)
    return parts or (top.resolve().name,)


def _study_uid(path: Path) -> str:
    """StudyInstanceUID; empty where the file does not give one. Whether the file is sound is the reader's matter."""
    from pydicom import dcmread

    try:
        return str(
            dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID"], force=True)[0x0020000D].value
        )
    except Exception:  # noqa: BLE001 - a broken file can raise anything in the parser, and is told when it is read
        _log.debug("A DICOM file gave no study identifier.")
        return ""
