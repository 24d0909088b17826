"""Names of the pages, and the way from one to another."""

from typing import Final, NoReturn

import streamlit as st

SEND: Final = "new"
STUDIES: Final = "studies"
RESULT: Final = "result"
STUDY: Final = "study"


def open_study(job_id: str) -> NoReturn:
    """Go to the result of a study."""
    st.session_state[STUDY] = job_id
    st.switch_page(st.session_state["pages"][RESULT], query_params={STUDY: job_id})


def open_page(name: str) -> NoReturn:
    """Go to another page."""
    st.switch_page(st.session_state["pages"][name])


def chosen_study() -> str | None:
    """The study of the address, else the last one looked at."""
    found = st.query_params.get(STUDY) or st.session_state.get(STUDY)
    if found:
        st.query_params[STUDY] = found
        st.session_state[STUDY] = found
    return found
