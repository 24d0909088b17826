"""The client against the service, the command's flags, and the OpenAPI document."""

import io
import json
import runpy

import pytest
from typer.testing import CliRunner

from metseg.cli.main import app
from metseg.service.client import Client, ServiceError
from service.conftest import URL


@pytest.fixture
def through(client):
    """A client whose requests go to the service in this process."""
    with Client(URL, transport=client._transport) as made:
        yield made


def test_the_client_does_what_a_front_end_needs(through, client, head, worker_of, tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(head)
    job = through.submit([tmp_path / "a.nii.gz"], options={"min_volume_mm3": 5, "formats": ["nifti"]}, label="x")
    assert (job["label"], job["options"]["min_volume_mm3"]) == ("x", 5)
    named = through.submit({"t1c": ("b.nii.gz", io.BytesIO(head))}, idempotency_key="k")
    assert through.submit({"t1c": ("b.nii.gz", head)}, idempotency_key="k")["id"] == named["id"]
    page = through.jobs(limit=1)
    assert [page["studies"][0]["id"], through.jobs(page=page["next"])["studies"][0]["id"]] == [named["id"], job["id"]]
    assert through.cancel(named["id"])["state"] == "cancelled"
    worker = worker_of(client)
    worker.conclude(job["id"], worker.segment(job["id"]))
    events = list(through.events(job["id"]))
    assert [event.data["state"] for event in events if event.kind == "state"] == ["queued", "running", "succeeded"]
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert [event.number for event in through.events(job["id"], after=len(events) - 2)] == [
        len(events) - 1,
        len(events),
    ]
    names = {file["name"] for file in through.files(job["id"])["files"]}
    assert {"segmentation.nii.gz", "lesions.json", "probability.nii.gz", "run.json"} == names - {"lesions.nii.gz"}
    assert json.loads(through.read(job["id"], "run.json"))["case"] == "study"
    assert through.archive(job["id"])[:4] == b"PK\x03\x04"
    assert len(through.volumes(job["id"])) == 4
    assert through.about()["caller"] == "local"
    assert through.models()["models"] == []
    through.erase(job["id"])
    with pytest.raises(ServiceError) as told:
        through.job(job["id"])
    assert (told.value.code, told.value.status) == ("job-erased", 410)
    assert told.value.hint


def test_a_service_that_is_not_there_is_a_sentence():
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(ServiceError, match="cannot be reached") as told:
        nobody.about()
    assert told.value.code == "unreachable"
    assert "metseg serve" in told.value.hint


def test_every_path_is_described_with_its_problems(client):
    document = client.get("/openapi.json").json()
    assert {"/v1/studies", "/v1/studies/{job_id}/events", "/dicom-web/studies", "/readyz"} <= set(document["paths"])
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation["responses"]["default"]["content"]
            assert "application/problem+json" in content, (method, path)
    body = document["paths"]["/v1/studies"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert {"files", "t1c", "operating_point", "label"} <= set(body["properties"])
    example = document["paths"]["/v1/studies"]["post"]["responses"]["202"]["content"]["application/json"]["example"]
    assert example["state"] == "queued"
    assert "ProblemDocument" in document["components"]["schemas"]


def run(*arguments):
    return CliRunner().invoke(app, ["serve", *map(str, arguments)])


def test_keys_are_made_listed_and_revoked_by_command(tmp_path):
    data = ("--data-dir", tmp_path)
    made = run("keys", "add", "anna", "--scopes", "read,all", "--rate", "60", *data)
    assert made.exit_code == 0, made.output
    assert made.stdout.startswith("metseg_")
    assert run("keys", "list", *data).stdout == "anna: read, all\n"
    (key,) = json.loads(run("keys", "list", "--json", *data).stdout)["keys"]
    assert (key["name"], key["rate_per_minute"], key["revoked"]) == ("anna", 60, None)
    assert run("keys", "add", "anna", *data).exit_code == 2
    assert run("keys", "revoke", "anna", *data).exit_code == 0
    assert run("keys", "list", *data).stdout == "anna: revoked\n"
    assert run("keys", "revoke", "anna", *data).exit_code == 2


def test_serve_refuses_to_be_open_to_all(tmp_path):
    refused = run("--host", "0.0.0.0", "--data-dir", tmp_path)  # noqa: S104
    assert refused.exit_code == 2
    assert "METSEG_AUTH=keys" in refused.output
    refused = run("--host", "0.0.0.0", "--auth", "keys", "--data-dir", tmp_path)  # noqa: S104
    assert refused.exit_code == 2
    assert "metseg serve keys add" in refused.output


def test_uvicorn_finds_the_app_in_a_checkout(root, tmp_path, monkeypatch):
    monkeypatch.setenv("METSEG_DATA_DIR", str(tmp_path / "data"))
    made = runpy.run_path(str(root / "app" / "main.py"))["app"]
    assert made.title == "metseg"
    assert not (tmp_path / "data").exists()  # nothing is made before it starts
