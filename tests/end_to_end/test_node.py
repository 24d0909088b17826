"""The whole node among peers: what arrives is segmented once, whatever is killed meanwhile, and the results go out."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pydicom
from typer.testing import CliRunner

from metseg.cli.main import app
from metseg.io.dicom_instance import image_of
from metseg.node.store import Store
from metseg.node.worker import Worker
from node_cases import (
    RESULT_CLASSES,
    RESULT_KINDS,
    calling,
    free_port,
    image,
    node_options,
    pacs,
    running,
    send,
    states,
    study_on_disk,
    target,
    until,
)

CANARIES = (b"CANARY", b"zyxwvut", b"A4711", b"19331122", b"19871213")


def rows(options) -> dict:
    store = Store(options.store)
    try:
        return {row.key: row for row in store.register.studies()}
    finally:
        store.register.close()


def killing_the_worker(monkeypatch, study: str) -> None:
    """The process that segments is killed each time it has this study."""
    segment = Worker.segment

    def killed(self, job):
        if str(pydicom.dcmread(job.files[0]).StudyInstanceUID) == study:
            if not self._process or not self._process.is_alive():
                self.start()
            threading.Timer(0.05, os.kill, (self._process.pid, signal.SIGKILL)).start()
        return segment(self, job)

    monkeypatch.setattr(Worker, "segment", killed)


def test_studies_of_all_sorts_side_by_side(tmp_path, phantom, caplog, monkeypatch):
    """Two sound ones interleaved; of two patients; with broken numbers; that kills the process; sent once more."""
    caplog.set_level("INFO", logger="metseg")
    one, two = (study_on_disk(tmp_path / name, phantom) for name in ("one", "two"))
    mixed, broken, deadly = (study_on_disk(tmp_path / name, phantom)[:9] for name in ("mixed", "broken", "deadly"))
    stranger = pydicom.dcmread(mixed[0])
    stranger.PatientID = "CANARY^Two"
    stranger.save_as(mixed[0])
    data = broken[0].read_bytes()
    assert data.count(b"3.2\\3.6") == 1
    broken[0].write_bytes(data.replace(b"3.2\\3.6", b"3,2\\3,6"))
    killing_the_worker(monkeypatch, str(pydicom.dcmread(deadly[0]).StudyInstanceUID))
    without_sr = tuple(uid for uid in RESULT_KINDS if uid != RESULT_CLASSES["sr.dcm"])
    with pacs() as (whole, received), pacs(classes=without_sr) as (choosy, also_received):
        options = node_options(tmp_path / "store", send=(target(whole), target(choosy, "choosy")))
        with running(options) as node:
            assert set(send(node, [*deadly, *mixed, *broken])) == {0}
            with calling(node) as first, calling(node) as second:
                for a, b in zip(one, two, strict=True):
                    assert first.send_c_store(pydicom.dcmread(a)).Status == 0
                    assert second.send_c_store(pydicom.dcmread(b)).Status == 0
            until(lambda: [state for state, _ in states(options)] == ["failed"] * 5)
            assert set(send(node, one)) == {0}  # once more, as a migration does
            time.sleep(4)
    assert [version for _, version in states(options)] == [1] * 5
    reasons = [row.reason for row in rows(options).values()]
    for reason, count in (
        ("sr.dcm to choosy: PACS does not take Comprehensive 3D SR Storage.", 2),
        ("The process that segments died of it, or took over 60 minutes.", 1),
        ("The 9 DICOM files come from more than one patient. Give one folder for each patient.", 1),
    ):
        assert reasons.count(reason) == count, reasons
    assert sum("its PixelSpacing is not made of numbers" in reason for reason in reasons) == 1
    assert sorted(each.SOPClassUID for each in received) == sorted(RESULT_KINDS * 2)
    assert sorted(each.SOPClassUID for each in also_received) == sorted(without_sr * 2)
    studies = {pydicom.dcmread(paths[0]).StudyInstanceUID for paths in (one, two)}
    assert {each.StudyInstanceUID for each in received} == studies
    for dataset in received:  # each result lies in its own study
        series = dataset.get("ReferencedSeriesSequence")
        if series:
            sent = one if dataset.StudyInstanceUID == pydicom.dcmread(one[0]).StudyInstanceUID else two
            assert series[0].SeriesInstanceUID == pydicom.dcmread(sent[0]).SeriesInstanceUID
    # Whose they are stands in DICOM files only.
    told = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("metseg")).encode()
    register = b"".join(path.read_bytes() for path in options.store.glob("register.sqlite*"))
    names = "\n".join(str(path.relative_to(options.store)) for path in options.store.rglob("*")).encode()
    others = b"".join(path.read_bytes() for path in (options.store / "results").rglob("*.json"))
    assert b"segmenting" in told
    assert b"sr.dcm" in register
    uids = [str(uid).encode() for uid in studies]
    for canary in (*CANARIES, *uids):
        assert canary.lower() not in (told + register + names + others).lower(), canary


NODE = "import sys; from metseg.cli.main import app; app(sys.argv[1:])"


@contextmanager
def node_process(tmp_path, **change):
    """``metseg node`` as a process of its own; killed at the end, and its log kept."""
    settings = {"store": str(tmp_path / "store"), "quiet_s": 0.4, "min_free_gb": 0, **change}
    port, pacs_port = settings.pop("port"), settings.pop("pacs")
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    lines += ["[listen]", f"port = {port}", "[segment]", 'engine = "threshold"']
    lines += ["[[send]]", 'name = "pacs"', f'address = "dimse://PACS@127.0.0.1:{pacs_port}"', "first_wait_s = 0.3"]
    (tmp_path / "node.toml").write_text("\n".join(lines))
    with (tmp_path / "node.log").open("ab") as log:
        command = [sys.executable, "-c", NODE, "node", str(tmp_path / "node.toml")]
        process = subprocess.Popen(command, stderr=log, stdout=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def listens(port) -> bool:
    with calling(port) as association:
        return association.is_established


def alive(pid: int) -> bool:
    return subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout[
        :1
    ] not in {"", "Z"}


def children_of(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(each) for each in found.split()]


def test_a_node_that_is_killed_again_and_again_loses_nothing(tmp_path, phantom):
    """kill -9 after the last success, while it segments, and while it sends; then it finishes, once."""
    images = study_on_disk(tmp_path / "study", phantom)
    port, slow, options = free_port(), threading.Event(), node_options(tmp_path / "store")
    at_pacs = []

    def answer(dataset):
        at_pacs.append(dataset.SOPClassUID)
        if dataset.SOPClassUID == RESULT_CLASSES["sr.dcm"]:
            slow.wait(240)
        return 0

    with pacs(answer) as (pacs_port, _):
        where = {"port": port, "pacs": pacs_port}
        with node_process(tmp_path, quiet_s=300, **where):
            until(lambda: listens(port))
            assert set(send(port, images)) == {0}
        assert states(options) == [("received", 0)]
        with node_process(tmp_path, **where) as process:
            until(lambda: states(options) == [("segmenting", 1)])
            workers = children_of(process.pid)
            assert workers
            process.kill()
            until(lambda: not any(map(alive, workers)))  # nobody is left who writes into the store
        assert states(options) == [("segmenting", 1)]
        with node_process(tmp_path, **where):
            until(lambda: RESULT_CLASSES["sr.dcm"] in at_pacs)
        slow.set()
        (row,) = rows(options).values()
        assert (row.state, row.version, row.tries) == ("sending", 1, 2)
        (result,) = (options.store / "results").iterdir()
        written = (result / "run.json").stat().st_mtime_ns
        with node_process(tmp_path, **where) as process:
            until(lambda: states(options) == [("done", 1)])
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0
        assert (result / "run.json").stat().st_mtime_ns == written  # it was not segmented again
    # What the archive had and the node had noted was not sent again; what hung when the node died was.
    assert [at_pacs.count(uid) for uid in RESULT_KINDS] == [1, 2, 1]
    log = (tmp_path / "node.log").read_bytes()
    assert b"Traceback" not in log
    assert not any(canary in log for canary in CANARIES)


def metseg(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_what_keeps_a_node_from_starting_is_said_and_the_code_is_right(tmp_path):
    store = f"store = {json.dumps(str(tmp_path / 'store'))}\n"
    for text, code, what in (
        (store, 2, "there is no source"),
        (store + "[watch]\nfolder = 'none'\n", 2, "The watched folder is not there."),
        (store + "[listen]\nport = 0\n[segment]\nmodel = 'no-such-model'\n", 4, "no-such-model"),
    ):
        (tmp_path / "node.toml").write_text(text)
        done = metseg("node", tmp_path / "node.toml")
        assert (done.exit_code, done.stdout) == (code, "")
        assert what in done.stderr


def test_the_state_of_a_store_is_listed_and_a_study_can_be_done_again(tmp_path):
    config = tmp_path / "node.toml"
    config.write_text(f"store = {json.dumps(str(tmp_path / 'store'))}\n[listen]\n")
    refused = metseg("node", config, "--status")
    assert (refused.exit_code, "No node has run on this store yet." in refused.stderr) == (2, True)
    store = Store(tmp_path / "store")
    store.take(image_of(image()))
    job = store.next_job(0)
    store.finish(job, [("seg.dcm", "pacs")])
    (row,) = store.register.objects(job.key, 1)
    store.register.settle(row, "refused", tries=1, due=0, reason="It does not take this.")
    store.conclude_sending(job.key)
    listed = json.loads(metseg("node", config, "--status", "--json").stdout)
    assert [(study["key"], study["state"], study["version"]) for study in listed["studies"]] == [(job.key, "failed", 1)]
    assert listed["studies"][0]["objects"][0]["reason"] == "It does not take this."
    assert f"{job.key} v1 failed" in metseg("node", config, "--status").stdout
    assert metseg("node", config, "--retry", job.key).exit_code == 0
    assert store.next_job(0).version == 2
    unknown = metseg("node", config, "--retry", "abc")
    assert (unknown.exit_code, "names no study" in unknown.stderr) == (2, True)
    store.register.close()
