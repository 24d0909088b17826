"""What names say of sequences, and doubts about what images were taken for."""

import pytest

from metseg.io.nnunet_channels import channel_doubts
from metseg.io.sequence_names import Told, sequence_doubts, sequences_in, without_sequence

FOUR = ("t1c", "t1n", "t2f", "t2w")


@pytest.mark.parametrize(
    ("text", "sequences"),
    [
        ("BraTS-MET-00001-000-t1c", "t1c"),
        ("BraTS-MET-00001-000-t1n", "t1n"),
        ("BraTS-MET-00001-000-t2f", "t2f"),
        ("BraTS-MET-00001-000-t2w", "t2w"),
        ("BraTS19_t1ce", "t1c"),
        ("UCSF_001_T1post", "t1c"),
        ("sub-01_ce-gadolinium_T1w", "t1c"),
        ("T1 mprage sag +C", "t1c"),
        ("t1_mprage_sag_p2_iso post KM", "t1c"),
        ("t1_mprage_nativ", "t1n"),
        ("T1 without contrast", "t1n"),
        ("Ax T1", "t1c t1n"),
        ("3D BRAVO", "t1c t1n"),
        ("Ax T2 FLAIR post", "t2f"),
        ("t2_tirm_tra_dark-fluid", "t2f"),
        ("t2_tirm_cor", ""),
        ("t2_space_sag", "t2w"),
        ("head CT", "ct"),
        ("ct1", "t1c"),
        ("T1 FLAIR", ""),
        ("t1 and t2", ""),
        ("Köpfe 1", ""),
        ("act10", ""),
        ("scan", ""),
        ("", ""),
    ],
)
def test_names_say(text, sequences):
    assert sequences_in(text) == set(sequences.split())


@pytest.mark.parametrize(
    ("name", "rest"),
    [("p_t1c", "p"), ("p-x_T1_post", "p_x"), ("p_FLAIR", "p"), ("p", "p"), ("t1c", ""), ("a b", "a_b")],
)
def test_names_without_their_sequence(name, rest):
    assert without_sequence(name) == rest


def told(**names):
    return {sequence: Told(name, sequences_in(name)) for sequence, name in names.items()}


def test_what_agrees_or_says_nothing_is_no_doubt():
    assert sequence_doubts(told(t1c="a_t1", t1n="a_T1w", t2f="a_flair", t2w="a_3"), FOUR) == ()


def test_a_swap_is_one_sentence():
    (doubt,) = sequence_doubts(told(t1c="a_flair", t1n="a_t1n", t2f="a_t1ce", t2w="a_t2"), FOUR)
    assert doubt == (
        "t1c and t2f look swapped: a_flair, read as t1c, is t2f by its name, and a_t1ce, read as t2f, is t1c by its "
        "name: if that is right, say so with --t1c FILE --t2f FILE, or number the files in the model's order "
        "(t1c, t1n, t2f, t2w)."
    )


def test_a_wrong_image_is_named_with_what_may_help():
    assert sequence_doubts(told(t1c="a_flair"), ("t1c",)) == (
        "a_flair was read as t1c, but by its name it is t2f: the model takes t1c.",
    )
    (doubt,) = sequence_doubts(told(t1c="a", t2f="b_t1"), ("t1c", "t2f"))
    assert doubt.startswith(
        "b_t1 was read as t2f, but by its name it is t1c or t1n: if that is right, say so with --t1c"
    )


def test_of_three_that_are_wrong_none_is_forgotten_or_told_twice():
    doubts = sequence_doubts(told(t2f="a_T1", t1c="b_flair", t1n="c_flair"), FOUR)
    assert [doubt.partition(",")[0] for doubt in doubts] == [
        "t2f and t1c look swapped: a_T1",
        "c_flair was read as t1n",
    ]


def test_a_header_speaks_before_a_name():
    (doubt,) = sequence_doubts({"t1c": Told("t1c.nii", frozenset({"t1c"}), frozenset({"t2w"}))}, ("t1c",))
    assert doubt == "t1c.nii was read as t1c, but by its DICOM header it is t2w: the model takes t1c."


def test_channels_that_were_declared_otherwise_than_they_are_called():
    assert channel_doubts(("FLAIR", "T1ce"), ("t1c", "t2f")) == (
        "dataset.json calls channel 0 'FLAIR', but it was declared as t1c. By their names the channels are t2f,t1c.",
        "dataset.json calls channel 1 'T1ce', but it was declared as t2f. By their names the channels are t2f,t1c.",
    )
    assert channel_doubts(("T1", "scan"), ("t1c", "t2f")) == ()
    assert channel_doubts(("FLAIR", "scan"), ("t1c", "t2f")) == (
        "dataset.json calls channel 0 'FLAIR', but it was declared as t1c.",
    )
