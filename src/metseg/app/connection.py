"""The way to the service: where it is, who asks, and its refusals as sentences."""

import argparse
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import streamlit as st

from metseg.app.words import Words
from metseg.service.client import Client, ServiceError

DEFAULT_URL: Final = "http://127.0.0.1:8000"
_LOG: Final = logging.getLogger(__name__)
_KEY: Final = "api_key"


def service_url() -> str:
    """Where the service is: ``streamlit run app/frontend.py -- --service URL``."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--service", default=DEFAULT_URL)
    return str(parser.parse_known_args(sys.argv[1:])[0].service)


def connect() -> Client:
    """The connection of this session's user."""
    return _client(service_url(), str(st.session_state.get(_KEY, "")))


@st.cache_resource(max_entries=64, on_release=Client.close)
def _client(url: str, key: str) -> Client:
    return Client(url, key or None)


@contextmanager
def told(words: Words, *, small: bool = False) -> Iterator[None]:
    """Whatever goes wrong inside is shown as a sentence with its remedy; the rest of the page goes on.

    Args:
        words: the catalogue.
        small: as a caption, where an alarm would be too much.
    """
    try:
        yield
    except ServiceError as error:
        show = st.caption if small else st.error
        show(explained(error, words))
        if error.code == "authentication-required":
            st.session_state["key_wanted"] = True


def explained(error: ServiceError, words: Words) -> str:
    """What a refusal of the service means, in the user's language, and what to do."""
    parts = _sentences(error.code, error.message, error.hint, words)
    if error.retry_after_s:
        parts.append(words("service.after", seconds=round(error.retry_after_s)))
    return " ".join(plain(part) for part in parts if part)


def problem_text(problem: dict[str, Any], words: Words) -> str:
    """The same for the problem document of a job that failed."""
    parts = _sentences(
        str(problem.get("code", "")), str(problem.get("detail", "")), str(problem.get("hint", "")), words
    )
    return " ".join(plain(part) for part in parts if part)


def _sentences(code: str, message: str, hint: str, words: Words) -> list[str]:
    """Ours where the catalogue has the code; else the service's own, which name what is wrong."""
    if words.has(f"problem.{code}"):
        return [words(f"problem.{code}"), words(f"problem.{code}_remedy")]
    return [message, hint]


def plain(text: str) -> str:
    r"""Text as Markdown that shows it as it is: names of files are no markup.

    >>> plain("a*b_[c](d)")
    'a\\*b\\_\\[c\\]\\(d\\)'
    """
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]()<>#+-!|~$:" else sign for sign in text)


def guarded(page: Callable[[Words], None], words: Words) -> None:
    """Draw a page; what nobody foresaw becomes a sentence too, and goes to the log."""
    try:
        with told(words):
            page(words)
    except Exception:  # noqa: BLE001  # nobody gets a traceback
        _LOG.exception("a page met something unexpected")
        st.error(f"{words('problem.unexpected')} {words('problem.unexpected_remedy')}")
