"""Jobs over HTTP: accepted, listed, cancelled, erased; every refusal is a problem document."""

import hashlib
import json

import pytest

from metseg.service.problems import CODES, MEDIA_TYPE


def refused(response, code):
    """The problem document, once it is sure that it is one."""
    document = response.json()
    assert response.headers["content-type"] == MEDIA_TYPE, document
    assert (document["code"], document["status"]) == (code, response.status_code), document
    assert response.status_code == CODES[code][0]
    assert document["type"] == f"urn:metseg:problem:{code}"
    assert document["detail"].endswith(".")
    return document


def files_below(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_study_is_accepted_kept_and_found_again(client, send, head):
    response = send(client, "Anna Müller.nii.gz", data={"operating_point": "0.25", "label": "first visit"})
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == f"/v1/studies/{job['id']}" == job["links"]["self"]
    assert (job["state"], job["label"], job["owner"]) == ("queued", "first visit", "local")
    sha256 = hashlib.sha256(head).hexdigest()
    assert job["files"] == [{"name": "Anna Müller.nii.gz", "field": "files", "bytes": len(head), "sha256": sha256}]
    assert job["options"]["operating_point"] == 0.25
    assert client.get(response.headers["location"]).json() == job
    vault = client.app.state.service.vault
    (kept,) = files_below(vault.input(job["id"]))
    assert kept.read_bytes() == head
    assert [path for path in vault.root.rglob("*") if "Anna" in path.name] == []


def test_equal_contents_are_stored_once_until_the_last_job_is_erased(client, send):
    ids = [send(client, name).json()["id"] for name in ("a.nii.gz", "b.nii.gz")]
    vault = client.app.state.service.vault
    inputs = [files_below(vault.input(job))[0] for job in ids]
    assert inputs[0].stat().st_ino == inputs[1].stat().st_ino
    assert client.delete(f"/v1/studies/{ids[0]}").status_code == 204
    assert len(files_below(vault.root / "contents")) == 1
    assert inputs[1].exists()
    client.delete(f"/v1/studies/{ids[1]}")
    assert files_below(vault.root / "contents") + files_below(vault.root / "jobs") == []


def test_the_list_is_paged_newest_first_and_misses_none(client, send):
    ids = [send(client).json()["id"] for _ in range(5)]
    client.post(f"/v1/studies/{ids[1]}/cancel")
    seen, link = [], "/v1/studies?limit=2"
    while link:
        page = client.get(link).json()
        seen += [job["id"] for job in page["studies"]]
        link = page["next"]
    assert seen == ids[::-1]
    only = client.get("/v1/studies", params={"state": ["cancelled", "failed"]}).json()
    assert [job["id"] for job in only["studies"]] == [ids[1]]


def test_cancelling_ends_a_job_once(client, send):
    link = send(client).headers["location"]
    assert client.post(f"{link}/cancel").json()["state"] == "cancelled"
    refused(client.post(f"{link}/cancel"), "already-finished")
    text = client.get(f"{link}/events").text
    states = [json.loads(line[6:]).get("state") for line in text.splitlines() if line.startswith("data: ")]
    assert states == ["queued", "cancelled"]
    resumed = client.get(f"{link}/events", headers={"Last-Event-ID": "1"}).text
    assert "id: 2\nevent: state\n" in resumed
    assert "id: 1\n" not in resumed


def test_an_erased_job_leaves_no_name_no_file_and_no_event(client, send):
    link = send(client, "Anna Müller.nii.gz").headers["location"]
    assert client.delete(link).status_code == 204
    refused(client.get(link), "job-erased")
    refused(client.delete(link), "job-erased")
    service = client.app.state.service
    job = service.jobs.get(link.rpartition("/")[2])
    assert (job.state, job.label, job.files, job.content_sha256) == ("cancelled", "", [], "")
    assert service.jobs.events(job.id, 0) == []
    audit = [(entry.who, entry.what, entry.job_id) for entry in service.audit.entries()]
    assert audit == [("local", "accepted", job.id), ("local", "erased", job.id)]
    assert "Anna" not in str(list(service.audit.entries()))


def test_the_same_idempotency_key_means_the_same_job(client, send, other_head):
    key = {"Idempotency-Key": "0b0c3e0e-1"}
    first, second = send(client, headers=key), send(client, headers=key)
    assert second.status_code == 202
    assert first.json() == second.json()
    assert len(client.get("/v1/studies").json()["studies"]) == 1
    refused(send(client, content=other_head, headers=key), "idempotency-key-reused")
    refused(send(client, data={"mode": "fast"}, headers=key), "idempotency-key-reused")
    refused(send(client, headers={"Idempotency-Key": "with a space"}), "malformed-request")
    vault = client.app.state.service.vault
    assert len(files_below(vault.root / "jobs")) == 1
    assert len(files_below(vault.root / "contents")) == 1


def test_sequences_may_be_named(client, head):
    files = [("t1c", ("a.nii.gz", head)), ("t2f", ("b.nii.gz", head))]
    job = client.post("/v1/studies", files=files).json()
    assert [file["field"] for file in job["files"]] == ["t1c", "t2f"]
    mixed = client.post("/v1/studies", files=[*files, ("files", ("c.nii.gz", head))])
    assert "some without" in refused(mixed, "input-refused")["detail"]


def test_numbered_files_are_one_study_whatever_their_names(client, send):
    assert send(client, "x_t1c_0000.nii.gz", "x_flair_0001.nii.gz").status_code == 202


@pytest.mark.parametrize("job", ["0" * 32, "no-id", "..", "%2e%2e%2f", "a" * 3000, "\0"])
def test_an_unknown_job_is_a_problem(client, job):
    from urllib.parse import quote

    response = client.get(f"/v1/studies/{quote(job, safe='%')}")
    assert response.json()["code"] in {"job-unknown", "not-found"}


def test_results_are_refused_until_they_are_whole(client, send):
    link = send(client).headers["location"]
    for name in ("files", "archive", "volumes", "files/run.json"):
        refused(client.get(f"{link}/{name}"), "not-finished")


def test_about_the_service(client):
    assert client.get("/healthz").json() == {"status": "alive", "workers": None}
    assert refused(client.get("/readyz"), "not-ready")["detail"] == "No worker is running."
    about = client.get("/v1/service").json()
    assert about["caller"] == "local"
    assert "operating_point" in about["options"]
    assert client.get("/v1/models").json() == {"models": [], "default": {}}
    refused(client.get("/nowhere"), "not-found")
    refused(client.put("/v1/studies"), "method-not-allowed")
    text = client.get("/metrics").text
    assert 'metseg_requests_total{method="GET",route="/v1/service",status="200"} 1.0' in text
    assert 'metseg_jobs{state="queued"} 0.0' in text


def test_models_are_told_with_their_operating_points(start):
    models = start(engine="openvino").get("/v1/models").json()
    names = {model["name"] for model in models["models"]}
    assert set(models["default"].values()) <= names
    (t1c,) = (model for model in models["models"] if model["name"] == models["default"]["MR"])
    points = {point["name"]: point for point in t1c["operating_points"]}
    assert t1c["default_operating_point"] in points
    assert points["sensitive"]["sensitivity"] > points["specific"]["sensitivity"] > 0
