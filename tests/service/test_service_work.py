"""Jobs that are done: right results, readable problems, and bounds that hold, with real runner processes."""

import io
import threading
import zipfile

import numpy as np
import pytest

from end_to_end.cases import QUICK, hashes
from metseg.engines.registry import load_engine
from metseg.io.discover import find_sources
from metseg.io.nifti import read_nifti
from metseg.pipeline.case import run_case
from metseg.service.runner_process import Bounds, Runners
from service.conftest import done
from service_under_fire import until

MASKS = ("segmentation.nii.gz", "lesions.nii.gz", "lesions.json")


@pytest.fixture(scope="session")
def expected(head, tmp_path_factory):
    """Hashes of what ``metseg segment`` makes of the head."""
    folder = tmp_path_factory.mktemp("expected")
    (folder / "study.nii.gz").write_bytes(head)
    (case,) = find_sources([folder / "study.nii.gz"])
    run_case(case, folder / "out", load_engine("threshold"), QUICK)
    return {name: value for name, value in hashes(folder / "out" / "study").items() if name in MASKS}


def state_of(client, job_id):
    return client.get(f"/v1/studies/{job_id}").json()


def test_a_result_is_that_of_the_command_line_and_comes_as_files_zip_and_volumes(
    client, send, worker_of, head, expected, tmp_path
):
    worker = worker_of(client)
    job_id = done(worker, send(client, "<script>alert(1)</script>.nii.gz"))
    job = state_of(client, job_id)
    assert (job["state"], job["progress"], job["summary"]["lesions"]) == ("succeeded", 1.0, 2)
    files = {file["name"]: file for file in client.get(job["links"]["files"]).json()["files"]}
    assert {name: files[name]["sha256"] for name in MASKS} == expected
    whole = {name: client.get(file["href"]).content for name, file in files.items()}
    assert {name: len(content) for name, content in whole.items()} == {n: f["bytes"] for n, f in files.items()}
    with zipfile.ZipFile(io.BytesIO(client.get(job["links"]["archive"]).content)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == whole
    assert client.get(f"/v1/studies/{job_id}/files/..%2Finput").json()["code"] in {"file-unknown", "not-found"}
    assert client.get(f"/v1/studies/{job_id}/files/other.json").json()["code"] == "file-unknown"
    volumes = {each["role"]: each for each in client.get(job["links"]["volumes"]).json()["volumes"]}
    assert volumes["image"]["sequence"] == "t1c"
    (tmp_path / "sent.nii.gz").write_bytes(head)
    (tmp_path / "shown.nii.gz").write_bytes(client.get(volumes["image"]["href"]).content)
    sent, shown = (read_nifti(tmp_path / f"{name}.nii.gz")[0] for name in ("sent", "shown"))
    assert shown.grid.matches(sent.grid)
    assert np.array_equal(shown.array, sent.array)
    report = client.get(f"/v1/studies/{job_id}/files/report.html")
    assert report.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "alert(1)" not in report.text
    # What is done twice, as after a crash, is found and not made again.
    before = hashes(client.app.state.service.vault.result(job_id))
    assert worker.segment(job_id) == {}
    assert hashes(client.app.state.service.vault.result(job_id)) == before


def test_bad_images_fail_with_the_words_of_the_intake_and_the_runner_lives_on(client, send, worker_of, head):
    worker = worker_of(client)
    broken = {"cut.nii.gz": head[: len(head) // 2], "text.nii": b"no image at all", "empty.nii.gz": b""}
    for name, content in broken.items():
        job = state_of(client, done(worker, send(client, name, content=content)))
        assert (job["state"], job["problem"]["code"], job["problem"]["status"]) == ("failed", "input-refused", 422)
        assert job["problem"]["detail"].endswith(".")
        assert str(client.app.state.service.vault.root) not in str(job["problem"])
    point = state_of(client, done(worker, send(client, data={"operating_point": "nowhere"})))
    assert point["problem"]["code"] == "option-wrong"
    assert state_of(client, done(worker, send(client)))["state"] == "succeeded"


def test_a_job_that_crashes_its_process_twice_is_set_aside_with_the_reason(start, send, worker_of):
    client = start(engine="crashing")
    job = state_of(client, done(worker_of(client), send(client)))
    assert (job["state"], job["problem"]["code"]) == ("failed", "worker-crashed")
    assert "2 times" in job["problem"]["detail"]
    assert "signal 9" in job["problem"]["detail"]


def test_a_job_that_crashes_its_process_once_is_done_the_second_time(start, send, worker_of, expected):
    client = start(engine="crashing_once")
    job_id = done(worker_of(client), send(client))
    assert state_of(client, job_id)["state"] == "succeeded"
    assert client.app.state.service.jobs.get(job_id).crashes == 1
    made = hashes(client.app.state.service.vault.result(job_id))
    assert {name: made[name] for name in ("segmentation.nii.gz", "lesions.nii.gz")} == {
        name: expected[name] for name in ("segmentation.nii.gz", "lesions.nii.gz")
    }


@pytest.mark.parametrize(
    ("engine", "bounds", "code"),
    [
        ("hungry", Bounds(seconds=300, memory_bytes=700 * 2**20), "memory-limit"),
        ("sleepy", Bounds(seconds=1, memory_bytes=2**33), "time-limit"),
    ],
)
def test_memory_and_time_are_bounded(engine, bounds, code, start, send, worker_of):
    client, runners = start(engine=engine), Runners(1, bounds)
    problem = state_of(client, done(worker_of(client, runners), send(client)))["problem"]
    runners.stop()
    assert problem["code"] == code
    assert ("700 MiB" if code == "memory-limit" else "longer than 1 s") in problem["detail"]


@pytest.mark.parametrize("how", ["cancel", "erase"])
def test_a_running_job_is_stopped(how, start, send, worker_of, notes):
    client = start(engine="sleepy")
    worker, response = worker_of(client), send(client)
    job_id = response.json()["id"]
    thread = threading.Thread(target=done, args=(worker, response))
    thread.start()
    until((notes / "asleep").exists)
    answer = client.post(f"/v1/studies/{job_id}/cancel") if how == "cancel" else client.delete(f"/v1/studies/{job_id}")
    assert answer.status_code == (200 if how == "cancel" else 204)
    thread.join(30)
    assert not thread.is_alive()
    service = client.app.state.service
    assert service.jobs.get(job_id).state == "cancelled"
    left = list((service.vault.root / "jobs").iterdir())
    assert bool(left) == (how == "cancel")
    assert not service.vault.result(job_id).exists()
