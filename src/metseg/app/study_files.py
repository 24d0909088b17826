"""The files of a result, as the pages need them; kept for a while, each for the one who may see it."""

import gzip
import json
from typing import Any, Final

import streamlit as st
from nibabel.nifti1 import Nifti1Image

from metseg.app.connection import connect, service_url
from metseg.app.slices import Stack, canonical

_KEPT_S: Final = 900
_KEPT: Final = 24


def read(job_id: str, name: str) -> bytes:
    """A file of a result."""
    return _read(job_id, name, _who())


def lesions(job_id: str) -> list[dict[str, Any]]:
    """The lesions of a result, the largest first."""
    return list(json.loads(read(job_id, "lesions.json"))["lesions"])


def volume(job_id: str, name: str) -> bytes:
    """A volume for the viewer, as ``.nii.gz``."""
    return _volume(job_id, name, _who())


def stack(job_id: str, name: str) -> Stack:
    """The same as an array, turned so that its axes point right, anterior and superior."""
    return _stack(job_id, name, _who())


def _who() -> str:
    return f"{service_url()} {st.session_state.get('api_key', '')}"


@st.cache_resource(ttl=_KEPT_S, max_entries=_KEPT, show_spinner=False)
def _read(job_id: str, name: str, who: str) -> bytes:  # noqa: ARG001  # what one may see is not kept for another
    return connect().read(job_id, name)


@st.cache_resource(ttl=_KEPT_S, max_entries=_KEPT, show_spinner=False)
def _volume(job_id: str, name: str, who: str) -> bytes:  # noqa: ARG001
    client = connect()
    return next(client.volume(link) for link in client.volumes(job_id) if link["name"] == name)


@st.cache_resource(ttl=_KEPT_S, max_entries=8, show_spinner=False)
def _stack(job_id: str, name: str, who: str) -> Stack:
    return canonical(Nifti1Image.from_bytes(gzip.decompress(_volume(job_id, name, who))))
