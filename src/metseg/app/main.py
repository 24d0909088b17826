"""The app's frame: pages, language, banner, and the line that says whom we speak to."""

from functools import partial
from importlib.resources import files
from typing import Final

import streamlit as st

from metseg.app import help_page, result_page, send_page, studies_page
from metseg.app.connection import connect, guarded, service_url, told
from metseg.app.pages import RESULT, SEND, STUDIES
from metseg.app.words import LANGUAGES, Words

_HELP: Final = "help"


def main() -> None:
    """Draw the page that is asked for."""
    words = Words(_language())
    pages = {
        SEND: (send_page.draw, "page.new"),
        STUDIES: (studies_page.draw, "page.studies"),
        RESULT: (result_page.draw, "page.result"),
        _HELP: (help_page.draw, "page.help"),
    }
    made = {
        name: st.Page(partial(guarded, draw, words), title=words(title), url_path=name, default=name == SEND)
        for name, (draw, title) in pages.items()
    }
    st.session_state["pages"] = made
    chosen = st.navigation(list(made.values()))
    # A picture of our own, and no icons on pages: the browser's tab would fetch those from the network.
    st.set_page_config(page_title="metseg", page_icon=str(files("metseg.app").joinpath("icon.png")), layout="wide")
    with st.sidebar:
        _sidebar(words)
    st.warning(words("banner"), icon=":material/science:")
    chosen.run()


def _language() -> str:
    """The one chosen before, else the browser's, else English."""
    asked = (st.session_state.get("language"), st.query_params.get("lang"), (st.context.locale or "").partition("-")[0])
    return next((language for language in asked if language in LANGUAGES), LANGUAGES[0])


def _sidebar(words: Words) -> None:
    st.selectbox(
        "Language · Sprache · Idioma · 언어",
        LANGUAGES,
        index=LANGUAGES.index(words.language),
        format_func=lambda language: Words(language)("language"),
        key="language",
    )
    with told(words, small=True):
        about = connect().about()
        st.caption(words("service.connected", version=about["version"], caller=about["caller"]))
        st.session_state["limits"] = about
        st.session_state["key_wanted"] = st.session_state.get("key_wanted", False)
    if st.session_state.get("key_wanted") or st.session_state.get("api_key"):
        st.text_input(words("service.key"), type="password", key="api_key", help=words("service.key_help"))
    st.caption(words("service.where", url=service_url()))
