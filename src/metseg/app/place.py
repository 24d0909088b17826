"""Where a session is in a study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

Lesions = Sequence[Mapping[str, Any]]


@dataclass
class Place:
    """Where one is in a study: the lesion chosen, where to go, and how often that was asked."""

    lesion: int | None = None
    mm: tuple[float, float, float] | None = None
    jumps: int = 0
    failed: str = ""

    def choose(self, lesion: int | None, lesions: Lesions, *, go: bool = True) -> None:
        """Choose a lesion, and go there if asked."""
        self.lesion = lesion
        if lesion is not None and go:
            x, y, z = next(each["centre_mm"] for each in lesions if each["id"] == lesion)
            self.mm, self.jumps = (x, y, z), self.jumps + 1


def place_of(job_id: str) -> Place:
    """Where this session is in a study."""
    places: dict[str, Place] = st.session_state.setdefault("places", {})
    return places.setdefault(job_id, Place())
