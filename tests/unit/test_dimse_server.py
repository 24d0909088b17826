"""The DICOM listener: who may call, what is answered, and that success means kept."""

import socket
import subprocess
import threading
import time
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydantic import ValidationError
from pynetdicom import AE, build_context

from metseg.core.errors import InputError, PeerError
from metseg.io.dicom_instance import key_of
from metseg.io.dimse_send import echo, send_dimse
from metseg.io.dimse_server import ListenOptions, OutOfRoomError, listening, store_status
from metseg.io.peers import Peer
from metseg.node.store import Store
from node_cases import CAPTURE, MR, calling, free_port, image

PIXELS = bytes(200_000)


def dataset(**more) -> pydicom.Dataset:
    return pydicom.dcmread(BytesIO(image(**more)))


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store", max_waiting=2)
    yield made
    made.register.close()


@pytest.fixture
def port(store):
    with listening(ListenOptions(port=0, timeout_s=30), store.take) as number:
        yield number


def kept(store, study="1.2.3") -> int:
    return len(list((store.folder / "studies" / key_of(study)).glob("*.dcm")))


def test_what_is_answered_with_success_is_kept_as_it_was_sent(store, port):
    sent = dataset(uid="1.9", pixels=PIXELS)
    with calling(port) as association:
        assert association.send_c_echo().Status == 0
        assert association.send_c_store(sent).Status == 0
        assert kept(store) == 1
        assert association.send_c_store(sent).Status == 0
        assert kept(store) == 1
    (path,) = (store.folder / "studies" / key_of("1.2.3")).iterdir()
    assert pydicom.dcmread(path) == sent


def test_studies_that_come_interleaved_are_kept_apart(store, port):
    def send_some(study):
        with calling(port) as association:
            for number in range(6):
                assert association.send_c_store(dataset(study=study, uid=f"{study}.{number}")).Status == 0

    threads = [threading.Thread(target=send_some, args=(study,)) for study in ("1.1", "1.2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (kept(store, "1.1"), kept(store, "1.2")) == (6, 6)


def test_other_kinds_of_objects_are_not_negotiated_or_refused(store, port):
    ae = AE("SCANNER")
    association = ae.associate(
        "127.0.0.1", port, contexts=[build_context(CAPTURE), build_context(MR)], ae_title="METSEG"
    )
    assert [str(context.abstract_syntax) for context in association.accepted_contexts] == [MR]
    capture = dataset(sop_class=CAPTURE)
    capture.SOPClassUID = MR  # what the request says is not what the object says
    blank = dataset()
    blank.StudyInstanceUID = ""
    assert association.send_c_store(blank).Status == 0xC000
    association.release()
    assert kept(store) == 0


def test_an_object_that_is_not_what_the_request_said_is_refused(store):
    assert store_status(image(uid="1.9"), "1.10", store.take) == 0xA900
    assert store_status(image(sop_class=CAPTURE, uid="1.9"), "1.9", lambda instance: instance) == 0
    assert store_status(b"broken" * 50, "1.9", store.take) == 0xC000
    assert kept(store) == 0


def test_whoever_calls_another_title_or_is_not_on_the_list_is_turned_away(store):
    options = ListenOptions(port=0, aet="NODE", allow_aets=("SCANNER", "PACS 1"), timeout_s=30)
    with listening(options, store.take) as port:
        for called, caller, established in (
            ("NODE", "SCANNER", True), ("NODE", "PACS 1", True), ("METSEG", "SCANNER", False), ("NODE", "OTHER", False),
        ):  # fmt: skip
            with calling(port, called, caller) as association:
                assert association.is_established is established, (called, caller)
                assert association.is_rejected is not established
        with pytest.raises(PeerError, match="does not know the AE title METSEG"):
            echo(Peer(address=f"dimse://NODE@127.0.0.1:{port}"))
        with pytest.raises(PeerError, match="is not called OTHER"):
            echo(Peer(address=f"dimse://OTHER@127.0.0.1:{port}", aet="SCANNER"))


def test_an_address_that_is_not_on_the_list_is_hung_up_on(store, caplog):
    with listening(ListenOptions(port=0, allow_ips=("10.1.0.0/16", "::1"), timeout_s=30), store.take) as port:
        with calling(port) as association:
            assert not association.is_established
        with pytest.raises(PeerError, match="could not be reached, or hung up"):
            echo(Peer(address=f"dimse://METSEG@127.0.0.1:{port}", timeout_s=30))
    assert "A connection from 127.0.0.1, which is not in allow_ips, was closed." in caplog.messages
    with listening(ListenOptions(port=0, allow_ips=("127.0.0.0/8",), timeout_s=30), store.take) as port:
        echo(Peer(address=f"dimse://METSEG@127.0.0.1:{port}"))


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"host": "0.0.0.0"}, "allow_ips must say who may connect"),  # noqa: S104
        ({"host": "192.168.1.2"}, "allow_ips must say who may connect"),
        ({"host": "::"}, "allow_ips must say who may connect"),
        ({"allow_ips": ("10.0.0.300",)}, "does not appear to be an IPv4 or IPv6 network"),
        ({"aet": "MUCH TOO LONG FOR A TITLE"}, "pattern"),
        ({"aet": "BACK\\SLASH"}, "pattern"),
        ({"tls_cert": "a.pem"}, "belong together"),
        ({"tls_ca": "a.pem"}, "needs tls_cert"),
        ({"port": 70000}, "65535"),
    ],
)
def test_options_that_would_leave_it_open_or_make_no_sense_are_refused(values, what):
    with pytest.raises(ValidationError, match=what):
        ListenOptions(**values)


def test_a_mapped_address_counts_as_what_it_is():
    options = ListenOptions(host="0.0.0.0", allow_ips=("10.1.0.0/16",))  # noqa: S104
    assert options.allows("::ffff:10.1.2.3")
    assert not options.allows("::ffff:10.2.2.3")
    assert not options.allows("fe80::1%eth0")


def test_a_full_disk_and_a_broken_register_are_told_as_out_of_resources(port, store, monkeypatch, caplog):
    def full(_):
        raise OutOfRoomError("The disk has too little room.")

    def broken(_):
        raise RuntimeError("CANARY^One")

    with listening(ListenOptions(port=0), full) as other, calling(other) as association:
        assert association.send_c_store(dataset()).Status == 0xA700
    with listening(ListenOptions(port=0), broken) as other, calling(other) as association:
        assert association.send_c_store(dataset()).Status == 0xA700
    with calling(port) as association:
        statuses = [association.send_c_store(dataset(study=f"1.{number}")).Status for number in range(4)]
    assert statuses == [0, 0, 0xA700, 0xA700]
    assert "CANARY" not in "".join(record.getMessage() for record in caplog.records if record.name.startswith("metseg"))


def test_an_association_that_breaks_off_leaves_what_was_acknowledged_and_nothing_half(store, port):
    with calling(port) as association:
        assert association.send_c_store(dataset(uid="1.1", pixels=PIXELS)).Status == 0
        connection = association.dul.socket

        def cut(data):
            connection.socket.sendall(data[: len(data) // 2])
            connection.close()

        connection.send = cut
        assert "Status" not in association.send_c_store(dataset(uid="1.2", pixels=PIXELS))
    time.sleep(0.3)
    assert [path.name[:24] for path in (store.folder / "studies" / key_of("1.2.3")).iterdir()] == [key_of("1.1")]
    echo(Peer(address=f"dimse://METSEG@127.0.0.1:{port}"))
    with calling(port) as association:
        assert association.send_c_store(dataset(uid="1.2", pixels=PIXELS)).Status == 0
        association.abort()
    assert kept(store) == 2


def test_those_who_say_nothing_or_nonsense_keep_nobody_waiting(store, port, certificates):
    cert, key = certificates / "node.pem", certificates / "node.key"
    with listening(ListenOptions(port=0, tls_cert=cert, tls_key=key, timeout_s=30), store.take) as secure:
        silent = [socket.create_connection(("127.0.0.1", number)) for number in (port, secure) * 3]
        for connection in silent[:2]:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n" * 50)
        echo(Peer(address=f"dimse://METSEG@127.0.0.1:{port}", timeout_s=30))
        echo(Peer(address=f"dimses://METSEG@127.0.0.1:{secure}", tls_ca=certificates / "ca.pem", timeout_s=30))
        for connection in silent:
            connection.close()
    assert kept(store) == 0


def test_a_port_that_is_taken_is_named():
    with (
        listening(ListenOptions(port=0), print) as port,
        pytest.raises(InputError, match=f"Port {port} of 127.0.0.1"),
        listening(ListenOptions(port=port), print),
    ):
        pass
    with pytest.raises(PeerError, match="could not be reached"):
        echo(Peer(address=f"dimse://METSEG@127.0.0.1:{free_port()}", timeout_s=2))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, and what it signed for the node and for a caller; another authority that nobody knows."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "stranger"):
        usage = "keyUsage=critical,keyCertSign,digitalSignature"
        to = ("-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
        openssl(*new_key, "-x509", *to, "-days", "2", "-addext", usage)
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("node", "caller"):
        openssl(*new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{name}.pem")
        openssl("x509", "-req", "-in", f"{name}.csr", *signed, "-days", "2", "-extfile", "names")
    return folder


def test_with_tls_only_who_shows_a_certificate_may_call(store, certificates, tmp_path):
    def pem(name):
        return certificates / f"{name}.pem", certificates / f"{name}.key"

    cert, key = pem("node")
    options = ListenOptions(port=0, tls_cert=cert, tls_key=key, tls_ca=certificates / "ca.pem", timeout_s=30)
    path = tmp_path / "image.dcm"
    path.write_bytes(image(uid="1.9", pixels=PIXELS))
    with listening(options, store.take) as port:

        def peer(scheme, own, ca="ca"):
            cert, key = pem(own) if own else (None, None)
            address = f"{scheme}://METSEG@127.0.0.1:{port}"
            tls_ca = certificates / f"{ca}.pem" if own else None
            return Peer(address=address, tls_cert=cert, tls_key=key, tls_ca=tls_ca, timeout_s=30)

        (delivery,) = send_dimse(peer("dimses", "caller"), [path])
        assert delivery.state == "sent"
        for stranger in (peer("dimses", "stranger"), peer("dimses", "caller", "stranger"), peer("dimse", None)):
            with pytest.raises(PeerError):
                echo(stranger)
        echo(peer("dimses", "caller"))
    assert kept(store) == 1


def test_peers_are_written_in_known_forms_and_secrets_go_over_tls():
    peer = Peer(address="dimse://PACS%201@pacs.example:104")
    assert (peer.called_aet, peer.host, peer.port, peer.is_web) == ("PACS 1", "pacs.example", 104, False)
    for address in (
        "pacs:104", "dimse://pacs:104", "dimse://A@pacs", "ftp://pacs/", "dimse://A@pacs:x", "https://user:word@pacs/",
        "dimse://TOO-LONG-A-TITLE-IS-THIS@pacs:104", "dimse://A:B@pacs:104", "https://user@pacs/",
    ):  # fmt: skip
        with pytest.raises(ValidationError, match="a peer is written as"):
            Peer(address=address)
    with pytest.raises(ValidationError, match="over https only"):
        Peer(address="http://pacs.example/dicom-web", token_file=Path("token"))
    assert Peer(address="http://127.0.0.1:8042/dicom-web", token_file=Path("token")).is_web
