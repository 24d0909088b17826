"""Files for TensorBoard: by the checksum's known value, read by hand, and by TensorBoard itself."""

import struct

import pytest

from metseg.training.nnunet.event_file import EventFile, crc32c

ROWS = {1: {"train_loss": 0.75, "lesion_sensitivity": 0.5}, 300: {"train_loss": -0.125}}


@pytest.fixture
def folder(tmp_path):
    file = EventFile(tmp_path, 1.7e9)
    for step, values in ROWS.items():
        file.add(step, 1.7e9 + step, values)
    return tmp_path


def test_the_checksum_has_the_value_of_its_standard():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


def test_records_follow_each_other_with_their_lengths(folder):
    data = next(folder.glob("events*")).read_bytes()
    lengths = []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        lengths.append(length)
        data = data[16 + length :]
    assert len(lengths) == 3
    assert lengths[0] == 9 + 2 + len("brain.Event:2")


def test_a_file_that_is_begun_replaces_the_one_before(folder):
    EventFile(folder, 1.8e9)
    assert [path.name for path in folder.iterdir()] == ["events.out.tfevents.1800000000.metseg"]


def test_tensorboard_reads_what_was_written(folder):
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    events = reader.EventAccumulator(str(folder))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["lesion_sensitivity", "train_loss"]
    found = [(one.step, one.value, one.wall_time) for one in events.Scalars("train_loss")]
    assert found == [(1, 0.75, 1.7e9 + 1), (300, -0.125, 1.7e9 + 300)]
