"""A service in the test's own process, without a worker; and the phantom to send to it."""

import gzip
import io
import threading
import time
import zipfile

import pytest

pytest.importorskip("dbos", reason="needs the extra service")

import uvicorn
from starlette.testclient import TestClient

import awkward_engines
from end_to_end.cases import LESIONS, make_grid
from metseg.io.nifti import write_nifti
from metseg.service.api.app import create_app
from metseg.service.api.server import PromptProtocol
from metseg.service.runner_process import Bounds, Runners
from metseg.service.settings import Settings
from metseg.service.worker import Worker
from metseg.testing.phantoms import make_phantom

URL = "http://127.0.0.1:8000"


@pytest.fixture(scope="session")
def head(tmp_path_factory):
    """Bytes of a small head with two bright lesions, as .nii.gz."""
    path = tmp_path_factory.mktemp("head") / "head.nii.gz"
    write_nifti(path, make_phantom(make_grid(), LESIONS, noise=16).study.images["t1c"])
    return path.read_bytes()


@pytest.fixture
def other_head(head):
    """The same head, but for one voxel."""
    plain = bytearray(gzip.decompress(head))
    plain[-1] ^= 1
    return gzip.compress(bytes(plain), mtime=0)


@pytest.fixture
def zipped():
    def make(**members):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in members.items():
                archive.writestr(name.replace("__", "/"), content)
        return buffer.getvalue()

    return make


@pytest.fixture
def make_settings(tmp_path):
    def make(**more):
        given = {"data_dir": tmp_path / "data", "engine": "threshold", "start_worker": False, "free_bytes": 0}
        return Settings(**{**given, **more})

    return make


@pytest.fixture
def start(make_settings):
    """Starts services; ``start(auth="keys")`` gives a client whose ``app.state.service`` is what the routes have."""
    running = []

    def begin(*, peer="127.0.0.1", url=URL, **settings):
        client = TestClient(create_app(make_settings(**settings)), base_url=url, client=(peer, 50000))
        client.__enter__()
        running.append(client)
        return client

    yield begin
    for client in running:
        client.__exit__(None, None, None)


@pytest.fixture
def client(start):
    return start()


@pytest.fixture
def send(head):
    """Sends a head: ``send(client, "name.nii.gz", data={…}, headers={…})``; returns the response."""

    def post(client, *names, content=head, field="files", **more):
        files = [(field, (name, content)) for name in names or ("head.nii.gz",)]
        return client.post("/v1/studies", files=files, **more)

    return post


@pytest.fixture(scope="session")
def plugins(tmp_path_factory):
    """Awkward engines for the processes that start from now on; they leave notes in this folder."""
    folder = tmp_path_factory.mktemp("plugins")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in awkward_engines.install(folder).items():
            patch.setenv(name, value)
        yield folder


@pytest.fixture
def notes(plugins):
    """Where awkward engines leave notes and look for them; without those of earlier tests."""
    for name in ("crashed", "asleep", "awake"):
        (plugins / name).unlink(missing_ok=True)
    return plugins


@pytest.fixture(scope="session")
def runners(plugins):
    """A runner for all tests that do not end it, since starting one takes seconds."""
    made = Runners(1, Bounds(seconds=300, memory_bytes=2**33))
    yield made
    made.stop()


@pytest.fixture
def worker_of(runners, notes):
    """Makes the worker of a client's service."""
    return lambda client, of=runners: Worker(client.app.state.service.settings, client.app.state.service.engine, of)


@pytest.fixture
def listening():
    """Lets a client's service listen at a port, as ``metseg serve`` does; returns the address."""
    running = []

    def begin(client):
        served = uvicorn.Server(
            uvicorn.Config(client.app, http=PromptProtocol, port=0, log_level="error", lifespan="off")
        )
        thread = threading.Thread(target=served.run)
        thread.start()
        running.append((served, thread))
        while not served.started:
            time.sleep(0.02)
        return served.servers[0].sockets[0].getsockname()

    yield begin
    for served, thread in running:
        served.should_exit = True
        thread.join()


def done(worker, response):
    """Has the job of a response done, as the durable workflow does; returns its id."""
    job_id = response.json()["id"]
    worker.conclude(job_id, worker.segment(job_id))
    return job_id
