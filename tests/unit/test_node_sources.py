"""Studies that are put into a folder, or that the one-off commands move."""

import os
import threading
import time

import pytest

from metseg.core.errors import InputError
from metseg.io.dicom_instance import instance_files, key_of
from metseg.io.dimse_server import OutOfRoomError
from metseg.node.options import WatchOptions
from metseg.node.sources import look_into_folder, repeat
from metseg.node.store import Store
from node_cases import CAPTURE, image


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store", max_waiting=2)
    yield made
    made.register.close()


@pytest.fixture
def watch(tmp_path):
    (tmp_path / "in").mkdir()
    return WatchOptions(folder=tmp_path / "in", quiet_s=60)


def drop(watch, name, **files) -> None:
    folder = watch.folder / name / "deep down"
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)


def later() -> float:
    return time.time() + 61


def kept(store, study) -> int:
    return len(instance_files(store.folder / "studies" / key_of(study)))


def test_a_drop_is_taken_once_it_is_quiet_and_only_once(store, watch):
    drop(watch, "CANARY One", a=image("1.1"), b=image("1.1"), c=image("1.2"))
    (watch.folder / "loose.dcm").write_bytes(image("1.9"))
    assert look_into_folder(store, watch) == 0  # it may not be whole yet
    assert look_into_folder(store, watch, later) == 1
    assert (kept(store, "1.1"), kept(store, "1.2"), kept(store, "1.9")) == (2, 1, 0)
    assert look_into_folder(store, watch, later) == 0
    assert sorted(path.name for path in (watch.folder / "CANARY One" / "deep down").iterdir()) == ["a", "b", "c"]
    drop(watch, "CANARY One", d=image("1.1"))
    assert look_into_folder(store, watch, later) == 1
    assert kept(store, "1.1") == 3


def test_a_file_that_is_moved_in_with_an_old_date_counts_as_new(store, watch, tmp_path):
    drop(watch, "one", a=image("1.1"))
    path = watch.folder / "one" / "deep down" / "a"
    os.utime(path, (1, 1))
    assert look_into_folder(store, watch) == 0
    assert look_into_folder(store, watch, later) == 1


def test_what_is_wrong_with_a_drop_is_counted_and_named_without_names(store, watch, caplog):
    drop(watch, "CANARY One", letter=b"Dear colleague" * 20, capture=image(sop_class=CAPTURE))
    drop(watch, "CANARY Two", a=image("1.2"), broken=b"\0" * 128 + b"DICM" + b"\xff" * 200)
    assert look_into_folder(store, watch, later) == 2
    reasons = {reason for _, reason in store.register.faulty_sources()}
    assert reasons == {
        "There is no MR or CT image among its 2 files.", "1 DICOM files could not be read; 1 images were taken.",
    }  # fmt: skip
    assert kept(store, "1.2") == 1
    assert "CANARY" not in caplog.text
    assert look_into_folder(store, watch, later) == 0


def test_a_drop_that_finds_no_room_is_taken_another_time(store, watch):
    drop(watch, "one", a=image("1.1"), b=image("1.2"), c=image("1.3"))
    with pytest.raises(OutOfRoomError):
        look_into_folder(store, watch, later)
    store.finish(store.next_job(0), [])
    assert look_into_folder(store, watch, later) == 1
    assert [kept(store, study) for study in ("1.1", "1.2", "1.3")] == [1, 1, 1]


def test_a_folder_that_goes_away_is_waited_for(store, watch, caplog):
    stop, looks = threading.Event(), []

    def look():
        looks.append(1)
        if len(looks) == 3:
            stop.set()
        look_into_folder(store, watch, later)

    watch.folder.rmdir()
    with pytest.raises(InputError, match="The watched folder cannot be listed"):
        look_into_folder(store, watch, later)
    repeat(look, 0.01, stop, "The watched folder")
    assert len(looks) == 3
    assert "The watched folder: The watched folder cannot be listed" in caplog.text


@pytest.mark.parametrize("link", ["gone", "/dev/zero"])
def test_links_and_devices_in_a_drop_are_passed_over(store, watch, link):
    drop(watch, "one", a=image("1.1"))
    (watch.folder / "one" / "link").symlink_to(link)
    assert look_into_folder(store, watch, later) == 1
    assert kept(store, "1.1") == 1
