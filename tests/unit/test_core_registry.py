from importlib.metadata import EntryPoint, EntryPoints

import pytest

from metseg.core import registry
from metseg.core.errors import ConfigError, InputError
from metseg.core.registry import Registry

ERRORS = Registry("error", "metseg.errors", {"input": "metseg.core.errors:InputError"})


@pytest.fixture
def foreign(monkeypatch):
    """A foreign package that offers two entries, one under a name of ours."""
    points = EntryPoints(
        [
            EntryPoint("config", "metseg.core.errors:ConfigError", "metseg.errors"),
            EntryPoint("input", "metseg.core.errors:ModelError", "metseg.errors"),
        ]
    )
    monkeypatch.setattr(registry, "entry_points", points.select)


def test_our_own_are_found_by_name():
    assert ERRORS.names() == ["input"]
    assert ERRORS.load("input") is InputError


@pytest.mark.usefixtures("foreign")
def test_foreign_ones_are_found_and_do_not_replace_ours():
    assert ERRORS.names() == ["config", "input"]
    assert ERRORS.load("config") is ConfigError
    assert ERRORS.load("input") is InputError


@pytest.mark.usefixtures("foreign")
def test_an_unknown_name_is_a_config_error_that_lists_the_known():
    with pytest.raises(ConfigError, match="no error called 'inptu'") as error:
        ERRORS.load("inptu")
    assert error.value.hint == "Known: config, input."
