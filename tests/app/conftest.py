"""A service in processes of its own, and a head to send to it."""

import sys

import pytest

pytest.importorskip("streamlit", reason="needs the extra app")
pytest.importorskip("dbos", reason="needs the extra service")

from end_to_end.cases import LESIONS, make_grid
from metseg.io.nifti import write_nifti
from metseg.testing.phantoms import make_phantom
from service_under_fire import Served


@pytest.fixture(scope="session")
def head_file(tmp_path_factory):
    """A small head with two bright lesions."""
    path = tmp_path_factory.mktemp("head") / "head.nii.gz"
    write_nifti(path, make_phantom(make_grid(), LESIONS, noise=16).study.images["t1c"])
    return path


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    """A service with the engine ``threshold``."""
    folder = tmp_path_factory.mktemp("service") / "data"
    served = Served({"METSEG_DATA_DIR": str(folder), "METSEG_ENGINE": "threshold", "METSEG_FREE_BYTES": "0"})
    served.start()
    served.wait_ready()
    yield served
    served.stop()


@pytest.fixture(autouse=True)
def _own_main(monkeypatch):
    """Streamlit makes the script it tests the ``__main__`` of this process, which processes begun later would run."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
