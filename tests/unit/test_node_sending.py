"""Results reach their targets, in time; what a target refuses is told and costs none of the others."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from metseg.core.errors import PeerError
from metseg.io.dicom_instance import image_of, key_of
from metseg.io.dicomweb import fetch_web, find_web, send_web
from metseg.io.dimse_send import send_dimse
from metseg.io.peers import Peer
from metseg.node.options import Target
from metseg.node.sender import send_due, send_for_ever
from metseg.node.store import Store
from node_cases import RESULT_CLASSES, free_port, image, pacs, target, until

KEY = key_of("1.2.3")


@pytest.fixture
def store(tmp_path):
    """With one study that was segmented, and nothing sent of it."""
    made = Store(tmp_path / "store")
    made.take(image_of(image()))
    job = made.next_job(0)
    folder = made.results / job.case
    folder.mkdir()
    for name, sop_class in RESULT_CLASSES.items():
        (folder / name).write_bytes(image(sop_class=sop_class))
    made.finish(job, [(name, "pacs") for name in RESULT_CLASSES])
    yield made
    made.register.close()


@pytest.fixture
def clock(monkeypatch):
    """What the sender takes for the time: ``clock[0]``."""
    now = [time.time() + 1]
    monkeypatch.setattr("metseg.node.sender.time", lambda: now[0])
    return now


def objects(store) -> dict:
    return {row.name: row for row in store.register.objects(KEY, 1)}


def states_of(store) -> list[str]:
    return [row.state for row in objects(store).values()]


def test_all_are_sent_in_their_order_in_one_association(store):
    with pacs() as (port, received):
        assert send_due(store, target(port)) is True
        assert send_due(store, target(port)) is False
    assert [one.SOPClassUID for one in received] == list(RESULT_CLASSES.values())
    assert states_of(store) == ["sent"] * 3
    assert store.register.study(KEY).state == "done"


def test_a_kind_that_is_not_taken_is_named_and_the_others_go(store):
    taken = tuple(uid for name, uid in RESULT_CLASSES.items() if name != "sr.dcm")
    with pacs(classes=taken) as (port, received):
        send_due(store, target(port))
    assert len(received) == 2
    assert states_of(store) == ["sent", "refused", "sent"]
    row = store.register.study(KEY)
    assert (row.state, row.reason) == ("failed", "sr.dcm to pacs: PACS does not take Comprehensive 3D SR Storage.")


def test_what_is_refused_is_not_tried_again_and_what_has_no_room_is(store, clock):
    def answer(dataset):
        return {"seg.dcm": 0xA900, "sr.dcm": 0xA700, "rtstruct.dcm": 0xB000}[
            next(name for name, uid in RESULT_CLASSES.items() if uid == dataset.SOPClassUID)
        ]

    with pacs(answer) as (port, received):
        send_due(store, target(port))
        assert states_of(store) == ["refused", "queued", "sent"]  # a warning is success
        assert objects(store)["seg.dcm"].reason == "PACS answered 0xA900 (Data Set Does Not Match SOP Class)."
        clock[0] += 0.31
        send_due(store, target(port))
    assert [one.SOPClassUID for one in received][3:] == [RESULT_CLASSES["sr.dcm"]]
    assert objects(store)["sr.dcm"].tries == 2
    assert store.register.study(KEY).state == "sending"


def test_an_archive_that_is_down_is_tried_with_growing_waits(store, clock):
    port = free_port()
    to = target(port)
    send_due(store, to)
    for row in objects(store).values():
        assert (row.state, row.tries) == ("queued", 1)
        assert row.due == pytest.approx(clock[0] + 0.3, abs=1e-3)
        assert "could not be reached" in row.reason
    clock[0] += 0.29
    assert send_due(store, to) is False
    clock[0] += 0.02
    send_due(store, to)
    assert {row.tries for row in objects(store).values()} == {2}
    clock[0] += 0.59  # twice as long
    assert send_due(store, to) is False
    with pacs(port=port) as (_, received):
        clock[0] += 0.31
        send_due(store, to)
    assert len(received) == 3
    assert store.register.study(KEY).state == "done"
    assert [to.wait_s(tries) for tries in (1, 2, 3, 20)] == pytest.approx([0.3, 0.6, 1.2, 900])
    assert to.wait_s(10**6) == 900


def test_what_cannot_be_sent_for_long_is_set_aside(store, clock):
    to = target(free_port(), give_up_h=1)
    send_due(store, to)
    assert states_of(store) == ["queued"] * 3
    clock[0] += 3600
    send_due(store, to)
    assert states_of(store) == ["refused"] * 3
    assert store.register.study(KEY).state == "failed"
    assert "Given up after 2 tries. PACS at 127.0.0.1" in store.register.study(KEY).reason


def test_a_slow_archive_is_waited_for_so_long_and_no_longer(store):
    slow = threading.Event()

    def answer(_):
        slow.wait(60)
        return 0

    with pacs(answer) as (port, _):
        deliveries = list(
            send_dimse(target(port).model_copy(update={"timeout_s": 2}), [store.results / f"{KEY}-v1" / "seg.dcm"] * 2)
        )
        slow.set()
    assert [each.state for each in deliveries] == ["later", "later"]
    assert deliveries[0].reason == "PACS did not answer within 2 s, or hung up."


def test_a_file_that_is_gone_is_told(store):
    (store.results / f"{KEY}-v1" / "sr.dcm").unlink()
    with pacs() as (port, _):
        send_due(store, target(port))
    assert states_of(store) == ["sent", "refused", "sent"]


def test_sending_goes_on_after_what_interrupts_it(store, monkeypatch, caplog):
    stop = threading.Event()
    calls = []
    real = store.register.due

    def due(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise RuntimeError("CANARY^One")
        return real(*arguments)

    monkeypatch.setattr(store.register, "due", due)
    with pacs() as (port, received):
        thread = threading.Thread(target=send_for_ever, args=(store, target(port), stop))
        thread.start()
        until(lambda: len(received) == 3)
        stop.set()
        thread.join()
    assert "Sending to pacs was interrupted: RuntimeError" in caplog.messages
    assert "CANARY" not in caplog.text


class _Service(BaseHTTPRequestHandler):
    """A DICOMweb service in one of several bad moods."""

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read1(1)
        self._answer(*self.server.mood)

    def do_GET(self):
        self._answer(*self.server.mood)

    def _answer(self, code, body):
        self.send_response(code)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True


@pytest.fixture
def service():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Service)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


FAILED = [{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0x0122]}}]}}]


@pytest.mark.parametrize(
    ("mood", "state", "reason"),
    [
        ((503, b""), "later", "127.0.0.1 answered with HTTP status 503."),
        ((429, b""), "later", "127.0.0.1 answered with HTTP status 429."),
        ((401, b""), "later", "127.0.0.1 answered with HTTP status 401."),
        ((415, b"CANARY"), "refused", "127.0.0.1 answered with HTTP status 415."),
        ((200, json.dumps(FAILED[0]).encode()), "refused", "127.0.0.1 did not store it (0x0122)."),
    ],
)
def test_what_a_web_service_answers_decides_whether_it_is_asked_again(service, store, mood, state, reason):
    service.mood = mood
    peer = Peer(address=f"http://127.0.0.1:{service.server_port}/dicom-web", timeout_s=30)
    (delivery,) = send_web(peer, [store.results / f"{KEY}-v1" / "sr.dcm"])
    assert (delivery.state, delivery.reason) == (state, reason)


@pytest.mark.parametrize("mood", [(500, b""), (200, b"<html>"), (200, b"[1, {}]"), (200, b'[{"0020000D": 7}]')])
def test_answers_that_make_no_sense_are_told_or_passed_over(service, mood):
    service.mood = mood
    peer = Peer(address=f"http://127.0.0.1:{service.server_port}/dicom-web", timeout_s=30)
    if mood[1].startswith(b"["):
        assert find_web(peer, {"Modality": "MR"}) == []
    else:
        with pytest.raises(PeerError, match=r"127\.0\.0\.1"):
            find_web(peer, {"Modality": "MR"})
        with pytest.raises(PeerError):
            list(fetch_web(peer, "1.2.3"))


def test_a_service_that_is_not_there_is_asked_later(store):
    peer = Target(name="web", address=f"http://127.0.0.1:{free_port()}/dicom-web", timeout_s=30)
    (delivery,) = send_web(peer, [store.results / f"{KEY}-v1" / "sr.dcm"])
    assert (delivery.state, delivery.reason) == ("later", "127.0.0.1 cannot be reached (ConnectionError).")
