"""A result: images with lesions, table, sizes, report, downloads."""

from collections.abc import Mapping
from typing import Any, Final

import streamlit as st

from metseg.app import charts, downloads, study_files
from metseg.app.connection import connect, plain, problem_text, told
from metseg.app.look import look
from metseg.app.pages import STUDIES, chosen_study, open_page
from metseg.app.progress import ACTIVE, ICONS, follow
from metseg.app.words import Words

_REPORT: Final = "report.html"
_REPORT_HEIGHT: Final = 900


def draw(words: Words) -> None:
    """Draw the page."""
    job_id = chosen_study()
    if job_id is None:
        st.title(words("page.result"))
        st.info(words("result.none"))
        if st.button(words("result.to_studies"), type="primary"):
            open_page(STUDIES)
        return
    job = connect().job(job_id)
    st.title(plain(job["label"]))
    if job["state"] in ACTIVE:
        follow([job_id], words)
    elif job["state"] == "failed":
        st.error(problem_text(job["problem"] or {}, words))
    elif job["state"] == "cancelled":
        st.info(f"{ICONS['cancelled']} {words('state.cancelled')}")
    else:
        _result(job, words)


def _result(job: Mapping[str, Any], words: Words) -> None:
    lesions = study_files.lesions(job["id"])
    _figures(job, lesions, words)
    names = ("images", "charts", "report", "downloads")
    images, sizes, report, files = st.tabs([words(f"result.{name}") for name in names])
    with images, told(words):
        if not lesions:
            st.info(words("result.no_lesions"))
        look(job["id"], lesions, words)
    with sizes:
        if lesions:
            charts.draw(lesions, words)
        else:
            st.info(words("result.no_lesions"))
    listed = connect().files(job["id"])["files"]
    with report, told(words):
        _report(job["id"], listed, words)
    with files, told(words):
        downloads.draw(job, listed, words)


def _figures(job: Mapping[str, Any], lesions: list[dict[str, Any]], words: Words) -> None:
    summary = job["summary"] or {}
    places = st.columns(4)
    places[0].metric(words("result.lesions"), len(lesions))
    places[1].metric(words("result.burden"), f"{sum(each['volume_mm3'] for each in lesions) / 1000:.2f}")
    largest = max((each["diameter_mm"] for each in lesions), default=None)
    places[2].metric(words("result.largest"), "–" if largest is None else f"{largest:.1f}")
    places[3].metric(words("result.model"), str(summary.get("model") or "–"))
    warnings = summary.get("warnings") or []
    if warnings:
        with st.expander(f"{words('result.warnings')} ({len(warnings)})", icon=":material/warning:", expanded=True):
            st.markdown("\n".join(f"- {plain(str(each))}" for each in warnings))


def _report(job_id: str, listed: list[dict[str, Any]], words: Words) -> None:
    if _REPORT not in {file["name"] for file in listed}:
        st.info(words("result.no_report"))
        return
    st.caption(words("result.report_help"))
    st.iframe(_sealed(study_files.read(job_id, _REPORT).decode()), height=_REPORT_HEIGHT)


def _sealed(page: str) -> str:
    """A report in a frame of its own that may run nothing and load nothing."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:"
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    escaped = page.replace("<head>", f"<head>{head}", 1).replace("&", "&amp;").replace('"', "&quot;")
    frame = (
        f'<iframe sandbox="" style="border:0;width:100%;height:{_REPORT_HEIGHT - 20}px" srcdoc="{escaped}"></iframe>'
    )
    return f"<!doctype html><html><body style='margin:0;background:white'>{frame}</body></html>"
