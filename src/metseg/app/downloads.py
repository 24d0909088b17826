"""Downloads: everything as a zip, or file by file."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from metseg.app import study_files
from metseg.app.connection import connect
from metseg.app.words import Words

_GROUPS: Final = (
    ("tables", (".csv", "lesions.json")),
    ("pages", (".html", ".pdf", ".png")),
    ("nifti", (".nii.gz",)),
    ("dicom", (".dcm",)),
    ("record", ("run.json",)),
)
_ONE_BY_ONE: Final = 12
_KIB: Final = 2**10
_MIB: Final = 2**20


def draw(job: Mapping[str, Any], listed: Sequence[Mapping[str, Any]], words: Words) -> None:
    """Draw the downloads of a result."""
    job_id = str(job["id"])
    st.download_button(
        words("download.all"),
        lambda: connect().archive(job_id),
        file_name=f"metseg-{job_id}.zip",
        mime="application/zip",
        type="primary",
        icon=":material/download:",
        on_click="ignore",
        key="archive",
    )
    for group, ends in _GROUPS:
        files = [file for file in listed if str(file["name"]).endswith(ends)]
        if not files:
            continue
        st.markdown(f"**{words(f'download.{group}')}**")
        for file in files[:_ONE_BY_ONE]:
            _file(job_id, file)
        if len(files) > _ONE_BY_ONE:
            st.caption(f"… {words('studies.files', count=len(files))}")


def _file(job_id: str, file: Mapping[str, Any]) -> None:
    name = str(file["name"])
    st.download_button(
        f"{name} ({_size(int(file['bytes']))})",
        lambda: study_files.read(job_id, name),
        file_name=name,
        mime=str(file["media_type"]),
        type="tertiary",
        icon=":material/download:",
        on_click="ignore",
        key=f"file-{name}",
    )


def _size(count: int) -> str:
    return f"{count / _MIB:.1f} MiB" if count >= _MIB else f"{max(1, round(count / _KIB))} KiB"
