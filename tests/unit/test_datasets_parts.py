"""Small parts of the import of data sets: labels as text, hashes, groups, slices, plug-ins."""

from importlib.metadata import EntryPoint

import numpy as np
import pytest
from PIL import Image

from metseg.core import registry
from metseg.core.errors import ConfigError, InputError
from metseg.core.grid import Grid
from metseg.core.volume import Volume
from metseg.datasets import catalogue
from metseg.datasets.label_order import oedema_outshines
from metseg.datasets.label_text import parse_labels
from metseg.datasets.manifest import leak_groups
from metseg.datasets.ready_case import voxels_sha256
from metseg.datasets.source import LESION, PRE_TREATMENT, SUBREGIONS
from metseg.datasets.synthetic import SynthesisOptions
from metseg.io.png_stack import read_png_stack
from metseg.io.tables import csv_text, read_table
from metseg.preprocess.reorient import Reorient
from metseg.synthesis.hosts import HELD_OUT_LABELS, find_hosts


@pytest.mark.parametrize(
    ("text", "labels", "scheme"),
    [
        ("1=NETC, 2=SNFH,3=et", {1: 1, 2: 2, 3: 3}, PRE_TREATMENT),
        ("1=ET,4=RC", {1: 3, 4: 4}, SUBREGIONS),
        ("255=lesion,3=0", {255: 1, 3: 0}, LESION),
        ("2=1,3=background", {2: 1, 3: 0}, LESION),
    ],
)
def test_labels_as_text(text, labels, scheme):
    assert parse_labels(text, LESION) == (labels, scheme)


def test_seen_and_unseen_hosts_are_all_hosts_and_share_none(tmp_path):
    (tmp_path / "hosts_labels").mkdir()
    for name in ("training_seg_01", "training_seg_17", *HELD_OUT_LABELS):
        (tmp_path / "hosts_labels" / f"{name}.nii.gz").touch()
    chosen = {
        kind: {host.name for host in find_hosts(tmp_path, held_out=SynthesisOptions(**dials).held_out)}
        for kind, dials in (("seen", {"seen": True}), ("unseen", {"unseen": True}), ("all", {}))
    }
    assert chosen["seen"] == {"training_seg_01", "training_seg_17"}
    assert chosen["unseen"] == set(HELD_OUT_LABELS)
    assert chosen["all"] == chosen["seen"] | chosen["unseen"]
    with pytest.raises(ValueError, match="seen or unseen, not both"):
        SynthesisOptions(seen=True, unseen=True)


@pytest.mark.parametrize("text", ["1=2", "x=1", "1", "1=1,1=0", "1=", "1=liver"])
def test_labels_that_say_nothing_or_too_much(text):
    with pytest.raises(ConfigError):
        parse_labels(text, LESION)


def test_equal_voxels_have_equal_hashes_however_they_lie(make_volume):
    volume = make_volume()
    array, grid = Reorient().apply(volume.array, volume.grid)
    turned = Volume(array, grid)
    assert turned.array.shape != volume.array.shape
    assert voxels_sha256(turned) == voxels_sha256(volume)
    assert voxels_sha256(Volume(volume.array.astype(np.int32), volume.grid)) == voxels_sha256(volume)
    changed = volume.array.copy()
    changed[3, 2, 1] += 1
    assert voxels_sha256(Volume(changed, volume.grid)) != voxels_sha256(volume)
    flat = Grid.isotropic((13 * 11, 7, 1))
    assert voxels_sha256(Volume(volume.array.reshape(13 * 11, 7, 1), flat)) != voxels_sha256(volume)


def test_groups_join_patients_through_twins():
    patients = {"a1": "a", "a2": "a", "b1": "b", "c1": "c", "d1": "d"}
    groups = leak_groups(patients, [("b1", "c1"), ("a2", "c1")])
    assert groups == {"a1": "a", "a2": "a", "b1": "a", "c1": "a", "d1": "d"}
    assert leak_groups(patients, []) == patients


def test_which_of_two_labels_is_brighter():
    labels = np.zeros((4, 3, 2), dtype=np.uint8)
    labels[0], labels[1] = 2, 3
    image = np.where(labels == 3, 9.0, np.where(labels == 2, 5.0, 1.0))
    assert oedema_outshines(image, labels) is False
    assert oedema_outshines(-image, labels) is True
    assert oedema_outshines(image, np.where(labels == 3, 0, labels).astype(np.uint8)) is None


def slices(folder, names, shape=(17, 21), mode=np.uint8):
    folder.mkdir()
    rng = np.random.default_rng(1)
    arrays = [rng.integers(0, 200, shape).astype(mode) for _ in names]
    for name, array in zip(names, arrays, strict=True):
        Image.fromarray(array).save(folder / name)
    return arrays


def test_slices_become_a_volume_in_the_order_of_their_numbers(tmp_path):
    names = [f"{n}.png" for n in range(9, 27)]  # 10 sorts before 9 as text
    arrays = slices(tmp_path / "s", names)
    image = read_png_stack(tmp_path / "s", (0.5, 0.7, 3.0), "PSR")
    assert image.volume.grid.shape == (21, 17, 18)
    assert np.array_equal(image.volume.array, np.stack([a.T for a in arrays], axis=-1))
    assert image.volume.grid.axis_codes == "PSR"
    assert image.volume.grid.spacing_mm == pytest.approx((0.5, 0.7, 3.0))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "5.png").unlink(), "Slice 5 is missing"),
        (lambda f: (f / "5.png").write_bytes((f / "5.png").read_bytes()[:60]), "no whole PNG"),
        (lambda f: Image.new("RGB", (21, 17)).save(f / "5.png"), "no grey picture"),
        (lambda f: Image.new("L", (21, 18)).save(f / "5.png"), "differ in size"),
        (lambda f: (f / "5.png").rename(f / "five.png"), "no number of its own"),
        (lambda f: Image.new("L", (21, 17)).save(f / "05.png"), "no number of its own"),
        (lambda f: [p.unlink() for p in f.iterdir()], "There is no PNG"),
    ],
)
def test_slices_that_are_no_stack_are_refused(tmp_path, spoil, words):
    slices(tmp_path / "s", [f"{n}.png" for n in range(18)])
    spoil(tmp_path / "s")
    with pytest.raises(InputError, match=words):
        read_png_stack(tmp_path / "s", (1.0, 1.0, 1.0), "LPS")


@pytest.mark.parametrize("axes", ["LPX", "LRS", "LP"])
def test_axes_that_are_none(tmp_path, axes):
    slices(tmp_path / "s", [f"{n}.png" for n in range(18)])
    with pytest.raises(ConfigError):
        read_png_stack(tmp_path / "s", (1.0, 1.0, 1.0), axes)


def test_a_table_comes_back_as_it_was_written(tmp_path):
    rows = [{"a": "=1+1", "b": "x,y"}, {"a": "-7", "b": 'say "so"'}, {"a": "plain", "b": ""}]
    (tmp_path / "t.csv").write_text(csv_text(["a", "b"], rows), encoding="utf-8")
    assert read_table(tmp_path / "t.csv", required=("a",)) == rows
    with pytest.raises(InputError, match="lacks the column c"):
        read_table(tmp_path / "t.csv", required=("c",))
    (tmp_path / "u.csv").write_text("a,b\n1,2,3\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"Line 2 of u\.csv has 3 cells"):
        read_table(tmp_path / "u.csv")


def test_a_plug_in_is_a_layout_like_any(monkeypatch):
    points = [
        EntryPoint("mine", "metseg.datasets.adapters.motum:MOTUM", "metseg.datasets"),
        EntryPoint("broken", "metseg.core.grid:Grid", "metseg.datasets"),
    ]
    monkeypatch.setattr(
        registry,
        "entry_points",
        lambda group, name=None: [p for p in points if p.group == group and name in {None, p.name}],
    )
    assert {"mine", "broken"} <= set(catalogue.DATASETS.names())
    assert catalogue.load_adapter("mine").name == "motum"
    with pytest.raises(ConfigError, match="is no adapter"):
        catalogue.load_adapter("broken")


@pytest.mark.parametrize("name", sorted(catalogue.DATASETS.builtin))
def test_adapters_are_called_as_they_are_listed(name):
    adapter = catalogue.load_adapter(name)
    assert adapter.name == name
    assert set(adapter.overlaps) <= set(catalogue.DATASETS.builtin)
    assert list(adapter.scheme) == list(range(1, len(adapter.scheme) + 1))
    for other, what in adapter.overlaps.items():
        assert what
        assert name in catalogue.load_adapter(other).overlaps, f"{other} does not know of {name}"
