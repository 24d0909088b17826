"""What tests of hostile zips share."""

import tempfile

import pytest


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A temporary folder of its own, which must be empty again in the end."""
    folder = tmp_path / "room"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []
