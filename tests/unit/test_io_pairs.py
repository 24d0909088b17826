"""Which files belong together, and whose they are."""

import pytest

from metseg.core.errors import ConfigError, InputError
from metseg.io.pairs import PairOptions, find_pairs


@pytest.fixture
def make(tmp_path):
    """Empty files by name; pairing reads none of them."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


def cases(pairing):
    return {pair.case: pair.prediction and pair.prediction.name for pair in pairing.pairs}


def test_plain_names_that_are_equal(make):
    top = make("p/a.nii.gz", "p/b.nrrd", "r/a.nii", "r/b.nii.gz", "r/notes.txt", "r/.hidden.nii")
    found = find_pairs(top / "p", top / "r")
    assert cases(found) == {"a": "a.nii.gz", "b": "b.nrrd"}
    assert [pair.patient for pair in found.pairs] == ["a", "b"]
    assert (found.missing, found.unmatched) == ((), ())


@pytest.mark.parametrize("options", [PairOptions(), PairOptions(pred_suffix="_pred", ref_suffix="_ref")])
def test_one_folder_with_suffixes(make, options):
    top = make("a_pred.nii.gz", "a_ref.nii.gz", "b_pred.nii.gz", "b_ref.nii.gz")
    assert cases(find_pairs(top, top, options)) == {"a": "a_pred.nii.gz", "b": "b_pred.nii.gz"}


def test_other_suffixes_leave_other_files_alone(make):
    top = make("p/a-ours.nii.gz", "p/a-theirs.nii.gz", "r/a/a-seg.nii.gz", "r/a/a-t1c.nii.gz")
    found = find_pairs(top / "p", top / "r", PairOptions(pred_suffix="-ours", ref_suffix="-seg"))
    assert cases(found) == {"a": "a-ours.nii.gz"}


def test_an_empty_suffix_is_a_plain_name(make):
    top = make("p/a_pred.nii.gz", "r/a_pred.nii.gz")
    assert cases(find_pairs(top / "p", top / "r", PairOptions(pred_suffix=""))) == {"a_pred": "a_pred.nii.gz"}


def test_missing_and_unmatched_are_listed(make):
    top = make("p/a.nii.gz", "p/c.nii.gz", "r/a.nii.gz", "r/b.nii.gz")
    found = find_pairs(top / "p", top / "r")
    assert cases(found) == {"a": "a.nii.gz", "b": None}
    assert (found.missing, found.unmatched) == (("b",), ("c",))


def test_probabilities_lie_beside_predictions(make):
    top = make("p/a.nii.gz", "p/a_prob.nii.gz", "p/b.nii.gz", "r/a.nii.gz", "r/b.nii.gz")
    found = find_pairs(top / "p", top / "r", PairOptions(prob_suffix="_prob"))
    assert [pair.probability and pair.probability.name for pair in found.pairs] == ["a_prob.nii.gz", None]
    assert found.unmatched == ()
    one = find_pairs(top / "p/a.nii.gz", top / "r/a.nii.gz", PairOptions(prob_suffix="_prob")).pairs[0]
    assert one.probability == top / "p/a_prob.nii.gz"
    with pytest.raises(InputError, match="There is no b_prob beside"):
        find_pairs(top / "p/b.nii.gz", top / "r/b.nii.gz", PairOptions(prob_suffix="_prob"))


def test_results_of_segment_bear_their_folders_names(make):
    result = [f"p/a/{name}" for name in ("run.json", "segmentation.nii.gz", "lesions.nii.gz", "probability.nii.gz")]
    top = make(*result, "r/a.nii.gz")
    (pair,) = find_pairs(top / "p", top / "r").pairs
    assert (pair.case, pair.prediction) == ("a", top / "p/a/segmentation.nii.gz")
    assert pair.probability == top / "p/a/probability.nii.gz"


def test_two_files_need_not_have_one_name(make):
    top = make("mine.nii.gz", "a_ref.nii.gz")
    (pair,) = find_pairs(top / "mine.nii.gz", top / "a_ref.nii.gz").pairs
    assert (pair.case, pair.prediction, pair.reference) == ("a", top / "mine.nii.gz", top / "a_ref.nii.gz")


def test_a_table_lists_files_and_patients(make):
    top = make("p/x.nii.gz", "p/x_prob.nii.gz", "r/1.nii.gz", "r/2.nii.gz", "r/3.nii.gz")
    (top / "map.csv").write_text(
        "\ufeffCase,Patient,prediction,reference,probability,age\n"
        "one,anna,x.nii.gz,1.nii.gz,x_prob.nii.gz,60\ntwo,anna,gone.nii.gz,2.nii.gz,,\n,ben,,3.nii.gz,,\n"
    )
    found = find_pairs(top / "p", top / "r", table=top / "map.csv")
    assert [(pair.case, pair.patient, pair.prediction is None) for pair in found.pairs] == [
        ("3", "ben", True),
        ("one", "anna", False),
        ("two", "anna", True),
    ]
    assert [pair.probability is None for pair in found.pairs] == [True, False, True]


def test_a_table_of_patients_alone(make):
    top = make("p/a_1.nii.gz", "p/a_2.nii.gz", "r/a_1.nii.gz", "r/a_2.nii.gz")
    (top / "map.csv").write_text("case,patient\na_1,anna\na_2,anna\n")
    assert {pair.patient for pair in find_pairs(top / "p", top / "r", table=top / "map.csv").pairs} == {"anna"}
    (top / "map.csv").write_text("case,patient\na_1,anna\n")
    with pytest.raises(InputError, match="no patient for 1 of 2 cases, first for a_2"):
        find_pairs(top / "p", top / "r", table=top / "map.csv")


def test_a_pattern_finds_the_patient(make):
    top = make("p/a_1.nii.gz", "p/a_2.nii.gz", "r/a_1.nii.gz", "r/a_2.nii.gz")

    def patients(regex):
        pairs = find_pairs(top / "p", top / "r", PairOptions(patient_regex=regex)).pairs
        return [pair.patient for pair in pairs]

    assert patients("^([^_]+)_") == ["a", "a"]
    assert patients("[0-9]") == ["1", "2"]
    with pytest.raises(InputError, match="finds no patient in the name a_2"):
        patients("1")
    with pytest.raises(ConfigError, match="no regular expression"):
        patients("(")
    (top / "map.csv").write_text("case,patient\na_1,anna\na_2,anna\n")
    with pytest.raises(ConfigError, match="by the table and by a pattern"):
        find_pairs(top / "p", top / "r", PairOptions(patient_regex="a"), top / "map.csv")


@pytest.mark.parametrize(
    ("names", "prediction", "reference", "finding"),
    [
        (["p/a.nii.gz", "r/b.nii.gz"], "p", "r", "predictions: a; references: b"),
        (["p/a.nii.gz", "r/x.txt"], "p", "r", "references: none"),
        (["p/a.nii.gz", "p/s/a.nii.gz", "r/a.nii.gz"], "p", "r", "Two files have the name of case a"),
        (["p/a.nii.gz", "r/a.nii.gz", "r/a.nrrd"], "p", "r", "Two files have the name of case a"),
        (["p/a.nii.gz", "r/a.nii.gz"], "p", "r/a.nii.gz", "One of the two is a folder"),
        (["p/a.nii.gz", "r/a.nii.gz"], "p", "none", "none does not exist"),
    ],
)
def test_what_cannot_be_paired_is_refused(make, names, prediction, reference, finding):
    top = make(*names)
    with pytest.raises(InputError, match=finding) as refused:
        find_pairs(top / prediction, top / reference)
    assert refused.value.hint
    assert str(top) not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", "has the columns none"),
        ("a,b\n1,2\n", "has the columns a, b"),
        ("case,patient\n", "no line below its header"),
        ("case,patient\na,anna\na,ben\n", "names case a twice"),
        ("prediction,reference\na.nii.gz,\n", "cell reference is empty in line 2"),
        ("prediction,reference\na.nii.gz,gone.nii.gz\n", "gone.nii.gz for case gone, but it is not there"),
        (b"case,patient\n\xff,x\n", "no table in UTF-8"),
    ],
)
def test_tables_that_are_wrong_are_refused(make, text, finding):
    top = make("p/a.nii.gz", "r/a.nii.gz")
    (top / "map.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=finding):
        find_pairs(top / "p", top / "r", table=top / "map.csv")
