"""A scan on disk and the numpy engine."""

from pathlib import Path

import pytest

from end_to_end.cases import LESIONS, make_grid
from metseg.engines.registry import load_engine
from metseg.io.nifti import write_nifti
from metseg.testing.phantoms import make_phantom
from public_sets import Replica


@pytest.fixture(scope="session")
def phantom():
    return make_phantom(make_grid(), LESIONS, noise=16)


@pytest.fixture
def scan(tmp_path, phantom) -> Path:
    path = tmp_path / "in" / "Köpfe 1.nii.gz"
    path.parent.mkdir()
    write_nifti(path, phantom.study.images["t1c"])
    return path


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "aus gabe"


@pytest.fixture
def engine():
    return load_engine("threshold")


@pytest.fixture
def replica(tmp_path) -> Replica:
    """An empty folder for a miniature of a public data set."""
    (tmp_path / "src").mkdir()
    return Replica(tmp_path / "src")


@pytest.fixture
def dst(tmp_path) -> Path:
    return tmp_path / "Dataset500_Test"
