"""All studies: what became of them, open, stop, erase."""

from collections.abc import Mapping
from typing import Any, Final

import streamlit as st

from metseg.app.connection import connect, plain, problem_text, told
from metseg.app.pages import SEND, open_page, open_study
from metseg.app.progress import ACTIVE, ICONS, outcome
from metseg.app.words import Words

_STATES: Final = ("queued", "running", "succeeded", "failed", "cancelled")
_PAGE: Final = 20
_EVERY_S: Final = 3.0


def draw(words: Words) -> None:
    """Draw the page."""
    st.title(words("studies.title"))
    states = st.pills(
        words("studies.show"),
        _STATES,
        selection_mode="multi",
        format_func=lambda state: words(f"state.{state}"),
        key="states",
    )
    place = "|".join(states)
    if st.session_state.get("states_of_page") != place:
        st.session_state["states_of_page"], st.session_state["page"] = place, None
    page = connect().jobs(limit=_PAGE, page=st.session_state.get("page"), states=states)
    active = any(job["state"] in ACTIVE for job in page["studies"])
    st.fragment(_list, run_every=_EVERY_S if active else None)(tuple(states), words)
    if not page["studies"] and not states:
        st.info(words("studies.none"))
        if st.button(words("page.new"), type="primary"):
            open_page(SEND)
    newer, older, _ = st.columns([1, 1, 6])
    if st.session_state.get("page") and newer.button(words("studies.newer")):
        st.session_state["page"] = None
        st.rerun()
    if page["next"] and older.button(words("studies.older")):
        st.session_state["page"] = page["next"]
        st.rerun()


def _list(states: tuple[str, ...], words: Words) -> None:
    with told(words):
        for job in connect().jobs(limit=_PAGE, page=st.session_state.get("page"), states=states)["studies"]:
            with st.container(border=True):
                _row(job, words)


def _row(job: Mapping[str, Any], words: Words) -> None:
    name, state, actions = st.columns([4, 4, 3], vertical_alignment="center")
    name.markdown(f"**{plain(job['label'])}**")
    sent = job["created"][:16].replace("T", " ")
    name.caption(f"{sent} UTC · {words('studies.files', count=len(job['files']))}")
    state.markdown(f"{ICONS[job['state']]} {words('state.' + job['state'])}")
    if job["state"] in ACTIVE:
        state.progress(float(job["progress"]), words.stage(job["stage"]))
    elif job["state"] == "succeeded":
        state.caption(outcome(job, words))
    elif job["state"] == "failed":
        state.caption(problem_text(job["problem"] or {}, words))
    with actions.container(horizontal=True, horizontal_alignment="right"):
        if job["state"] == "succeeded" and st.button(words("studies.open"), key=f"o{job['id']}", type="primary"):
            open_study(job["id"])
        if job["state"] in ACTIVE and st.button(words("studies.cancel"), key=f"c{job['id']}"):
            connect().cancel(job["id"])
            st.rerun()
        if st.button(words("studies.erase"), key=f"e{job['id']}"):
            _erase(job, words)


def _erase(job: Mapping[str, Any], words: Words) -> None:
    @st.dialog(words("studies.erase"))
    def asked() -> None:
        st.write(words("studies.erase_sure"))
        st.markdown(f"**{plain(job['label'])}**")
        yes, no = st.columns(2)
        if yes.button(words("studies.erase_yes"), type="primary", key="erase-yes"):
            connect().erase(job["id"])
            st.rerun()
        if no.button(words("studies.erase_no"), key="erase-no"):
            st.rerun()

    asked()
