"""The catalogue: every language says everything, and the pages ask for nothing that it lacks."""

import re
import string
import tomllib

import pytest

from metseg.app.words import LANGUAGES, Words

CALL = re.compile(r'words\(\s*"([a-z_.\-]+)"')
FAMILY = re.compile(r'words\(\s*f"([a-z_.]+)\{')


def texts_of(root, language):
    path = root / "src" / "metseg" / "app" / "words" / f"{language}.toml"
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        f"{table}.{key}" if isinstance(values, dict) else table: text
        for table, values in tables.items()
        for key, text in (values.items() if isinstance(values, dict) else [("", values)])
    }


def values_in(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_every_language_has_every_text_with_the_same_values(root, language):
    english, other = texts_of(root, "en"), texts_of(root, language)
    assert set(other) == set(english)
    assert [key for key, text in other.items() if not text.strip()] == []
    assert {key: values_in(text) for key, text in other.items()} == {key: values_in(t) for key, t in english.items()}


def test_the_pages_ask_for_texts_that_are_there(root):
    sources = [path.read_text(encoding="utf-8") for path in (root / "src" / "metseg" / "app").rglob("*.py")]
    english = texts_of(root, "en")
    asked = {key for source in sources for key in CALL.findall(source)}
    families = {key for source in sources for key in FAMILY.findall(source)}
    assert len(asked) > 60
    assert asked - set(english) == set()
    assert [family for family in families if not any(key.startswith(family) for key in english)] == []


def test_every_problem_has_a_remedy(root):
    english = texts_of(root, "en")
    problems = {key for key in english if key.startswith("problem.") and not key.endswith(("_remedy", "details"))}
    assert problems
    assert {f"{key}_remedy" for key in problems} <= set(english)


def test_a_stage_that_nobody_foresaw_is_shown_as_it_is():
    assert Words("de").stage("writing the result") == "schreibt das Ergebnis"
    assert Words("de").stage("dreaming") == "dreaming"
