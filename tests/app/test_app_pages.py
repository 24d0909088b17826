"""The pages with a real service behind them: send, follow, look, choose a lesion, download, erase."""

import sys
import time

import pytest
from streamlit.testing.v1 import AppTest

from metseg.app.words import LANGUAGES, Words
from metseg.service.client import Client

EN = Words("en")
PATIENCE_S = 60


@pytest.fixture
def app(root, service, monkeypatch):
    """Starts the app at a page; the service is where the flag says."""

    def begin(url=service.url, **query):
        monkeypatch.setattr(sys, "argv", ["frontend.py", "--service", url])
        test = AppTest.from_file(str(root / "app" / "frontend.py"), default_timeout=PATIENCE_S)
        test.query_params["lang"] = "en"
        for name, value in query.items():
            test.query_params[name] = value
        return test

    return begin


def result_alone():
    from metseg.app import result_page
    from metseg.app.connection import guarded
    from metseg.app.words import Words

    guarded(result_page.draw, Words("en"))


@pytest.fixture
def result(service, monkeypatch):
    """The page of a result by itself: the test bench of Streamlit goes to no page that is a function."""

    def begin(job_id):
        monkeypatch.setattr(sys, "argv", ["frontend.py", "--service", service.url])
        test = AppTest.from_function(result_alone, default_timeout=PATIENCE_S)
        test.query_params["study"] = job_id
        return test

    return begin


@pytest.fixture(scope="session")
def finished(service, head_file):
    """Id of a study that is done."""
    with Client(service.url) as client:
        job_id = client.submit([head_file], options={"formats": "html,csv,png"}, label="a*b_[c]")["id"]
        deadline = time.monotonic() + PATIENCE_S
        while client.job(job_id)["state"] not in {"succeeded", "failed"}:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert client.job(job_id)["state"] == "succeeded"
    return job_id


def shown(elements):
    return " ".join(element.value for element in elements)


def test_the_first_page_offers_an_upload_and_says_what_this_is_not(app):
    test = app().run()
    assert not test.exception
    assert test.warning[0].value == EN("banner")
    assert [title.value for title in test.title] == [EN("new.title")]
    test.button(key="send").click().run()
    assert EN("new.nothing") in shown(test.info)


def test_a_file_sent_becomes_a_job_with_what_was_chosen(app, service, head_file):
    test = app().run()
    test.file_uploader(key="upload-files").upload("head.nii.gz", head_file.read_bytes(), "application/gzip").run()
    test.text_input[0].input("from the app").run()
    test.button(key="send").click().run()
    assert not test.exception
    assert not test.error
    with Client(service.url) as client:
        (job,) = [job for job in client.jobs()["studies"] if job["label"] == "from the app"]
    assert [file["name"] for file in job["files"]] == ["head.nii.gz"]
    assert job["options"]["formats"][:3] == ["html", "csv", "png"]


def test_a_wrong_file_is_refused_with_the_services_sentence(app):
    test = app().run()
    test.file_uploader(key="upload-files").upload("notes.nii.gz", b"these are no images", "application/gzip").run()
    test.button(key="send").click().run()
    deadline = time.monotonic() + PATIENCE_S
    while not test.error and time.monotonic() < deadline:
        test.run()
    assert not test.exception
    assert "notes" in shown(test.error).replace("\\", "") or "NIfTI" in shown(test.error)


def test_a_result_shows_lesions_and_next_goes_through_them(result, finished):
    test = result(finished).run()
    assert not test.exception
    assert test.metric[0].value == "2"
    assert test.title[0].value == r"a\*b\_\[c\]"
    table = test.dataframe[0].value
    assert table["number"].tolist() == [1, 2]
    assert table["diameter"].tolist() == sorted(table["diameter"], reverse=True)
    test.button(key=f"next-{finished}").click().run()
    place = test.session_state["places"][finished]
    assert (place.lesion, place.jumps) == (1, 1)
    test.button(key=f"next-{finished}").click().run()
    assert place.lesion == 2
    assert test.session_state["places"][finished].mm is not None


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_speak_each_language(app, language):
    test = app(lang=language).run()
    assert not test.exception
    assert test.warning[0].value == Words(language)("banner")
    assert test.title[0].value == Words(language)("new.title")


def test_without_a_service_the_page_says_so(app):
    test = app(url="http://127.0.0.1:9").run()
    assert not test.exception
    assert EN("problem.unreachable") in shown(test.error).replace("\\", "")
    assert EN("problem.unreachable_remedy").split(";")[0] in shown(test.error).replace("\\", "")


def test_an_unknown_study_is_a_sentence(result):
    test = result("0" * 32).run()
    assert not test.exception
    assert EN("problem.job-unknown").split(".")[0] in shown(test.error).replace("\\", "")
