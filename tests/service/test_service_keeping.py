"""What is kept and for how long: housekeeping, SQLite and PostgreSQL alike; and how jobs come by DICOM."""

import io
import time

import pydicom
import pytest
import sqlalchemy as sa

from hostile.make_dicom import save, slices
from metseg.service.housekeeping import Housekeeper
from metseg.service.tables import JOBS
from service.conftest import done
from service.postgres import postgres
from service.test_service_jobs import files_below, refused

DAY = 86400


@pytest.fixture(scope="module", params=["SQLite", "PostgreSQL"])
def database_url(request):
    if request.param == "SQLite":
        yield ""
    else:
        with postgres() as url:
            yield url


def housekeeper_of(client):
    service = client.app.state.service
    return Housekeeper(service.settings, service.engine, service.enqueuer)


def test_jobs_are_kept_alike_in_both_databases(database_url, start, send, other_head, worker_of):
    client = start(database_url=database_url)
    key = {"Idempotency-Key": "k"}
    first = send(client, headers=key)
    assert send(client, headers=key).json()["id"] == first.json()["id"]
    refused(send(client, content=other_head, headers=key), "idempotency-key-reused")
    ids = [first.json()["id"], *(send(client).json()["id"] for _ in range(2))]
    done(worker_of(client), first)
    assert client.post(f"/v1/studies/{ids[1]}/cancel").status_code == 200
    page = client.get("/v1/studies?limit=2").json()
    assert [job["state"] for job in page["studies"]] == ["queued", "cancelled"]
    assert [job["state"] for job in client.get(page["next"]).json()["studies"]] == ["succeeded"]
    numbers = [event.number for event in client.app.state.service.jobs.events(ids[0], 0)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert client.delete(f"/v1/studies/{ids[0]}").status_code == 204
    refused(client.get(f"/v1/studies/{ids[0]}"), "job-erased")
    assert [entry.what for entry in client.app.state.service.audit.entries()][-3:] == [
        "succeeded",
        "cancelled",
        "erased",
    ]
    keys = client.app.state.service.keys
    assert keys.caller(keys.add("anna")).name == "anna"
    housekeeper = housekeeper_of(client)
    housekeeper.beat()
    housekeeper.beat()
    assert client.get("/readyz").json() == {"status": "ready", "workers": 1}


def test_an_accepted_job_that_was_never_queued_is_queued(client, send, monkeypatch):
    service = client.app.state.service
    with monkeypatch.context() as patch:
        patch.setattr(service.enqueuer, "enqueue", lambda _: 1 / 0)
        job_id = send(client).json()["id"]
    assert service.enqueuer.missing([job_id]) == [job_id]
    set_times(service, job_id, created=time.time() - 60)
    housekeeper_of(client).find_forgotten()
    assert service.enqueuer.missing([job_id]) == []


def test_a_job_that_the_engine_gave_up_is_set_aside(client, send):
    service = client.app.state.service
    job_id = send(client).json()["id"]
    set_times(service, job_id, created=time.time() - 60)
    service.enqueuer._client.cancel_workflow(job_id)
    housekeeper_of(client).find_forgotten()
    job = client.get(f"/v1/studies/{job_id}").json()
    assert (job["state"], job["problem"]["code"]) == ("failed", "set-aside")


def test_what_is_over_is_erased_in_time_and_nothing_else(start, send):
    client = start(retention_days=3)
    service = client.app.state.service
    old, new, waiting = (send(client).json()["id"] for _ in range(3))
    for job_id, days in ((old, 3.1), (new, 2.9)):
        client.post(f"/v1/studies/{job_id}/cancel")
        set_times(service, job_id, finished=time.time() - days * DAY)
    housekeeper_of(client).tidy()
    assert client.get(f"/v1/studies/{old}").status_code == 410
    assert client.get(f"/v1/studies/{new}").json()["state"] == "cancelled"
    assert client.get(f"/v1/studies/{waiting}").json()["state"] == "queued"
    assert {path.parts[-3] for path in files_below(service.vault.root / "jobs")} == {new, waiting}


def test_leftovers_of_a_killed_api_are_swept(client, send):
    service = client.app.state.service
    kept = send(client).json()["id"]
    upload = service.vault.new_upload()
    (upload / "half").write_bytes(b"1")
    service.vault.adopt(upload, "f" * 32, {upload / "half": "ab" * 32})
    service.vault.new_upload()
    service.vault.sweep(older_than_s=3600)
    assert len(list((service.vault.root / "incoming").iterdir())) == 1
    assert service.vault.jobs(older_than_s=-1) != []
    service.vault.erase("f" * 32, ())
    service.vault.sweep(older_than_s=-1)
    assert list((service.vault.root / "incoming").iterdir()) == []
    (left,) = files_below(service.vault.root / "contents")
    assert left.samefile(files_below(service.vault.input(kept))[0])


def set_times(service, job_id, **times):
    with service.engine.begin() as connection:
        connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(**times))


def stow(client, *parts, path="/dicom-web/studies", kind="application/dicom"):
    body = (
        b"".join(b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts)
        + b"--cut--\r\n"
    )
    return client.post(path, content=body, headers={"Content-Type": f'multipart/related; type="{kind}"; boundary=cut'})


@pytest.fixture(scope="module")
def instances(tmp_path_factory):
    return [path.read_bytes() for path in save(tmp_path_factory.mktemp("series"), slices())]


def test_stow_stores_a_study_and_queues_it(client, instances, worker_of):
    response = stow(client, *instances)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/dicom+json"
    uids = [item["00081155"]["Value"][0] for item in response.json()["00081199"]["Value"]]
    assert len(set(uids)) == len(instances)
    job = client.get(response.headers["location"]).json()
    assert len(job["files"]) == len(instances)
    assert "Doe" not in str(job)
    worker = worker_of(client)
    worker.conclude(job["id"], worker.segment(job["id"]))
    job = client.get(response.headers["location"]).json()
    assert job["state"] == "succeeded", job["problem"]
    image = client.get(job["links"]["volumes"]).json()["volumes"][0]
    assert image["sequence"] == "t1c"


def test_stow_says_which_instances_it_did_not_take(client, instances, tmp_path):
    mixed = stow(client, instances[0], b"no DICOM at all", instances[1])
    assert mixed.status_code == 202
    assert mixed.json()["00081198"]["Value"] == [{"00081197": {"vr": "US", "Value": [0xC000]}}]
    assert len(mixed.json()["00081199"]["Value"]) == 2
    none = stow(client, *instances, path="/dicom-web/studies/9.9.9")
    assert none.status_code == 409
    assert len(none.json()["00081198"]["Value"]) == len(instances)
    (other,) = (path.read_bytes() for path in save(tmp_path, slices(study="4.5.6")[:1]))
    refused(stow(client, instances[0], other), "several-studies")
    refused(stow(client), "input-refused")
    refused(client.post("/dicom-web/studies", files=[("files", ("a", instances[0]))]), "media-type-refused")


def test_stow_from_another_hand(client, listening, instances):
    peer = pytest.importorskip("dicomweb_client", reason="needs dicomweb-client")
    host, port = listening(client)
    sent = [pydicom.dcmread(io.BytesIO(content)) for content in instances[:4]]
    answer = peer.DICOMwebClient(f"http://{host}:{port}/dicom-web").store_instances(sent)
    stored = [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence]
    assert stored == [each.SOPInstanceUID for each in sent]
    (job,) = client.get("/v1/studies").json()["studies"]
    assert len(job["files"]) == 4
