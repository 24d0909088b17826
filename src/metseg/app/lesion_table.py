"""The table of lesions: sort, filter, choose."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from metseg.app.colours import colours, svg
from metseg.app.place import Lesions, Place
from metseg.app.words import Words

_FIELDS: Final = {
    "diameter": "diameter_mm",
    "perpendicular": "perpendicular_mm",
    "volume": "volume_mm3",
    "confidence": "confidence",
}
_HEIGHT: Final = 420


def draw(job_id: str, lesions: Lesions, place: Place, words: Words) -> None:
    """Draw the table; a row chosen is written into ``place``."""
    if not lesions:
        return
    shown = _filtered(job_id, lesions, words)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(words("table.shown", shown=len(shown), all=len(lesions)))
        if st.button(words("table.previous"), icon=":material/navigate_before:", key=f"previous-{job_id}"):
            place.choose(_beside(place.lesion, shown, -1), lesions)
        if st.button(words("table.next"), icon=":material/navigate_next:", key=f"next-{job_id}"):
            place.choose(_beside(place.lesion, shown, 1), lesions)
    rows = [n for n, each in enumerate(shown) if each["id"] == place.lesion]
    # A lesion chosen elsewhere makes a new table that begins with its row.
    key = f"table-{job_id}-{place.lesion}-{len(shown)}"
    state = st.dataframe(
        _columns(shown, len(lesions), words),
        key=key,
        hide_index=True,
        height=min(_HEIGHT, 38 + 35 * len(shown)),
        on_select="rerun",
        selection_mode="single-row",
        selection_default={"selection": {"rows": rows}},
        column_config=_config(words),
        alt=words("table.title"),
    )
    st.caption(words("table.help"))
    chosen = [shown[n]["id"] for n in state["selection"]["rows"] if n < len(shown)]
    lesion = int(chosen[0]) if chosen else None
    if lesion is not None and lesion != place.lesion:
        place.choose(lesion, lesions)
        st.rerun(scope="fragment")


def filtered(lesions: Lesions, at_least_mm: float, sides: Sequence[str]) -> list[Mapping[str, Any]]:
    """Lesions of at least a diameter, on some of the sides (all where none is named)."""
    return [each for each in lesions if each["diameter_mm"] >= at_least_mm and (not sides or _side(each) in sides)]


def _filtered(job_id: str, lesions: Lesions, words: Words) -> list[Mapping[str, Any]]:
    size, side = st.columns([2, 3])
    largest = max(float(each["diameter_mm"]) for each in lesions)
    least = size.number_input(words("table.smallest"), 0.0, max(largest, 1.0), 0.0, 1.0, key=f"least-{job_id}")
    there = sorted({_side(each) for each in lesions})
    sides = side.pills(
        words("table.sides"),
        there,
        selection_mode="multi",
        format_func=lambda name: words(f"table.side_{name}"),
        key=f"sides-{job_id}",
    )
    return filtered(lesions, least, sides)


def _side(lesion: Mapping[str, Any]) -> str:
    return str(lesion.get("side") or "unknown")


def _beside(lesion: int | None, shown: Lesions, step: int) -> int | None:
    ids = [int(each["id"]) for each in shown]
    if not ids:
        return None
    if lesion not in ids:
        return ids[0]
    return ids[(ids.index(lesion) + step) % len(ids)]


def _columns(shown: Lesions, count: int, words: Words) -> dict[str, list[Any]]:
    shades = colours(count)
    numbers = {name: [each.get(field) for each in shown] for name, field in _FIELDS.items()}
    return {
        "colour": [svg(shades[each["id"] - 1]) for each in shown],
        "number": [each["id"] for each in shown],
        "diameter": numbers["diameter"],
        "volume": numbers["volume"],
        "side": [words(f"table.side_{_side(each)}") for each in shown],
        "confidence": numbers["confidence"],
        "perpendicular": numbers["perpendicular"],
        "slice": [each["slice_number"] for each in shown],
    }


def _config(words: Words) -> dict[str, Any]:
    column = st.column_config
    formats = {"diameter": "%.1f", "perpendicular": "%.1f", "volume": "%.0f", "confidence": "%.2f"}
    return {
        "colour": column.ImageColumn("", help=words("table.colour"), width=36),
        "number": column.NumberColumn(words("table.number"), width=44),
        "side": column.TextColumn(words("table.side"), width=64),
        "slice": column.NumberColumn(words("table.slice"), width=60),
        **{name: column.NumberColumn(words(f"table.{name}"), format=form) for name, form in formats.items()},
    }
