"""The node's store: what arrived is kept, each study is begun once, and what was cut short goes on."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from pydicom.uid import ImplicitVRLittleEndian

from metseg.core.errors import InputError
from metseg.io.dicom_instance import NotAnImageError, image_of, instance_files, key_of
from metseg.io.dicom_values import quiet
from metseg.io.dimse_server import OutOfRoomError
from metseg.node import store as store_module
from metseg.node.register import Register
from metseg.node.store import Store, only_node
from node_cases import CAPTURE, image


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store", max_waiting=2)
    yield made
    made.register.close()


def row_of(store, study="1.2.3"):
    return store.register.study(key_of(study))


def again(store) -> Store:
    """The store as the next process finds it."""
    store.register.close()
    made = Store(store.folder, max_waiting=2)
    made.recover()
    return made


def test_an_image_is_known_by_its_uid_and_content():
    first, same, other = (image_of(image(uid="1.9", **more)) for more in ({}, {"software": "two"}, {"pixels": b"\3\4"}))
    assert first.content != same.content
    assert first.file_name == same.file_name
    assert first.file_name[:24] == other.file_name[:24] == key_of("1.9")
    assert first.file_name != other.file_name
    assert "CANARY" not in repr(first)


@pytest.mark.parametrize("content", [b"", b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"\xff" * 300, b"text " * 90])
def test_what_is_no_dicom_object_is_refused(content):
    with pytest.raises(InputError):
        image_of(content)


def test_other_objects_deflated_ones_and_ones_without_a_name_are_refused():
    with pytest.raises(NotAnImageError):
        image_of(image(sop_class=CAPTURE))
    with pytest.raises(InputError, match="deflated"):
        image_of(image().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99\0", 1))
    with pytest.raises(InputError, match="does not tell which it is"):
        image_of(image(study=""))


def test_identifiers_that_are_none_lead_nowhere(store):
    for number in range(4):
        content = image(study="1.2.3.4.5.6.7.8.9", pixels=bytes(2 * [number]))
        instance = image_of(content.replace(b"1.2.3.4.5.6.7.8.9\0", b"../../../../etc/x\0"))
        assert instance.study == "../../../../etc/x"
        assert store.take(instance) is True
    long = "1.2." * 60 + "3"
    with quiet():
        assert store.take(image_of(image(study=long))) is True
    folders = sorted((store.folder / "studies").iterdir())
    assert [folder.name for folder in folders] == sorted([key_of("../../../../etc/x"), key_of(long)])
    assert sorted(len(instance_files(folder)) for folder in folders) == [1, 4]


def test_only_its_user_may_look_into_the_store(store):
    assert store.folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("Dear colleague")
    tmp_path.chmod(0o755)
    with pytest.raises(InputError, match="holds something else"):
        Store(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_study_is_begun_once_it_is_quiet_and_only_once(store):
    contents = [image() for _ in range(3)]
    assert [store.take(image_of(each)) for each in contents] == [True] * 3
    assert store.next_job(60) is None
    job = store.next_job(0)
    assert (job.key, job.version, len(job.files)) == (key_of("1.2.3"), 1, 3)
    assert sorted(path.read_bytes() for path in job.files) == sorted(contents)
    assert store.next_job(0) is None
    store.finish(job, [("seg.dcm", "pacs")])
    assert row_of(store).state == "sending"
    assert [store.take(image_of(each)) for each in contents] == [False] * 3
    assert store.next_job(0) is None


def test_a_study_that_grows_or_changes_is_a_new_version(store):
    store.take(image_of(image(uid="1.9")))
    store.finish(store.next_job(0), [("seg.dcm", "pacs")])
    store.take(image_of(image(uid="1.10")))
    job = store.next_job(0)
    assert (job.version, len(job.files)) == (2, 2)
    (queued,) = store.register.objects(job.key, 1)
    assert queued.state == "replaced"  # what waited to be sent is out of date
    store.finish(job, [])
    store.take(image_of(image(uid="1.9", pixels=b"\7\7")))  # the same object, another content: the last word stands
    job = store.next_job(0)
    assert (job.version, len(job.files)) == (3, 2)


def test_images_that_come_while_the_study_is_segmented_are_not_lost(store):
    store.take(image_of(image()))
    job = store.next_job(0)
    store.take(image_of(image()))
    assert store.next_job(0) is None
    store.finish(job, [])
    second = store.next_job(0)
    assert (second.version, len(job.files), len(second.files)) == (2, 1, 2)


def test_a_process_that_was_killed_before_it_began_costs_nothing(store):
    store.take(image_of(image()))
    after = again(store)
    assert after.next_job(60) is None  # the wait begins anew, as nobody knows when the last image came
    assert after.next_job(0).version == 1


def test_a_process_that_was_killed_between_register_and_image_costs_nothing(store, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(store_module, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        store.take(image_of(image()))
    monkeypatch.undo()
    after = again(store)
    assert after.next_job(0) is None
    assert row_of(after).fresh is False
    content = image()
    assert after.take(image_of(content)) is True
    assert after.next_job(0).files[0].read_bytes() == content


def test_what_was_half_written_is_swept_away_and_nothing_else(store):
    store.take(image_of(image()))
    place = store.folder / "studies" / key_of("1.2.3")
    (place / ".abc.dcm.0123.part").write_bytes(b"half")
    for name in (f".{key_of('1.2.3')}-v1.partial-99", f"{key_of('1.2.3')}-v1"):
        (store.results / name).mkdir()
        (store.results / name / "seg.dcm").write_bytes(b"")
    store.sweep()
    assert len(list(place.iterdir())) == len(instance_files(place)) == 1
    assert [path.name for path in store.results.iterdir()] == [f"{key_of('1.2.3')}-v1"]


def test_a_process_that_dies_of_a_study_dies_twice_at_most(store):
    store.take(image_of(image()))
    store.take(image_of(image(study="1.2.4")))
    job = store.next_job(0)
    after = again(store)
    second = after.next_job(0)
    assert (second.key, second.version) in {(job.key, 1), (key_of("1.2.4"), 1)}
    while second.key != job.key:
        after.finish(second, [])
        second = after.next_job(0)
    last = again(after)
    row = last.register.study(job.key)
    assert (row.state, row.reason) == ("failed", "The process ended 2 times while it was segmented.")


def test_an_orderly_stop_is_no_try(store):
    store.take(image_of(image()))
    for _ in range(5):
        job = store.next_job(0)
        store.put_back(job)
        store = again(store)
    assert (row_of(store).state, row_of(store).tries, row_of(store).version) == ("received", 0, 1)


def test_a_failure_is_tried_again_unless_it_is_final(store):
    store.take(image_of(image()))
    assert store.fail(store.next_job(0), "Out of luck.", final=False) is False
    assert store.fail(store.next_job(0), "Out of luck.", final=False) is True
    assert (row_of(store).state, row_of(store).version, row_of(store).reason) == ("failed", 1, "Out of luck.")
    assert store.next_job(0) is None
    store.take(image_of(image()))  # more of it comes: it is tried as a new version
    assert store.fail(store.next_job(0), "No image.", final=True) is True
    assert store.retry(key_of("1.2.3")) is True
    assert store.next_job(0).version == 3
    assert store.retry(key_of("9.9")) is False


def test_too_many_waiting_studies_and_a_full_disk_are_told_before_anything_is_kept(store, monkeypatch):
    store.take(image_of(image("1.1")))
    store.take(image_of(image("1.2")))
    with pytest.raises(OutOfRoomError, match="Too many studies"):
        store.take(image_of(image("1.3")))
    store.take(image_of(image("1.1")))  # what was begun may be completed
    store.finish(store.next_job(0), [])
    assert store.take(image_of(image("1.3"))) is True
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    before = sorted(store.folder.rglob("*.dcm"))
    with pytest.raises(OutOfRoomError, match="too little room"):
        store.take(image_of(image("1.1")))
    assert sorted(store.folder.rglob("*.dcm")) == before
    full = Store(store.folder, min_free_bytes=1)
    assert full.has_room() is False
    full.register.close()


def test_a_disk_that_fills_while_it_is_written_leaves_nothing_half(store, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("metseg.io.atomic.os.fsync", full)
    with pytest.raises(OutOfRoomError, match="did not take it"):
        store.take(image_of(image()))
    monkeypatch.undo()
    assert [path for path in (store.folder / "studies").rglob("*") if path.is_file()] == []
    assert store.next_job(0) is None


def test_old_studies_are_deleted_and_not_done_again(store):
    content = image()
    store.take(image_of(content))
    job = store.next_job(0)
    (store.results / job.case).mkdir()
    store.finish(job, [])
    assert store.clear(3600, 3600) == 0
    assert store.clear(-1, 3600) == 1
    assert list((store.folder / "studies").iterdir()) == list(store.results.iterdir()) == []
    assert row_of(store).cleared is True
    assert store.retry(job.key) is False
    assert store.take(image_of(content)) is True  # sent again, perhaps by a migration: known by its hash
    assert store.next_job(0) is None
    assert (row_of(store).state, row_of(store).version) == ("done", 1)
    assert store.clear(-1, 3600) == 1


def test_a_study_is_concluded_when_nothing_waits_to_be_sent(store):
    store.take(image_of(image()))
    job = store.next_job(0)
    store.finish(job, [("seg.dcm", "a"), ("sr.dcm", "a")])
    first, second = store.register.objects(job.key, 1)
    store.register.settle(first, "sent", tries=1, due=0, reason="")
    assert store.conclude_sending(job.key) is None
    store.register.settle(second, "refused", tries=1, due=0, reason="It does not take this.")
    after = again(store)  # killed before it could conclude
    assert row_of(after).state == "failed"
    assert row_of(after).reason == "sr.dcm to a: It does not take this."


def test_targets_that_the_file_no_longer_has_are_given_up(store):
    store.take(image_of(image()))
    store.finish(store.next_job(0), [("seg.dcm", "old"), ("seg.dcm", "new")])
    assert store.register.drop_unknown(["new"]) == [key_of("1.2.3")]
    assert [each.state for each in store.register.objects(key_of("1.2.3"), 1)] == ["refused", "queued"]


def test_a_store_serves_one_node_and_one_version(store, tmp_path):
    with only_node(store.folder), pytest.raises(InputError, match="Another node"), only_node(store.folder):
        pass
    (tmp_path / "foreign.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match=r"foreign\.sqlite"):
        Register(tmp_path / "foreign.sqlite")


def test_a_change_that_fails_half_way_leaves_the_register_as_it_was(store):
    store.take(image_of(image()))
    row = row_of(store)

    def half_way():
        with store.register.whole():
            store.register.put(replace(row, state="done"))
            raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        half_way()
    assert row_of(store) == row


def test_implicit_little_endian_is_read_too():
    assert image_of(image(syntax=ImplicitVRLittleEndian)).study == "1.2.3"
