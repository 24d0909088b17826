"""What the tests of the node share: a node that runs, peers, and a small study as DICOM."""

import socket
import time
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Event, Thread

import pydicom
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_context, evt

from end_to_end.test_no_patient_data import dicom_folder
from metseg.config.options import SegmentOptions
from metseg.io.dicom_series import IMAGE_CLASSES
from metseg.io.dimse_server import ListenOptions
from metseg.node.options import NodeOptions, Target
from metseg.node.run import run_node
from metseg.node.store import Store

RESULTS = ("dicom-seg", "sr", "rtstruct")
RESULT_CLASSES = {
    "seg.dcm": "1.2.840.10008.5.1.4.1.1.66.4",
    "sr.dcm": "1.2.840.10008.5.1.4.1.1.88.34",
    "rtstruct.dcm": "1.2.840.10008.5.1.4.1.1.481.3",
}
RESULT_KINDS = tuple(RESULT_CLASSES.values())
MR, CAPTURE = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"


def image(
    study="1.2.3", uid=None, pixels=b"\1\2", sop_class=MR, software="one", syntax=ExplicitVRLittleEndian
) -> bytes:
    """The bytes of an object with next to nothing in it."""
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid or generate_uid()
    dataset.StudyInstanceUID, dataset.PatientName, dataset.PixelData = study, "CANARY^One", pixels
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.ImplementationVersionName = software
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def node_options(store: Path, **more) -> NodeOptions:
    """Quick, with the engine that needs no weights; listens on any free port unless told otherwise."""
    values = {
        "store": store,
        "quiet_s": 3,
        "min_free_gb": 0,
        "listen": ListenOptions(port=0, timeout_s=30),
        "segment": SegmentOptions(engine="threshold", formats=RESULTS),
        **more,
    }
    return NodeOptions.model_validate(values)


def target(port: int, name: str = "pacs", **more) -> Target:
    return Target(name=name, address=f"dimse://PACS@127.0.0.1:{port}", first_wait_s=0.3, timeout_s=20, **more)


@contextmanager
def running(options: NodeOptions):
    """A node in a thread; gives its port."""
    stop, ready, port, failed = Event(), Event(), [], []

    def note(number: int) -> None:
        port.append(number)
        ready.set()

    def run() -> None:
        try:
            run_node(options, stop, listening_on=note)
        except BaseException as error:  # noqa: BLE001
            failed.append(error)
            ready.set()

    thread = Thread(target=run)
    thread.start()
    try:
        if options.listen:
            assert ready.wait(240)
        assert failed == []
        yield port[0] if port else 0
    finally:
        stop.set()
        thread.join(240)
        assert not thread.is_alive()


@contextmanager
def pacs(answer=lambda _: 0, classes=RESULT_KINDS, port=0):
    """A storage peer; gives its port and what it received, one data set a request, whatever it answered."""
    received = []

    def store(event):
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        received.append(dataset)
        return answer(dataset)

    ae = AE("PACS")
    ae.require_called_aet = True
    for sop_class in classes:
        ae.add_supported_context(sop_class)
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        yield server.server_address[1], received
    finally:
        server.shutdown()


@contextmanager
def calling(port: int, called="METSEG", calling_aet="SCANNER"):
    """An association that may send images; not established where the node turned it away."""
    ae = AE(calling_aet)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
    contexts = [build_context(uid) for uid in [*sorted(IMAGE_CLASSES), "1.2.840.10008.1.1"]]
    association = ae.associate("127.0.0.1", port, contexts=contexts, ae_title=called)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def send(port: int, paths) -> list[int]:
    """Send files in one association; the statuses."""
    with calling(port) as association:
        assert association.is_established
        return [association.send_c_store(pydicom.dcmread(path)).Status for path in paths]


def study_on_disk(folder: Path, phantom, patient="CANARY^One") -> list[Path]:
    """A study of one series; each call makes another one."""
    paths = sorted(dicom_folder(folder, phantom).iterdir())
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.PatientName = dataset.PatientID = patient
        dataset.AccessionNumber = "A4711"
        dataset.save_as(path)
    return paths


def states(options: NodeOptions) -> list[tuple[str, int]]:
    """State and version of each study, by key."""
    store = Store(options.store)
    try:
        return [(row.state, row.version) for row in sorted(store.register.studies(), key=lambda row: row.key)]
    finally:
        store.register.close()


def until(condition, longest_s: float = 240.0):
    """Wait until something is so, and give it back."""
    end = time.monotonic() + longest_s
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("waited in vain")
