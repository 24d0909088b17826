"""Several studies in one run: the neighbours overlap, and nobody can tell from the results."""

import json
from threading import Barrier, current_thread, main_thread

import pytest

from end_to_end.cases import QUICK, hashes, manifest_of
from metseg.config.options import SegmentOptions
from metseg.core.errors import InputError
from metseg.engines.threshold_engine import ThresholdEngine
from metseg.io.discover import find_sources
from metseg.pipeline import outputs
from metseg.pipeline.batch import run_batch
from metseg.report import pictures

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def cases(scan):
    for name in NAMES:
        (scan.parent / f"{name}.nii.gz").write_bytes(scan.read_bytes())
    scan.unlink()
    return find_sources([scan.parent])


def without_times(out):
    found = hashes(out)
    for name in NAMES:
        manifest = manifest_of(out / name)
        del manifest["timings_s"]
        found[f"{name}/run.json"] = json.dumps(manifest)
    return found


def test_a_batch_gives_what_its_cases_give_one_at_a_time(cases, tmp_path, engine):
    together = run_batch(cases, tmp_path / "together", lambda *_: engine, QUICK)
    apart = [run_batch([case], tmp_path / "apart", lambda *_: engine, QUICK)[0] for case in cases]
    assert [outcome.case for outcome in together] == list(NAMES)
    assert [outcome.volume_mm3 for outcome in together] == [outcome.volume_mm3 for outcome in apart]
    assert len(hashes(tmp_path / "together")) == len(NAMES) * 5
    assert without_times(tmp_path / "together") == without_times(tmp_path / "apart")
    for outcome in together:  # neighbours overlap, but no case is charged with another's time
        assert sum(manifest_of(outcome.folder)["timings_s"].values()) <= outcome.seconds + 0.01


def test_pictures_are_drawn_by_the_calling_thread_alone(cases, out, engine, monkeypatch):
    drawn, read, predicted = [], [], []
    draw = pictures.draw_pictures
    monkeypatch.setattr(pictures, "draw_pictures", lambda result: drawn.append(current_thread()) or draw(result))

    class Watched(ThresholdEngine):
        def predict(self, study, **more):
            predicted.append(current_thread())
            return super().predict(study, **more)

    def choose(*_):
        read.append(current_thread())
        return Watched()

    run_batch(cases, out, choose, SegmentOptions(engine="threshold", formats="png"))
    assert drawn == [main_thread()] * 4
    assert main_thread() not in {*read, *predicted}
    run_batch(cases[:1], out, choose, SegmentOptions(engine="threshold", formats="json"), force=True)
    assert read[-1] == predicted[-1] == main_thread()


def test_an_engine_that_prepares_does_so_beside_the_network(cases, out, engine):
    meeting, failing = Barrier(2, timeout=60), []

    class Preparing(ThresholdEngine):
        def prepare(self, study):
            if study.case == "b":
                meeting.wait()
            if study.case in failing:
                raise ValueError

            def run(progress):
                if study.case == "a":
                    meeting.wait()
                return self.predict(study, progress=progress)

            return run

    run_batch(cases, out / "prepared", lambda *_: Preparing(), QUICK)
    run_batch(cases, out / "plain", lambda *_: engine, QUICK)
    assert without_times(out / "prepared") == without_times(out / "plain")
    failing.append("d")
    (outcome,) = run_batch(cases[3:], out / "failed", lambda *_: Preparing(), QUICK)
    assert outcome.message == "The engine threshold failed on study d with ValueError."


def test_progress_never_goes_back_and_tells_of_one_case_after_the_other(cases, out, engine):
    heard = []
    run_batch(
        cases, out, lambda *_: engine, QUICK, progress=lambda done, total, what: heard.append((done / total, what))
    )
    shares = [share for share, _ in heard]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    named = [what.partition(": ")[0] for _, what in heard]
    assert named == sorted(named)
    assert set(named) == set(NAMES)


def test_each_stage_may_fail_and_stops_nobody(cases, out, monkeypatch):
    class Engine(ThresholdEngine):
        def predict(self, study, **more):
            if study.case == "b":
                raise MemoryError
            return super().predict(study, **more)

    def choose(case_input, _):
        if case_input.case == "a":
            raise InputError("No.", hint="None.")
        return Engine()

    def write(path, *rest, write=outputs.write_lesions_csv, **more):
        if "c.partial" in str(path):
            raise MemoryError
        write(path, *rest, **more)

    monkeypatch.setattr(outputs, "write_lesions_csv", write)
    told = []
    outcomes = run_batch(cases, out, choose, QUICK, on_outcome=lambda outcome: told.append(outcome.case))
    memory = "There was not enough memory for this case."
    assert [outcome.message for outcome in outcomes] == ["No.", memory, memory, ""]
    assert [outcome.state for outcome in outcomes] == ["failed", "failed", "failed", "done"]
    assert told == list(NAMES)
    assert [path.name for path in out.iterdir()] == ["d"]


def test_finished_cases_are_skipped_unread_among_others(cases, out, engine, monkeypatch):
    run_batch(cases[:2], out, lambda *_: engine, QUICK)
    read = []
    monkeypatch.setattr("metseg.pipeline.case.read_study", lambda case, *_, **__: read.append(case.case))
    outcomes = run_batch(cases, out, lambda *_: engine, QUICK)
    assert [outcome.state for outcome in outcomes] == ["skipped", "skipped", "failed", "failed"]
    assert read == ["c", "d"]


def test_an_interrupt_while_one_is_written_ends_the_network_of_the_next(cases, out, monkeypatch):
    class Endless(ThresholdEngine):
        def predict(self, study, *, progress, **more):
            while study.case == "b":
                progress(0.5, 1, "network")
            return super().predict(study, progress=progress, **more)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(outputs, "write_lesions_csv", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_batch(cases, out, lambda *_: Endless(), QUICK)
    assert list(out.iterdir()) == []
