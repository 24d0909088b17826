import json

import pytest

from metseg.core import extras
from metseg.core.errors import MissingExtraError


def test_what_is_there_is_imported():
    assert extras.require("json", "train") is json


def test_what_is_missing_is_named_with_the_command_that_installs_it():
    with pytest.raises(MissingExtraError, match="needs a_module_that_is_not") as error:
        extras.require("a_module_that_is_not.inside", "train")
    assert error.value.hint == "Install it with: pip install 'metseg[train]'"


def test_a_module_that_breaks_inside_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "broken_inside.py").write_text("import another_that_is_not\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="another_that_is_not"):
        extras.require("broken_inside", "train")


def test_extras_are_those_that_the_package_declares(monkeypatch):
    declared = ['torch; extra == "train"', "pytest; extra == 'dev'", "numpy>=2"]
    monkeypatch.setattr(extras, "requires", lambda _: declared)
    monkeypatch.setattr(extras, "find_spec", lambda probe: object() if probe == "pytest" else None)
    assert extras.installed_extras() == {"train": False, "dev": True}


def test_versions_of_what_is_installed():
    assert extras.installed_version("metseg") == extras.version("metseg")
    assert extras.installed_version("a-distribution-that-is-not") is None
