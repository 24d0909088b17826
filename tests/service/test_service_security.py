"""Who may ask what, from where, how often; and links that work for a while."""

import json
import socket
import time

import pytest

from metseg.core.errors import ConfigError
from metseg.service.api import server
from metseg.service.client import Client, ServiceError
from metseg.service.problems import Problem
from metseg.service.settings import read_settings
from metseg.service.signing import Signer
from service.conftest import URL, done
from service.test_service_jobs import refused
from service_under_fire import until


def with_key(client, *scopes, name="anna", **limits):
    key = client.app.state.service.keys.add(name, scopes or ("read", "submit", "erase"), **limits)
    return {"Authorization": f"Bearer {key}"}


def test_beyond_this_machine_keys_are_a_must(monkeypatch):
    for host in ("0.0.0.0", "::", "192.168.1.5", "example"):  # noqa: S104  # to be refused
        with pytest.raises(ConfigError, match="Without authentication"):
            read_settings({"host": host})
        assert read_settings({"host": host, "auth": "keys"}).host == host
    monkeypatch.setenv("METSEG_HOST", "0.0.0.0")  # noqa: S104
    with pytest.raises(ConfigError, match="metseg serve keys add"):
        read_settings()
    monkeypatch.setenv("METSEG_HOST", "::1")
    assert read_settings().host == "::1"


def test_wrong_settings_are_named(monkeypatch):
    monkeypatch.setenv("METSEG_PORT", "many")
    with pytest.raises(ConfigError, match="METSEG_PORT"):
        read_settings()


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"peer": "10.0.0.7"}, "authentication-required"),
        ({"url": "http://10.0.0.7:8000"}, "authentication-required"),
        ({"url": "http://localhost:8000"}, None),
    ],
)
def test_without_keys_only_this_machine_is_answered(asked, code, start):
    response = start(**asked).get("/v1/studies")
    assert response.status_code == 200 if code is None else refused(response, code)


def test_without_keys_proxies_and_strange_names_are_refused(client):
    refused(client.get("/v1/studies", headers={"Host": "evil.example"}), "host-refused")
    refused(client.get("/v1/studies", headers={"X-Forwarded-For": "10.0.0.7"}), "authentication-required")


def test_pages_of_other_origins_may_send_nothing_and_read_nothing(client, send):
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        refused(send(client, headers=headers), "origin-refused")
        link = f"/v1/studies/{'0' * 32}"
        refused(client.delete(link, headers=headers), "origin-refused")
    assert send(client, headers={"Origin": URL}).status_code == 202
    answer = client.get("/v1/studies", headers={"Origin": "http://localhost:8501"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    asked = client.options("/v1/studies", headers={"Origin": URL, "Access-Control-Request-Method": "POST"})
    assert not [name for name in asked.headers if name.startswith("access-control")]


def test_keys_open_what_their_scopes_say(start, send):
    client = start(auth="keys")
    for headers in ({}, {"Authorization": "Bearer metseg_x_y"}, {"Authorization": "Basic YTpi"}):
        answer = client.get("/v1/studies", headers=headers)
        refused(answer, "authentication-required")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    anna, ben, watcher = (
        with_key(client, name="anna"),
        with_key(client, "read", name="ben"),
        with_key(client, "all", "read", "metrics", name="w"),
    )
    link = send(client, headers=anna).headers["location"]
    assert client.get(link, headers=anna).json()["owner"] == "anna"
    refused(client.get(link, headers=ben), "job-unknown")  # as if it were not there
    assert client.get("/v1/studies", headers=ben).json()["studies"] == []
    assert len(client.get("/v1/studies", headers=watcher).json()["studies"]) == 1
    refused(send(client, headers=ben), "permission-denied")
    refused(client.delete(link, headers=watcher), "permission-denied")
    refused(client.get("/metrics", headers=anna), "permission-denied")
    assert client.get("/metrics", headers=watcher).status_code == 200
    client.app.state.service.keys.revoke("anna")
    refused(client.get(link, headers=anna), "authentication-required")


def test_keys_are_not_kept(start):
    client = start(auth="keys")
    key = with_key(client)["Authorization"].rpartition("_")[2]
    root = client.app.state.service.vault.root
    assert all(key.encode() not in path.read_bytes() for path in root.rglob("*") if path.is_file())
    with pytest.raises(ConfigError, match="already"):
        with_key(client)
    with pytest.raises(ConfigError, match="no scope"):
        with_key(client, "root", name="other")


def test_limits_are_those_of_the_key(start, send):
    client = start(auth="keys")
    slow = with_key(client, rate_per_minute=3, queue_limit=1)
    assert send(client, headers=slow).status_code == 202
    refused(send(client, headers=slow), "queue-full")
    assert client.get("/v1/studies", headers=slow).status_code == 200
    answer = client.get("/v1/studies", headers=slow)
    refused(answer, "rate-limited")
    assert 1 <= int(answer.headers["retry-after"]) <= 20
    assert client.get("/v1/studies", headers=with_key(client, name="other")).status_code == 200


def test_signed_links_open_one_file_for_a_while(start, send, worker_of):
    client = start(auth="keys", public_url="https://mets.example/", app_origins="https://app.example")
    headers = with_key(client)
    job = done(worker_of(client), send(client, headers=headers))
    links = client.get(f"/v1/studies/{job}/volumes", headers=headers).json()["volumes"]
    assert {link["role"] for link in links} == {"image", "segmentation", "lesions", "probability"}
    href = links[0]["href"].removeprefix("https://mets.example")
    whole = client.get(href)
    assert len(whole.content) == links[0]["bytes"]
    assert "access-control-allow-origin" not in whole.headers
    shared = client.get(href, headers={"Origin": "https://app.example", "Range": "bytes=2-5"})
    assert (shared.status_code, shared.content) == (206, whole.content[2:6])
    assert shared.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-origin" not in client.get(href, headers={"Origin": "https://evil.example"}).headers
    other = links[1]["name"]
    refused(client.get(href.replace(links[0]["name"], other)), "link-invalid")
    refused(client.get(href.replace("expires=", "expires=1")), "link-invalid")
    refused(client.get(href.partition("?")[0]), "malformed-request")
    client.delete(f"/v1/studies/{job}", headers=headers)
    refused(client.get(href), "file-unknown")


def test_a_link_expires(tmp_path, monkeypatch):
    signer = Signer(tmp_path, 60)
    link, expires = signer.sign("/a")
    signature = link.rpartition("=")[2]
    Signer(tmp_path, 60).check("/a", expires, signature)
    assert (tmp_path / "links.secret").stat().st_mode & 0o777 == 0o600
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    with pytest.raises(Problem) as told:
        signer.check("/a", expires, signature)
    assert told.value.code == "link-expired"


def test_who_sends_no_whole_head_is_cut_off(monkeypatch, client, listening):
    monkeypatch.setattr(server, "_HEADERS_S", 0.5)
    address = listening(client)
    with socket.create_connection(address, timeout=20) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127")
        assert slow.recv(100) == b""
    with socket.create_connection(address, timeout=20) as prompt:
        prompt.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert prompt.recv(15) == b"HTTP/1.1 200 OK"
        prompt.sendall(b"GET /hea")
        while answer := prompt.recv(1000):
            assert b"HTTP/1.1 2" not in answer


def test_a_refusal_reaches_who_is_still_sending(start, listening):
    host, port = listening(start(upload_bytes=1000))
    with Client(f"http://{host}:{port}") as sender, pytest.raises(ServiceError) as told:
        sender.submit([("large.nii.gz", bytes(30 * 2**20))])
    assert told.value.code == "body-too-large"


def test_an_upload_that_is_cut_off_leaves_nothing(client, listening):
    with socket.create_connection(listening(client), timeout=20) as broken:
        head = b"POST /v1/studies HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000\r\n"
        part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.nii"\r\n\r\n' + b"1" * 2000
        broken.sendall(head + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + part)
        incoming = client.app.state.service.vault.root / "incoming"
        until(lambda: len(list(incoming.iterdir())) == 1)
    until(lambda: list(incoming.iterdir()) == [])
    assert client.get("/v1/studies").json()["studies"] == []


def test_no_error_shows_what_is_inside(client, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("/secret/path of Anna")

    monkeypatch.setattr(client.app.state.service.jobs, "page", fail)
    document = refused(client.get("/v1/studies"), "internal-error")
    assert "secret" not in json.dumps(document)
