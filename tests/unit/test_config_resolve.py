import pytest

from metseg.config.options import DEFAULT_FORMATS, SegmentOptions
from metseg.config.resolve import read_options_file, resolve_options
from metseg.core.errors import ConfigError


def test_defaults_stand_where_nothing_is_said():
    options = resolve_options()
    assert options == SegmentOptions()
    assert (options.model, options.engine, options.threads, options.operating_point) == (None, "openvino", 0, None)
    assert options.formats == DEFAULT_FORMATS == ("nifti", "json", "csv", "png", "html")


def test_flags_override_the_file():
    file = {"min_volume_mm3": 7, "threads": 2, "operating_point": "sensitive"}
    options = resolve_options(file=file, flags={"threads": 3, "min_volume_mm3": None})
    assert (options.operating_point, options.min_volume_mm3, options.threads) == ("sensitive", 7, 3)


@pytest.mark.parametrize(("given", "kept"), [("0.4", 0.4), (0.4, 0.4), ("balanced", "balanced"), (None, None)])
def test_an_operating_point_is_a_name_or_a_number(given, kept):
    assert SegmentOptions(operating_point=given).operating_point == kept


@pytest.mark.parametrize("given", ["0", "1", 1, 0, -0.1, "1.5", "nan"])
def test_a_probability_lies_inside_0_and_1(given):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        resolve_options(flags={"operating_point": given})


def test_formats_come_as_text_or_list_and_count_once():
    assert SegmentOptions(formats="json, nifti,json").formats == ("json", "nifti")
    assert SegmentOptions(formats=["csv"]).formats == ("csv",)
    with pytest.raises(ConfigError, match="at least one format"):
        resolve_options(flags={"formats": ","})
    with pytest.raises(ConfigError, match="formats"):
        resolve_options(flags={"formats": "docx"})


def test_every_problem_is_named_at_once_with_its_source():
    with pytest.raises(ConfigError) as error:
        resolve_options(file={"thread": 2, "min_volume_mm3": -1}, flags={"threads": -4, "operating_point": "2"})
    message = error.value.message
    assert message.startswith("4 options are wrong: ")
    assert "thread (options file): unknown" in message
    assert "min_volume_mm3 = -1 (options file)" in message
    assert "threads = -4 (flag)" in message
    assert "operating_point = '2' (flag): a probability must lie between 0 and 1" in message
    assert "min_volume_mm3" in error.value.hint


def test_an_options_file_is_read(tmp_path):
    path = tmp_path / "optionen für später.toml"
    path.write_text('[segment]\nmodel = "a"\nformats = ["nifti"]\noperating_point = 0.3\n', encoding="utf-8")
    options = resolve_options(file=read_options_file(path))
    assert (options.model, options.formats, options.operating_point) == ("a", ("nifti",), 0.3)
    path.write_text("")
    assert read_options_file(path) == {}


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("[segment\n", "not valid TOML"),
        ("[train]\nlr = 1\n", r"only a table \[segment\], not train"),
        ("threads = 2\n", "not threads"),
        ("segment = 3\n", "a plain value"),
    ],
)
def test_a_file_that_will_not_do_says_why(tmp_path, text, finding):
    path = tmp_path / "options.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=finding):
        read_options_file(path)


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_options_file(tmp_path / "none.toml")


def test_bytes_that_are_no_text_say_so(tmp_path):
    path = tmp_path / "options.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_options_file(path)


def test_dicom_options_are_lists_that_mean_what_they_say():
    options = resolve_options(file={}, flags={"formats": "nifti,sr", "margins_mm": "2, 1,1"})
    assert options.formats == ("nifti", "sr", "dicom-seg")
    assert options.margins_mm == (1.0, 2.0)
    assert resolve_options(file={"margins_mm": 1.5}, flags={}).margins_mm == (1.5,)


@pytest.mark.parametrize(
    "flags", [{"margins_mm": "0"}, {"margins_mm": "1;2"}, {"margins_mm": "nan"}, {"seg_type": "x"}]
)
def test_dicom_options_that_are_none_are_refused(flags):
    with pytest.raises(ConfigError, match=next(iter(flags))):
        resolve_options(file={}, flags=flags)
