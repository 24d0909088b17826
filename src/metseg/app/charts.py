"""Charts of burden and size."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import altair as alt
import streamlit as st

from metseg.app.colours import colours
from metseg.app.words import Words

# Diameters in mm: below 3 hardly seen, from 5 measurable in trials of RANO-BM's kind, from 10 measurable in all.
_EDGES: Final = (0, 3, 5, 10, 20)


def draw(lesions: Sequence[Mapping[str, Any]], words: Words) -> None:
    """Draw the charts of a result."""
    left, right = st.columns(2, gap="large")
    with left:
        _bars(lesions, "diameter_mm", words("charts.diameters"), words)
    with right:
        _bars(lesions, "volume_ml", words("charts.volumes"), words)
    st.markdown(f"**{words('charts.sizes')}**")
    rows: list[dict[str, object]] = [{"size": name, "n": count} for name, count in by_size(lesions, words)]
    chart = alt.Chart(_data(rows)).mark_bar(color="#56b4e9")
    st.altair_chart(
        chart.encode(
            x=alt.X("size:N", sort=None, title=None, axis=alt.Axis(labelAngle=0)),
            y=alt.Y("n:Q", title=words("charts.number"), axis=alt.Axis(tickMinStep=1)),
        ).properties(height=220),
        alt=words("charts.sizes"),
    )


def by_size(lesions: Sequence[Mapping[str, Any]], words: Words) -> list[tuple[str, int]]:
    """How many lesions there are of each class of longest diameter, by its name."""
    found = []
    for low, high in pairwise((*_EDGES, None)):
        name = words("charts.below", size=high) if low == 0 else f"{low}–{high} mm"
        if high is None:
            name = words("charts.above", size=low)
        inside = [
            each for each in lesions if each["diameter_mm"] >= low and (high is None or each["diameter_mm"] < high)
        ]
        found.append((name, len(inside)))
    return found


def _bars(lesions: Sequence[Mapping[str, Any]], field: str, title: str, words: Words) -> None:
    st.markdown(f"**{title}**")
    rows: list[dict[str, object]] = [
        {"lesion": str(each["id"]), "value": round(float(each[field]), 3)} for each in lesions
    ]
    domain = [str(each["id"]) for each in lesions]
    shades = [f"rgb{colour}" for colour in colours(len(rows))]
    chart = (
        alt.Chart(_data(rows))
        .mark_bar()
        .encode(
            x=alt.X("lesion:N", sort=None, title=words("charts.lesion"), axis=alt.Axis(labelAngle=0)),
            y=alt.Y("value:Q", title=None),
            color=alt.Color("lesion:N", scale=alt.Scale(domain=domain, range=shades), legend=None),
            tooltip=["lesion:N", "value:Q"],
        )
        .properties(height=220)
    )
    st.altair_chart(chart, alt=title)


def _data(rows: list[dict[str, object]]) -> alt.Data:
    return alt.Data(values=rows)  # type: ignore[no-untyped-call]  # Altair's own
