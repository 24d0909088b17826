"""Uploads that must not pass: too large, too slow, cut off, encoded, of the wrong kind, without a study."""

import asyncio
import gzip
import shutil
from pathlib import Path

import pytest

from hostile.make_zip import _encrypted
from metseg.service.problems import Problem
from metseg.service.upload import Caps, Receiver, receive
from service.test_service_jobs import files_below, refused

LAX = Caps(bytes=2**20, files=10, stall_seconds=30, bytes_per_second=0)


def nothing_left(client):
    service = client.app.state.service
    return files_below(service.vault.root / "jobs") == [] and not list((service.vault.root / "incoming").iterdir())


def test_wrong_uploads_are_refused_in_words_and_leave_nothing(client, send, head, zipped):
    cases = [
        ({"letter.docx": b"Dear"}, "input-refused"),
        ({"empty.zip": zipped()}, "input-refused"),
        ({"locked.zip": _encrypted()}, "input-refused"),
        ({"broken.zip": zipped(**{"a.nii.gz": head})[:-30]}, "input-refused"),
        ({"two.zip": zipped(**{"a.nii.gz": head, "b.nii.gz": head})}, "several-studies"),
        ({"a.nii.gz": head, "b.nii.gz": head}, "several-studies"),
        ({"a_0001.nii.gz": head}, "input-refused"),
        ({"a.mhd": b"NDims = 3", "a.raw": b"\0" * 99}, "input-refused"),
    ]
    for files, code in cases:
        response = client.post("/v1/studies", files=[("files", item) for item in files.items()])
        document = refused(response, code)
        assert document["hint"], document
        assert not set(document["detail"].split()) & set(files), "names of files are the caller's business"
        assert nothing_left(client), code
    assert client.app.state.service.jobs.page(10) == []


def test_options_are_checked_before_anything_is_kept(client, send):
    for data in (
        {"modle": "x"},
        {"model": "../../etc"},
        {"min_volume_mm3": "-1"},
        {"identify": "perhaps"},
        {"formats": "x"},
    ):
        assert refused(send(client, data=data), "option-wrong")["hint"]
    assert nothing_left(client)


def test_an_upload_without_files_or_of_another_kind_is_refused(client, head):
    refused(client.post("/v1/studies", data={"mode": "fast"}), "media-type-refused")
    refused(client.post("/v1/studies", files=[("mode", (None, "fast"))]), "input-refused")
    refused(
        client.post("/v1/studies", content=head, headers={"Content-Type": "application/gzip"}), "media-type-refused"
    )
    refused(client.post("/v1/studies", files=[("image", ("a.nii.gz", head))]), "malformed-request")
    wrong = {"Content-Type": "multipart/form-data; boundary=x"}
    refused(client.post("/v1/studies", content=b"no boundary here", headers=wrong), "malformed-request")
    packed = {"Content-Encoding": "gzip", **wrong}
    refused(client.post("/v1/studies", content=gzip.compress(b"--x--"), headers=packed), "encoding-refused")
    assert nothing_left(client)


def test_caps_hold_by_the_announced_size_and_by_what_comes(start, send, head):
    client = start(upload_bytes=len(head) // 2)
    refused(send(client), "body-too-large")
    boundary = {"Content-Type": "multipart/form-data; boundary=x"}
    pieces = iter(
        [b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.nii"\r\n\r\n', head, b"\r\n--x--\r\n"]
    )
    refused(client.post("/v1/studies", content=pieces, headers=boundary), "body-too-large")
    assert nothing_left(client)
    refused(send(start(upload_files=2), "1.dcm", "2.dcm", "3.dcm"), "too-many-files")


def test_a_full_disk_is_told_before_the_upload(start, send, tmp_path):
    client = start(free_bytes=shutil.disk_usage(tmp_path).free + 2**30)
    refused(send(client), "disk-full")
    refused(client.get("/readyz"), "disk-full")


def test_too_many_jobs_are_refused_for_now(start, send):
    client = start(queue_limit=2)
    ids = [send(client).json()["id"] for _ in range(2)]
    response = send(client)
    refused(response, "queue-full")
    assert int(response.headers["retry-after"]) > 0
    client.post(f"/v1/studies/{ids[0]}/cancel")
    assert send(client).status_code == 202


def received(folder: Path, caps: Caps, *chunks, pause=0.0):
    async def body():
        for chunk in chunks:
            yield chunk
            await asyncio.sleep(pause)

    receiver = Receiver(b"x", folder, lambda _, name: Path(name), caps)
    return asyncio.run(receive(body(), receiver, caps))


HEAD = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'


def test_a_body_that_halts_or_ends_early_is_no_upload(tmp_path):
    with pytest.raises(Problem) as told:
        received(tmp_path, LAX, HEAD, b"abc")
    assert told.value.code == "upload-incomplete"
    (tmp_path / "a").unlink()
    hasty = Caps(bytes=2**20, files=10, stall_seconds=0.05, bytes_per_second=0)
    with pytest.raises(Problem) as told:
        received(tmp_path, hasty, HEAD, b"abc", pause=5)
    assert told.value.code == "upload-too-slow"


def test_bytes_come_through_whatever_the_cuts(tmp_path):
    content = b"\r\n--y\r\n-x--\r\n--" * 50
    whole = HEAD + content + b"\r\n--x--\r\n"
    for step in (1, 7, 64, len(whole)):
        folder = tmp_path / str(step)
        folder.mkdir()
        form = received(folder, LAX, *(whole[at : at + step] for at in range(0, len(whole), step)))
        assert (folder / "a").read_bytes() == content
        assert form.files[0].size == len(content)
