"""The node's file, and the rules in it."""

import re

import pydicom
import pytest

from end_to_end.cases import LESIONS, make_grid
from metseg.core.errors import ConfigError, InputError
from metseg.io.dicom_series import IMAGE_CLASSES
from metseg.io.dimse_server import ListenOptions
from metseg.io.series_facts import SeriesFacts, read_series
from metseg.node.options import NodeOptions, PollOptions, Rule, Target, WatchOptions, read_node_file
from metseg.node.rules import choose_files, matches
from metseg.testing.phantoms import make_phantom
from node_cases import study_on_disk

WHOLE = """
store = "store"
quiet_s = 30
unmatched = "set-aside"

[listen]
aet = "NODE"
host = "0.0.0.0"
allow_ips = ["10.1.0.0/16"]

[watch]
folder = "in"

[[poll]]
address = "https://pacs.example/dicom-web"
query = { ModalitiesInStudy = "MR" }

[[send]]
name = "pacs"
address = "dimse://PACS@10.1.2.3:104"

[[send]]
name = "planning"
address = "dimses://PLAN@10.1.2.4:2762"
objects = ["rtstruct"]

[[rule]]
name = "T1 after contrast"
modality = "MR"
description = ["mprage.*(gd|km)", '\\bt1.*\\+c']
not_description = ["sub"]
min_slices = 60

[segment]
margins_mm = [2]
"""


def written(tmp_path, text):
    path = tmp_path / "node.toml"
    path.write_text(text)
    return path


def test_a_whole_file_is_read(tmp_path):
    options = read_node_file(written(tmp_path, WHOLE))
    assert options.segment.formats == ("dicom-seg", "sr", "rtstruct")
    assert options.segment.margins_mm == (2.0,)
    assert [target.wants("seg.dcm") for target in options.send] == [True, False]
    assert [target.wants("rtstruct.dcm") for target in options.send] == [True, True]
    assert options.listen.allows("10.1.99.1")
    assert (options.rule[0].min_slices, options.poll[0].days, options.keep_days) == (60, 2, 7)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (('allow_ips = ["10.1.0.0/16"]', ""), "listen: to listen on 0.0.0.0, beyond this machine, allow_ips must say"),
        (('"mprage', '"(mprage'), "is no regular expression"),
        (("quiet_s = 30", "quite_s = 30"), "quite_s: Extra inputs are not permitted"),
        (('name = "planning"', 'name = "pacs"'), "two targets in \\[\\[send\\]\\] have the same name"),
        (('objects = ["rtstruct"]', 'objects = ["secondary-capture"]'), "the target planning gets nothing"),
        (("margins_mm = [2]", "identify = true"), "its reports would name patients"),
        (('"https://pacs.example/dicom-web"', '"dimse://PACS@10.1.2.3:104"'), "only DICOMweb services are polled"),
        (("quiet_s = 30", "quiet_s = = 30"), "cannot be read"),
        (("margins_mm = [2]", 'engine = ""'), "segment.engine"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path, change, what):
    assert change[0] in WHOLE
    with pytest.raises(ConfigError, match=what):
        read_node_file(written(tmp_path, WHOLE.replace(*change)))


def test_a_file_without_a_source_or_no_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is no source"):
        read_node_file(written(tmp_path, 'store = "store"'))
    with pytest.raises(ConfigError, match=r"absent\.toml cannot be read"):
        read_node_file(tmp_path / "absent.toml")


def test_the_page_has_every_key_and_its_example_is_sound(root, tmp_path):
    page = (root / "docs" / "reference" / "node.md").read_text(encoding="utf-8")
    kinds = (NodeOptions, ListenOptions, Target, WatchOptions, PollOptions, Rule)
    known = set(re.findall(r"`(\w+)`", page)) | set(re.findall(r"\*\*`\[+(\w+)\]+`\*\*", page))
    assert {name for kind in kinds for name in kind.model_fields} - known == set()
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    options = read_node_file(written(tmp_path, example))
    assert matches(options.rule[0], facts(description="t1_space post"))
    assert not matches(options.rule[0], facts(description="t1 native"))


def facts(**more) -> SeriesFacts:
    values = {"name": "series 4", "modality": "MR", "description": "t1_mprage_sag Gd", "sequence": "*tfl3d1_ns GR"}
    return SeriesFacts(**{**values, "contrast": True, "slices": 176, **more})


@pytest.mark.parametrize(
    ("rule", "matched"),
    [
        ({}, True),
        ({"modality": "MR"}, True),
        ({"modality": "CT"}, False),
        ({"description": ("FLAIR", "MPRAGE.*gd")}, True),
        ({"description": ("flair", "^mprage")}, False),
        ({"not_description": ("sag",)}, False),
        ({"not_description": ("cor", "tra")}, True),
        ({"sequence": ("tfl3d",)}, True),
        ({"sequence": (r"\bse\b",)}, False),
        ({"not_sequence": (r"\bgr\b",)}, False),
        ({"contrast": True}, True),
        ({"contrast": False}, False),
        ({"min_slices": 177}, False),
        ({"min_slices": 176, "max_slices": 176}, True),
        ({"max_slices": 175}, False),
        ({"modality": "MR", "description": ("gd",), "min_slices": 200}, False),
    ],
)
def test_a_rule_asks_for_all_that_it_names(rule, matched):
    assert matches(Rule(name="a rule", **rule), facts()) is matched


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two series of one study: 40 slices of T1, and the first 12 of them as another one."""
    folder = tmp_path_factory.mktemp("study")
    phantom = make_phantom(make_grid(), LESIONS, noise=16)
    images = study_on_disk(folder / "one", phantom)
    others = []
    for path in images[:12]:
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = "1.2.77", f"1.2.77.{dataset.InstanceNumber}"
        dataset.SeriesNumber, dataset.SeriesDescription, dataset.ProtocolName = 7, "FLAIR", "FLAIR"
        dataset.SequenceName, dataset.ContrastBolusAgent = "*spcir_192", "none"
        others.append(folder / f"other {path.name}")
        dataset.save_as(others[-1])
    return images, others


def test_what_series_say_of_themselves_is_read(study):
    images, others = study
    first, second = read_series([*images, *others])
    assert (first.files, first.slices, first.modality, first.contrast) == (images, 40, "MR", True)
    assert (second.files, second.slices, second.name, second.contrast) == (others, 12, "series 7", False)
    assert second.sequence == "*spcir_192"
    assert "CANARY" not in repr(first) + repr(second)
    assert first.modality in {"MR", "CT"}
    assert len(IMAGE_CLASSES) == 6


def test_the_first_rule_that_finds_a_series_decides(study):
    images, others = study
    everything = [*images, *others]
    flair, ct = Rule(name="flair", description=("flair",)), Rule(name="ct", modality="CT")
    assert choose_files(everything, [ct, flair, Rule(name="all")], "set-aside").files == tuple(others)
    assert choose_files(everything, [Rule(name="all"), flair], "set-aside").files == tuple(everything)
    assert choose_files(everything, [ct], "choose") == choose_files(everything, [], "set-aside")
    with pytest.raises(InputError, match=r"No rule finds one of the 2 series to segment \(.*series 7\)"):
        choose_files(everything, [ct], "set-aside")


def test_files_of_two_patients_are_refused_whichever_series_is_meant(study, tmp_path):
    images, others = study
    stranger = pydicom.dcmread(others[0])
    stranger.PatientID = "CANARY^Two"
    stranger.save_as(tmp_path / "stranger")
    with pytest.raises(InputError, match="more than one patient"):
        choose_files([*images, tmp_path / "stranger"], [Rule(name="t1", description=("t1",))], "choose")
