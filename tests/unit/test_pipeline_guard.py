"""The modality guard on made-up intensities and on every real image at hand."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.core.study import Source, Study
from metseg.core.volume import ProbabilityMap, Volume
from metseg.engines.threshold_engine import CARD as MR_CARD
from metseg.pipeline.guard import check_brain, check_modality
from metseg.pipeline.intensity import foreground_volume_mm3, measure_intensity

SHAPE = (62, 70, 50)
GRID = Grid.isotropic(SHAPE, 2.5)
CT_CARD = MR_CARD.model_copy(update={"modality": "CT", "sequences": ("ct",), "name": "ct-model"})


def head(scalp, bone, brain, air, spread, seed=0) -> np.ndarray:
    """Nested ellipsoids: scalp, skull, brain, in air; ``spread`` is the standard deviation inside."""
    points = (np.moveaxis(np.indices(SHAPE), 0, -1) - (np.array(SHAPE) - 1) / 2) / (np.array(SHAPE) / 2)
    radius = np.linalg.norm(points, axis=-1)
    image = np.select([radius < 0.75, radius < 0.85, radius < 0.95], [brain, bone, scalp], air).astype(float)
    return image + spread * np.random.default_rng(seed).standard_normal(SHAPE)


def hounsfield() -> np.ndarray:
    return head(scalp=20, bone=900, brain=35, air=-1000, spread=12)


def mr() -> np.ndarray:
    return np.abs(head(scalp=180, bone=20, brain=110, air=0, spread=14))


def cormack(hu: np.ndarray) -> np.ndarray:
    """Rorden's stretch: from -100 to 100 HU ten times as steep."""
    shifted = hu + 1024
    return np.clip(shifted, 0, None) + 9 * np.clip(shifted - 900, 0, 200)


def study_of(array, sequence="t1c", grid=GRID, headers=None, **more) -> Study:
    image = Volume(np.asarray(array, dtype=np.float32), grid)
    return Study("case", {sequence: image}, Source(headers=headers or {}), **more)


def test_mr_passes_without_a_word():
    assert check_modality(study_of(mr()), MR_CARD) == []


@pytest.mark.parametrize(("scale", "offset"), [(0.01, 0), (30, 0), (1, -110), (23, 0), (0.0001, 0)])
def test_mr_passes_in_any_range(scale, offset):
    assert check_modality(study_of(mr() * scale + offset), MR_CARD) == []


@pytest.mark.parametrize(
    ("units", "found"),
    [
        (lambda hu: hu, "CT in Hounsfield units,"),
        (lambda hu: hu + 1024, "CT in Hounsfield units shifted by about 1000"),
        (cormack, "stretched"),
    ],
)
def test_ct_in_any_units_is_refused_by_a_model_for_mr(units, found):
    with pytest.raises(InputError, match=found) as error:
        check_modality(study_of(units(hounsfield())), MR_CARD)
    assert "--force-modality" in error.value.hint


def test_ct_passes_a_model_for_ct():
    assert check_modality(study_of(hounsfield(), "ct"), CT_CARD) == []


def test_mr_is_refused_by_a_model_for_ct():
    with pytest.raises(InputError, match="not Hounsfield units"):
        check_modality(study_of(mr(), "ct"), CT_CARD)


def test_a_stripped_ct_is_believed_if_its_header_says_so():
    stripped = np.where(hounsfield() > -500, hounsfield(), 0)
    with pytest.raises(InputError, match="not Hounsfield units"):
        check_modality(study_of(stripped, "ct"), CT_CARD)
    assert check_modality(study_of(stripped, "ct", headers={"Modality": "CT"}), CT_CARD) == []


@pytest.mark.parametrize("modality", ["CT", "PT", "SEG"])
def test_the_headers_modality_is_refused_where_it_differs(modality):
    with pytest.raises(InputError, match=f"header says modality {modality}"):
        check_modality(study_of(mr(), headers={"Modality": modality}), MR_CARD)


def test_force_turns_a_refusal_into_a_warning():
    (warning,) = check_modality(study_of(hounsfield()), MR_CARD, force=True)
    assert warning.startswith("Segmented although the check of the modality refused it: the intensities of t1c")


def test_a_wrong_number_of_images_is_told_with_the_order_and_the_repair():
    card = MR_CARD.model_copy(update={"name": "four", "sequences": ("t1c", "t1n", "t2f")})
    with pytest.raises(InputError) as caught:
        check_modality(study_of(mr()), card)
    assert caught.value.message == (
        f"Study {study_of(mr()).case} lacks t1n, t2f: the model four takes t1c, t1n, t2f in this order, but the study "
        "has 1 image (t1c)."
    )
    assert "(--t1c FILE --t1n FILE --t2f FILE)" in caught.value.hint


def test_a_missing_sequence_is_no_matter_of_force():
    with pytest.raises(InputError, match="lacks t1c"):
        check_modality(study_of(mr(), "t1n"), MR_CARD, force=True)


def test_a_label_map_is_refused_whether_it_has_few_values_or_many():
    few = np.digitize(mr(), [40, 90, 130]).astype(float)
    with pytest.raises(InputError, match="as a label map does"):
        check_modality(study_of(few), MR_CARD)
    blocks = np.kron(np.arange(64).reshape(4, 4, 4), np.ones((16, 16, 16)))
    assert measure_intensity(Volume(blocks, Grid.isotropic((64, 64, 64)))).distinct is None
    with pytest.raises(InputError, match="as a label map does"):
        check_modality(study_of(blocks, grid=Grid.isotropic((64, 64, 64), 2)), MR_CARD)


def test_a_fraction_among_whole_numbers_makes_it_no_label_map():
    array = np.zeros((130, 130, 130), dtype=np.float32)
    array[60:70] = 3
    array[61, 61, 61] = 2.5  # the sample of every second or so voxel misses it
    assert measure_intensity(Volume(array, Grid.isotropic(array.shape))).distinct is None


def test_noisy_eight_bit_mr_is_no_label_map():
    assert not measure_intensity(Volume(np.rint(mr()).astype(np.uint8), GRID)).is_label_map


def warnings_of(**changes) -> str:
    return " ".join(check_modality(study_of(mr(), **changes), MR_CARD))


def test_doubts_are_warnings():
    assert "no contrast agent" in warnings_of(headers={"ContrastBolusAgent": "absent", "Modality": "MR"})
    plain = study_of(hounsfield(), "ct", headers={"ContrastBolusAgent": "absent", "Modality": "CT"})
    assert "no contrast agent" in " ".join(check_modality(plain, CT_CARD))
    assert warnings_of(headers={"ContrastBolusAgent": "present", "Modality": "MR"}) == ""
    assert "4.0 mm apart" in warnings_of(grid=Grid(SHAPE, np.diag([2.5, 2.5, 4.0, 1])))
    assert "more than the model was tried on" in warnings_of(grid=Grid(SHAPE, np.diag([2.5, 2.5, 7.0, 1])))
    assert "covers only 50 mm" in warnings_of(grid=Grid(SHAPE, np.diag([2.5, 2.5, 1.0, 1])))
    assert "less than a brain" in warnings_of(grid=Grid.isotropic(SHAPE, 1.4))


def test_a_model_for_stripped_images_doubts_a_skull():
    card = MR_CARD.model_copy(update={"skull_stripped": "yes"})
    assert "without skull" in " ".join(check_modality(study_of(mr(), skull_stripped=False), card))
    assert check_modality(study_of(mr(), skull_stripped=True), card) == []
    assert check_modality(study_of(mr()), card) == []


def test_little_brain_in_the_models_own_eyes_is_a_warning():
    grid = Grid.isotropic((20, 30, 40), 5.0)
    probability = np.zeros((2, *grid.shape), dtype=np.float32)
    probability[1, :10, :10, :10] = 0.9
    found = ProbabilityMap(probability, grid, ("lesion", "brain"))
    assert check_brain(found) == ["The model recognised only 125 mL of brain; nothing was looked for elsewhere."]
    full = ProbabilityMap(np.full_like(probability, 0.9), grid, ("lesion", "brain"))
    assert check_brain(full) == []
    assert check_brain(replace(found, classes=("lesion", "other"))) == []


def test_statistics_are_those_of_the_image():
    array = np.full((20, 20, 20), 40.0)
    array[:, :, :5] = -1000
    array[:, :, 5] = 1000
    array[0, 0, 6:8] = np.nan
    facts = measure_intensity(Volume(array, Grid.isotropic(array.shape)))
    voxels = 8000 - 2
    assert (facts.minimum, facts.maximum) == (-1000, 1000)
    assert facts.air == pytest.approx(2000 / voxels)
    assert facts.soft == pytest.approx(5598 / voxels)
    assert facts.bone == pytest.approx(400 / voxels)
    assert facts.peak == pytest.approx(1040, rel=0.04)
    assert foreground_volume_mm3(Volume(array, Grid.isotropic(array.shape, 2))) == pytest.approx(5998 * 8)


def test_an_empty_image_has_statistics_too():
    facts = measure_intensity(Volume(np.zeros((5, 6, 7)), Grid.isotropic((5, 6, 7))))
    assert (facts.peak, facts.peak_share, facts.looks_like) == (0, 0, None)


def real(path) -> Study:
    image = nib.load(path)
    array = np.asarray(image.dataobj)
    array = array[..., 0] if array.ndim == 4 else array
    return study_of(array, grid=Grid(array.shape, image.affine))


def test_every_real_mr_image_is_accepted_as_mr(shared):
    images = [
        *shared("data", "tumours").rglob("*t1ce.nii.gz"),
        *(path for path in shared("data", "mets").rglob("*-t*.nii.gz") if "pred" not in path.name),
        *(path for path in shared("data", "hosts_t1c").rglob("*_MNI.nii.gz") if "GT" not in path.name),
        shared("data", "templates", "brainchop_t1", "t1_crop.nii.gz"),
        shared("data", "templates", "mricron_templates", "ch2.nii.gz"),
        shared("data", "templates", "mricron_templates", "ch2bet.nii.gz"),
    ]
    assert len(images) >= 37
    assert {path.name: check_modality(real(path), MR_CARD) for path in images} == {path.name: [] for path in images}


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        (("hosts_ct", "invesalius_cranium", "cranium_ct.nii.gz"), "Hounsfield units, but"),
        (("templates", "rorden_ct", "scct.nii"), "stretched"),
        (("templates", "rorden_ct", "scct_stripped.nii"), "stretched"),
        (("hosts_labels", "training_seg_01.nii.gz"), "label map"),
        (("templates", "mricron_templates", "aal.nii.gz"), "label map"),
        (("mets_masks", "BraTS-MET-00132-000-seg.nii.gz"), "label map"),
        (("hosts_t1c", "open_ms", "patient26", "MSlesion_GT_MNI.nii.gz"), "label map"),
    ],
)
def test_real_ct_and_real_label_maps_are_refused_as_mr(shared, parts, found):
    with pytest.raises(InputError, match=found):
        check_modality(real(shared("data", *parts)), MR_CARD)


def test_the_real_ct_is_accepted_as_ct(shared):
    study = real(shared("data", "hosts_ct", "invesalius_cranium", "cranium_ct.nii.gz"))
    assert check_modality(Study("ct", {"ct": study.images["t1c"]}), CT_CARD) == []
