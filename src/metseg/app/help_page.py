"""Help: what to do, and what not to expect."""

import streamlit as st

from metseg.app.words import Words


def draw(words: Words) -> None:
    """Draw the page."""
    st.title(words("help.title"))
    st.markdown(words("help.text"))
