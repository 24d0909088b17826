"""What the app says, in the languages that it speaks: one TOML file each below ``words/``, all with the same keys."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

LANGUAGES: Final = ("en", "de", "es", "ko")


class Words:
    """The catalogue of one language; called with a key (``"new.title"``) and values for the text's braces.

    Args:
        language: out of ``LANGUAGES``.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = _texts(language)

    def __call__(self, key: str, **values: object) -> str:
        """The text of a key.

        Raises:
            KeyError: there is none.
        """
        text = self._texts[key]
        return text.format(**values) if values else text

    def has(self, key: str) -> bool:
        """Is there such a text?"""
        return key in self._texts

    def stage(self, what: str) -> str:
        """A stage of a job, as the service names it; unknown ones as they are."""
        key = f"stage.{what.replace(' ', '-')}"
        return self._texts.get(key, what)


@cache
def _texts(language: str) -> Mapping[str, str]:
    source = files("metseg.app").joinpath("words", f"{language}.toml").read_text(encoding="utf-8")
    return dict(_flat(tomllib.loads(source)))


def _flat(table: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in table.items():
        found += _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else [(f"{before}{name}", value)]
    return found
