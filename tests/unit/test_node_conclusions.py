"""What becomes of a study once it was segmented, or not."""

import pytest

from metseg.io.dicom_instance import image_of, key_of
from metseg.node.run import _conclude
from metseg.node.store import Store
from metseg.node.worker import Segmented
from metseg.pipeline.outcome import CaseOutcome
from node_cases import image, node_options, target

NOTHING = "seg.dcm was not written: no lesion was found, and a DICOM segmentation needs a segment."
UNFILED = "The DICOM results could not be made: The DICOM series tells of no frame of reference."


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store")
    made.take(image_of(image()))
    yield made
    made.register.close()


def concluded(store, outcome, files=(), **more):
    """The study and what is to be sent, after an outcome with these files."""
    job = store.next_job(0)
    folder = store.results / job.case
    folder.mkdir()
    for name in files:
        (folder / name).write_bytes(b"")
    targets = (target(1), target(2, "planning", objects=("rtstruct",)))
    segmented = None if outcome is None else Segmented(CaseOutcome(job.case, seconds=1.0, **outcome))
    _conclude(node_options(store.folder, send=targets, **more), store, job, segmented)
    row = store.register.study(key_of("1.2.3"))
    sends = [(each.name, each.target) for each in store.register.objects(row.key, row.version)]
    return (row.state, row.reason), sends


def test_each_target_gets_what_it_wants(store):
    outcome = {"state": "done", "lesions": 2, "warnings": ("The brain is cut off.",)}
    ended, sends = concluded(store, outcome, ("rtstruct.dcm", "seg.dcm"))
    assert ended == ("sending", "")
    assert sends == [("seg.dcm", "pacs"), ("rtstruct.dcm", "pacs"), ("rtstruct.dcm", "planning")]


def test_a_study_without_lesions_is_done_and_says_so(store):
    ended, sends = concluded(store, {"state": "done", "lesions": 0, "warnings": (NOTHING,)})
    assert (ended, sends) == (("done", NOTHING), [])


def test_a_result_of_a_run_before_is_sent(store):
    ended, sends = concluded(store, {"state": "skipped", "lesions": 1}, ("seg.dcm",))
    assert (ended, sends) == (("sending", ""), [("seg.dcm", "pacs")])


def test_lesions_that_cannot_be_filed_set_a_study_aside(store):
    ended, sends = concluded(store, {"state": "done", "lesions": 2, "warnings": ("Thick slices.", UNFILED)})
    assert (ended, sends) == (("failed", UNFILED), [])


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        ({"state": "failed", "message": "Slices are missing.", "exit_code": 2}, "failed"),
        ({"state": "failed", "message": "The network failed.", "exit_code": 5}, "received"),
        (None, "received"),
    ],
)
def test_only_a_wrong_input_is_final_at_once(store, outcome, state):
    ended, sends = concluded(store, outcome)
    assert (ended[0], sends) == (state, [])
    assert ended[1]
    if state == "received":
        (store.results / f"{key_of('1.2.3')}-v1").rmdir()
        assert concluded(store, outcome)[0][0] == "failed"


def test_a_disk_that_is_full_is_no_fault_of_the_study(store, monkeypatch):
    monkeypatch.setattr(store, "has_room", lambda: False)
    outcome = {"state": "failed", "message": "The output folder cannot be written.", "exit_code": 2}
    assert concluded(store, outcome)[0] == ("received", "The output folder cannot be written.")
