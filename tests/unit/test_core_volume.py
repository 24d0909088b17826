import numpy as np
import pytest

from metseg.core.errors import InputError
from metseg.core.volume import LabelMap, ProbabilityMap, Volume


def test_a_volume_is_read_only_but_leaves_the_givers_array_alone(oblique_grid):
    array = np.zeros(oblique_grid.shape, dtype=np.float32)
    volume = Volume(array, oblique_grid)
    with pytest.raises(ValueError, match="read-only"):
        volume.array[0, 0, 0] = 1
    with pytest.raises(AttributeError):
        volume.array = array
    array[0, 0, 0] = 1  # still the giver's to change
    assert np.shares_memory(array, volume.array)


@pytest.mark.parametrize("holder", [Volume, LabelMap])
def test_array_and_grid_must_agree(holder, oblique_grid):
    with pytest.raises(InputError, match=r"\(7, 11, 13\).*\(13, 11, 7\)"):
        holder(np.zeros((7, 11, 13), dtype=np.uint8), oblique_grid)


@pytest.mark.parametrize("dtype", ["bool", "complex64", "datetime64[s]", "U4"])
def test_a_volume_holds_real_numbers(dtype, oblique_grid):
    with pytest.raises(InputError, match="real numbers"):
        Volume(np.zeros(oblique_grid.shape).astype(dtype), oblique_grid)


@pytest.mark.parametrize("dtype", ["int16", "float32", "bool"])
def test_a_label_map_holds_unsigned_whole_numbers(dtype, oblique_grid):
    with pytest.raises(InputError, match="unsigned"):
        LabelMap(np.zeros(oblique_grid.shape, dtype=dtype), oblique_grid)


def test_the_names_of_labels_cannot_be_changed(oblique_grid):
    names = {1: "lesion"}
    labels = LabelMap(np.zeros(oblique_grid.shape, dtype=np.uint8), oblique_grid, names)
    names[2] = "oedema"
    assert dict(labels.labels) == {1: "lesion"}
    with pytest.raises(TypeError):
        labels.labels[2] = "oedema"


def test_a_probability_map_is_found_by_class(oblique_grid):
    array = np.stack([np.full(oblique_grid.shape, p, dtype=np.float32) for p in (0.25, 0.75)])
    probabilities = ProbabilityMap(array, oblique_grid, ("core", "oedema"))
    assert probabilities.of("oedema")[3, 2, 1] == 0.75
    assert not probabilities.of("core").flags.writeable


@pytest.mark.parametrize(
    ("channels", "dtype", "message"), [(1, "float32", "should have shape"), (2, "float64", "must be float32")]
)
@pytest.mark.usefixtures("any_types")
def test_a_probability_map_has_a_float32_channel_a_class(channels, dtype, message, oblique_grid):
    with pytest.raises(InputError, match=message):
        ProbabilityMap(np.zeros((channels, *oblique_grid.shape), dtype=dtype), oblique_grid, ("core", "oedema"))
