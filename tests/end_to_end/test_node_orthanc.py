"""The node and a real archive: what Orthanc gets is what ``metseg segment`` writes."""

import json
import subprocess
from datetime import datetime
from io import BytesIO

import pydicom
import pytest
from typer.testing import CliRunner

from end_to_end.cases import run
from metseg.cli.main import app
from metseg.config.options import SegmentOptions
from metseg.io.dicomweb import fetch_web, find_web
from metseg.io.peers import Peer
from metseg.node.options import PollOptions
from metseg.node.sources import ask_service
from metseg.node.store import Store
from node_cases import RESULT_CLASSES, free_port, node_options, running, states, study_on_disk, until
from orthanc_peer import orthanc

# When something was made differs from run to run, and highdicom numbers its dimensions anew; all else must not differ.
ANEW = {
    "ContentDate", "ContentTime", "SeriesDate", "SeriesTime", "InstanceCreationDate", "InstanceCreationTime",
    "StructureSetDate", "StructureSetTime", "ContributionDateTime", "DimensionOrganizationUID",
}  # fmt: skip


@pytest.fixture(scope="module")
def move_port():
    return free_port()


@pytest.fixture(scope="module")
def archive(tmp_path_factory, move_port):
    mover = {"mover": ["MOVER", "127.0.0.1", move_port]}
    with orthanc(tmp_path_factory.mktemp("orthanc"), mover) as running_one:
        yield running_one


@pytest.fixture(scope="module")
def second_archive(tmp_path_factory):
    with orthanc(tmp_path_factory.mktemp("second")) as running_one:
        yield running_one


@pytest.fixture
def empty(archive):
    archive.empty()
    return archive


def content(dataset) -> bytes:
    """The data set's bytes, without what is new in each run."""
    bare = pydicom.Dataset()
    bare.update(dataset)

    def clean(part):
        for element in list(part):
            if element.keyword in ANEW:
                del part[element.tag]
            elif element.VR == "SQ":
                for item in element.value:
                    clean(item)

    clean(bare)
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, bare, implicit_vr=False, little_endian=True)
    return buffer.getvalue()


def fetched(archive, study) -> dict:
    """All objects of a study in the archive, by kind, over WADO-RS."""
    objects = [pydicom.dcmread(BytesIO(data)) for _, data in fetch_web(Peer(address=archive.web), study)]
    return {str(one.SOPClassUID): one for one in objects}


def test_a_series_from_storescu_comes_back_as_what_the_command_writes(tmp_path, phantom, engine, empty, second_archive):
    images = study_on_disk(tmp_path / "study", phantom)
    study = str(pydicom.dcmread(images[0]).StudyInstanceUID)
    targets = ({"name": "first", "address": empty.dimse}, {"name": "second", "address": second_archive.web})
    options = node_options(tmp_path / "store", send=targets)
    with running(options) as node:
        command = ["storescu", "-v", "-aet", "SCANNER", "-aec", "METSEG", "127.0.0.1", str(node), *map(str, images)]
        sent = subprocess.run(command, capture_output=True, text=True, check=False)
        assert sent.returncode == 0, sent.stderr
        assert (sent.stdout + sent.stderr).count("Success)") == len(images)
        until(lambda: states(options) == [("done", 1)])
    # UIDs are made of the bytes of the files, whose headers tell of the software that wrote them: so of those here.
    (arrived,) = (options.store / "studies").iterdir()
    written = run(arrived, tmp_path / "out", engine, SegmentOptions(engine="threshold", formats="sr,rtstruct"))
    for one in (empty, second_archive):
        (found,) = find_web(Peer(address=one.web), {"StudyInstanceUID": study})
        assert (found.uid, found.size) == (study, 3)
        series = one.get(f"/dicom-web/studies/{study}/series")
        assert sorted(each["00080060"]["Value"][0] for each in series) == ["RTSTRUCT", "SEG", "SR"]
        archived = fetched(one, study)
        for name, sop_class in RESULT_CLASSES.items():
            ours, theirs = pydicom.dcmread(written.folder / name), archived[sop_class]
            assert theirs.SOPInstanceUID == ours.SOPInstanceUID
            assert len(content(ours)) > 2000
            assert content(theirs) == content(ours), name


def metseg(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def contents_of(folder) -> dict:
    return {str(one.SOPInstanceUID): content(one) for one in map(pydicom.dcmread, folder.iterdir())}


@pytest.mark.parametrize("kind", ["dimse", "web"])
def test_push_and_pull_bring_a_study_there_and_back(tmp_path, phantom, empty, kind, move_port):
    images = study_on_disk(tmp_path / "study", phantom)[:3]
    study, ours = pydicom.dcmread(images[0]).StudyInstanceUID, {}
    for path in images:
        ours |= {str(pydicom.dcmread(path).SOPInstanceUID): content(pydicom.dcmread(path))}
    address = empty.dimse if kind == "dimse" else empty.web
    (tmp_path / "no.dcm").write_bytes(b"no DICOM")
    pushed = metseg("push", *images, tmp_path / "no.dcm", "--to", address, "--json")
    assert pushed.exit_code == 6
    assert json.loads(pushed.stdout)["sent"] == 3
    assert [one["file"] for one in json.loads(pushed.stdout)["failed"]] == ["no.dcm"]
    pulled = metseg("pull", "--from", address, "--study", study, "-o", tmp_path / "by study")
    assert (pulled.exit_code, pulled.stderr) == (0, "")
    assert contents_of(tmp_path / "by study") == ours
    accession = pydicom.dcmread(images[0]).AccessionNumber
    assert metseg("pull", "--from", address, "--accession", accession, "-o", tmp_path / "by number").exit_code == 0
    assert contents_of(tmp_path / "by number") == ours
    unknown = metseg("pull", "--from", address, "--study", "1.2.3.4", "-o", tmp_path / "nothing")
    assert unknown.exit_code in {2, 6}
    assert "Error: " in unknown.stderr
    if kind == "dimse":
        moved = metseg(
            "pull", "--from", address, "--study", study, "--method", "move", "--aet", "MOVER",
            "--listen-port", move_port, "-o", tmp_path / "moved",
        )  # fmt: skip
        assert (moved.exit_code, moved.stderr) == (0, "")
        assert contents_of(tmp_path / "moved") == ours


def test_new_studies_of_a_service_are_fetched_once(tmp_path, phantom, empty):
    images = study_on_disk(tmp_path / "study", phantom)
    poll = PollOptions(address=empty.web, query={"ModalitiesInStudy": "MR"}, days=3650)
    store = Store(tmp_path / "store")

    def in_1988():
        return datetime(1988, 1, 1)  # noqa: DTZ001

    assert ask_service(store, poll, in_1988) == 0
    assert metseg("push", *images[:9], "--to", empty.dimse).exit_code == 0
    assert ask_service(store, poll, lambda: datetime(2026, 1, 1)) == 0  # noqa: DTZ001 - the study is older than ten years
    assert ask_service(store, poll, in_1988) == 1
    assert ask_service(store, poll, in_1988) == 0
    job = store.next_job(0)
    assert {str(pydicom.dcmread(path).SOPInstanceUID) for path in job.files} == {
        str(pydicom.dcmread(path).SOPInstanceUID) for path in images[:9]
    }
    store.finish(job, [])
    assert metseg("push", *images[9:12], "--to", empty.dimse).exit_code == 0
    assert ask_service(store, poll, in_1988) == 1
    assert len(store.next_job(0).files) == 12
