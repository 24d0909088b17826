"""kill -9 of every process at awkward moments: every accepted study ends once, right, and none is doubled."""

import hashlib
import os
import time
from contextlib import ExitStack

import pytest

from end_to_end.cases import QUICK
from metseg.engines.registry import load_engine
from metseg.io.discover import find_sources
from metseg.pipeline.case import run_case
from metseg.service.client import Client
from service.postgres import postgres
from service_under_fire import Fire, Served, different, ends_of, send_all, watch_until_ended

CASES = {"SQLite": (8, ("worker", "API", "runner", "supervisor", "worker")), "PostgreSQL": (4, ("worker", "API"))}


@pytest.fixture(params=CASES)
def served(request, tmp_path, plugins):
    """A service with each database, ready; and its number of studies and kills."""
    with ExitStack() as stack:
        url = stack.enter_context(postgres()) if request.param == "PostgreSQL" else ""
        folder = {"METSEG_DATA_DIR": str(tmp_path / "data"), "METSEG_DATABASE_URL": url}
        service = Served({**folder, "METSEG_ENGINE": "threshold", "METSEG_FREE_BYTES": "0"})
        service.start()
        stack.callback(service.stop)
        service.wait_ready()
        yield service, *CASES[request.param]


def masks_of(content, folder):
    folder.mkdir(parents=True)
    (folder / "study.nii.gz").write_bytes(content)
    (case,) = find_sources([folder / "study.nii.gz"])
    run_case(case, folder / "out", load_engine("threshold"), QUICK)
    return hashlib.sha256((folder / "out" / "study" / "lesions.nii.gz").read_bytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc"), reason="finds processes in /proc")  # noqa: PTH112
def test_every_accepted_study_ends_once_and_right_whatever_is_killed(served, head, tmp_path):
    service, count, kills = served
    fire, studies = Fire(), [different(head, number) for number in range(count)]
    senders = send_all(service, studies, 3, fire)
    for role in kills:
        time.sleep(1.2)
        assert service.kill(role)
    for sender in senders:
        sender.join()
    jobs = watch_until_ended(service, count, fire, 120)
    assert fire.refused == []
    assert sorted(job["id"] for job in jobs) == sorted(fire.jobs.values())  # none lost, none doubled
    with Client(service.url) as client:
        for number, job_id in fire.jobs.items():
            assert ends_of(client, job_id) == ["succeeded"]
            made = hashlib.sha256(client.read(job_id, "lesions.nii.gz")).hexdigest()
            assert made == masks_of(studies[int(number)], tmp_path / "expected" / number)
