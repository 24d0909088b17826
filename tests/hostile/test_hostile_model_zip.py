"""Zips said to hold models: refused in a sentence, or unpacked to where they belong, and gone afterwards."""

import zipfile
from pathlib import Path

import pytest

from hostile import make_zip
from metseg.core.errors import InputError, ModelError
from metseg.io.limits import MODEL_LIMITS, Limits
from metseg.io.nnunet_folder import find_trained
from metseg.io.nnunet_zip import models_folder

TRAINED = "nnUNetTrainer__nnUNetPlans__3d_fullres"
FILES = (("plans.json", b"{}"), ("dataset.json", b"{}"), ("fold_0/checkpoint_final.pth", b"weights"))
# What stops the reading of images stops models too, unless it is about an image: then the zip holds no model.
NO_MODEL = "There is no trained nnU-Net model in study.zip"
ABOUT_IMAGES = ("There is no image", "is cut off")
OF_WHAT_IS_UNPACKED = {"zip: less declared than packed", "zip: more declared than packed", "zip: byte flipped"}


def look_into(path: Path, limits: Limits = MODEL_LIMITS) -> list[str]:
    """The files that a zip gives, once models were found in them."""
    with models_folder(path, limits) as folder:
        find_trained(folder)
        return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())


def model(prefix: str, *more, method=zipfile.ZIP_DEFLATED) -> bytes:
    return make_zip.zipped(*((f"{prefix}{name}", content) for name, content in FILES), *more, method=method)


@pytest.mark.parametrize("kind", make_zip.REFUSED)
def test_every_hostile_zip_is_refused(tmp_path, room, kind):
    hostile = make_zip.REFUSED[kind]
    path = tmp_path / "in" / "study.zip"
    path.parent.mkdir()
    path.write_bytes(hostile.make())
    says = NO_MODEL if kind in OF_WHAT_IS_UNPACKED or hostile.says in ABOUT_IMAGES else hostile.says
    with pytest.raises((InputError, ModelError)) as refusal:
        look_into(path)
    assert says in refusal.value.message
    assert refusal.value.hint
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["in", "room", "study.zip"]


def test_a_damaged_checkpoint_in_it_is_found_before_anything_is_read(tmp_path, room):
    content = bytearray(model(f"Dataset001_Mets/{TRAINED}/", method=zipfile.ZIP_STORED))
    content[content.index(b"weights") + 3] ^= 0xFF
    path = tmp_path / "models.zip"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"models.zip is no whole zip, or a file in it is damaged"):
        look_into(path)


def test_a_bomb_is_refused_by_its_ratio_or_its_size(tmp_path, room):
    path = tmp_path / "models.zip"
    path.write_bytes(model(f"Dataset001_Mets/{TRAINED}/", ("zeros.bin", bytes(4 << 20))))
    assert len(look_into(path)) == 3
    with pytest.raises(InputError, match=r"would unpack \d,\d+ bytes to 4,194,\d+: no honest zip shrinks over 20 to 1"):
        look_into(path, MODEL_LIMITS.model_copy(update={"ratio_free_bytes": 1 << 20}))
    with pytest.raises(InputError, match=r"would unpack to 4,194,\d+ bytes; the limit is 1,048,576"):
        look_into(path, MODEL_LIMITS.model_copy(update={"max_bytes": 1 << 20}))


@pytest.mark.parametrize(
    ("prefix", "dataset"),
    [
        (f"Dataset001_Mets/{TRAINED}/", "Dataset001_Mets"),
        (f"home/me/nnUNet_results/Dataset001_Mets/{TRAINED}/", "Dataset001_Mets"),
        (f"{TRAINED}/", "my models"),
        (f"Müller: a\\b/{TRAINED}/", "Müller_ a_b"),
    ],
)
def test_only_what_a_model_needs_is_unpacked_at_any_depth(tmp_path, room, prefix, dataset):
    beside = [(f"{prefix}{name}", b"x") for name in ("fold_0/progress.png", "fold_0/validation/summary.json", "a.json")]
    path = tmp_path / "my models.zip"
    path.write_bytes(model(prefix, *beside, ("plans.json", b"{}"), (f"{prefix}fold_1/checkpoint_best.pth", b"y")))
    assert look_into(path) == [
        f"{dataset}/{TRAINED}/{name}"
        for name in ("dataset.json", "fold_0/checkpoint_final.pth", "fold_1/checkpoint_best.pth", "plans.json")
    ]


def test_two_models_that_would_lie_in_one_place_are_refused(tmp_path, room):
    path = tmp_path / "models.zip"
    path.write_bytes(model(f"a/D/{TRAINED}/", (f"b/D/{TRAINED}/plans.json", b"{}")))
    with pytest.raises(InputError, match=r"Two files in models.zip have names that differ too little"):
        look_into(path)
