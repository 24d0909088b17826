"""Many cases in several processes, some of which die."""

from judge_cases import GRID, guess, judge_and_stay_silent, judge_or_die, truth, write, write_pairs
from metseg.config.evaluation import JudgeOptions
from metseg.io.pairs import find_pairs
from metseg.pipeline.judge_case import FailedCase, JudgedCase
from metseg.pipeline.judge_folder import judge_pairs

OPTIONS = JudgeOptions(profiles=("field",))


def test_a_worker_that_dies_costs_its_case_only(tmp_path):
    names = ("a", "b", "dies1", "c", "dies2", "d")
    told = []
    found = judge_pairs(
        find_pairs(*write_pairs(tmp_path, names)).pairs,
        OPTIONS,
        jobs=2,
        progress=lambda done, total, what: told.append((done, total, what)),
        judge=judge_or_die,
    )
    assert [outcome.case for outcome in found] == sorted(names)
    dead = [outcome for outcome in found if isinstance(outcome, FailedCase)]
    assert [outcome.case for outcome in dead] == ["dies1", "dies2"]
    assert {outcome.kind for outcome in dead} == {"BrokenProcessPool"}
    assert all("--jobs" in outcome.hint and outcome.exit_code == 1 for outcome in dead)
    dices = [outcome.judgement.field.dice for outcome in found if isinstance(outcome, JudgedCase)]
    assert dices == [96 / 163] * 4
    assert [done for done, _, _ in told] == [1, 2, 3, 4, 5, 6]
    assert {total for _, total, _ in told} == {6}


def test_an_answer_that_cannot_be_sent_costs_its_case_only(tmp_path):
    found = judge_pairs(
        find_pairs(*write_pairs(tmp_path, ("a", "mute"))).pairs, OPTIONS, jobs=1, judge=judge_and_stay_silent
    )
    assert isinstance(found[0], JudgedCase)
    assert isinstance(found[1], FailedCase)
    assert found[1].kind == "TypeError"


def test_a_case_that_fails_is_an_answer(tmp_path):
    folders = write_pairs(tmp_path, ("a",))
    write(folders[0] / "b.nii.gz", guess())
    write(folders[1] / "b.nii.gz", truth() * 7)
    (folders[0] / "c.nii.gz").write_bytes(b"no gzip")
    write(folders[1] / "c.nii.gz", truth(), GRID)
    found = judge_pairs(find_pairs(*folders).pairs, OPTIONS)
    assert [type(outcome) for outcome in found] == [JudgedCase, FailedCase, FailedCase]
    assert "label values that are not scored: 7" in found[1].message
    assert (found[1].kind, found[1].exit_code) == ("InputError", 2)
    assert "Traceback" in found[1].details
