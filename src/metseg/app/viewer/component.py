"""The viewer as Python sees it: what to show goes in, which lesion was clicked comes out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Final

import streamlit as st
from streamlit.errors import StreamlitAPIException
from streamlit.runtime import get_instance

from metseg.app.colours import Colour

_NAME: Final = "metseg.viewer"
_HEIGHT: Final = 620


@dataclass(frozen=True)
class Jump:
    """A place to go to; a new ``count`` makes it a new jump."""

    mm: tuple[float, float, float]
    count: int


@dataclass(frozen=True)
class Scene:
    """What the viewer shows.

    Args:
        title: for screen readers.
        image: address of the image, NIfTI.
        lesions: address of the lesions' numbers on the same grid; None for no such overlay.
        probability: address of the probability map; None for no such overlay.
        colours: of lesion 1, 2, …; red, green, blue from 0 to 255.
        window: the values that are black and white.
        opacity: of the overlay, 0 … 1.
        plane: ``"all"``, ``"axial"``, ``"coronal"`` or ``"sagittal"``.
        render: the fourth view, in 3D: ``"on"``, ``"off"``, or ``"auto"``: where a graphics card draws it.
        selected: number of the lesion that stands out; None for none.
        jump: where the crosshair goes; None to leave it.
        height: of the viewer, in pixels.
    """

    title: str
    image: str
    lesions: str | None
    probability: str | None
    colours: list[Colour]
    window: tuple[float, float]
    opacity: float
    plane: str
    render: str
    selected: int | None
    jump: Jump | None
    height: int = _HEIGHT


@dataclass(frozen=True)
class Answer:
    """What the viewer says: the lesion picked just now, whether to go there, and why it cannot work."""

    lesion: int | None
    go_there: bool
    failed: str | None


def is_there() -> bool:
    """Does Streamlit know the viewer? Not where metseg was installed without the extra ``app``."""
    return _component() is not None


def show(scene: Scene, key: str) -> Answer:
    """Draw the viewer."""
    component = _component()
    if component is None:
        return Answer(None, go_there=False, failed="not installed")
    result = component(
        key=key, data=asdict(scene), height=_HEIGHT, on_picked_change=_nothing, on_failed_change=_nothing
    )
    picked: Mapping[str, Any] = result.picked or {}
    lesion = picked.get("lesion")
    failed = result.failed
    return Answer(
        int(lesion) if lesion else None, go_there=bool(picked.get("go")), failed=str(failed) if failed else None
    )


def address(content: bytes, name: str) -> str:
    """Where this user's browser finds ``content``: it comes from the app itself, so that only the app sees the service.

    Args:
        content: of a ``.nii.gz``.
        name: what it is, the same each time, within one page.
    """
    path = get_instance().media_file_mgr.add(content, "application/gzip", f"metseg-{name}")
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}{path}" if base else path


@cache
def _component() -> Any:
    try:
        return st.components.v2.component(_NAME, js="viewer.js")
    except StreamlitAPIException:
        return None


def _nothing() -> None:
    """Streamlit wants to have somebody to call."""
