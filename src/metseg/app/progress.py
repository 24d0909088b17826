"""Jobs under way: stage, share, and what came of them, looked at again every second."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from metseg.app.connection import connect, plain, problem_text, told
from metseg.app.pages import open_study
from metseg.app.words import Words

ACTIVE: Final = ("queued", "running")
ICONS: Final = {
    "queued": ":material/hourglass_empty:",
    "running": ":material/progress_activity:",
    "succeeded": ":material/check_circle:",
    "failed": ":material/error:",
    "cancelled": ":material/block:",
}
_EVERY_S: Final = 1.0


def follow(job_ids: Sequence[str], words: Words) -> None:
    """Show jobs until each has ended."""
    ended = st.session_state.setdefault("ended", {})
    every = _EVERY_S if any(job_id not in ended for job_id in job_ids) else None
    st.fragment(_rows, run_every=every)(tuple(job_ids), words)


def _rows(job_ids: Sequence[str], words: Words) -> None:
    ended: dict[str, dict[str, Any]] = st.session_state.setdefault("ended", {})
    waiting = [job_id for job_id in job_ids if job_id not in ended]
    jobs = dict(ended)
    with told(words):
        jobs |= {job_id: connect().job(job_id) for job_id in waiting}
        ended |= {job_id: jobs[job_id] for job_id in waiting if jobs[job_id]["state"] not in ACTIVE}
        if waiting and all(job_id in ended for job_id in job_ids):
            st.rerun()  # nothing is left to look at every second; buttons come after, so that no click gets lost
    for job_id in job_ids:
        if job_id in jobs:
            with st.container(border=True), told(words):
                job_row(jobs[job_id], words)


def job_row(job: Mapping[str, Any], words: Words) -> None:
    """One job: name, state, and a bar or an outcome."""
    left, right = st.columns([5, 1], vertical_alignment="center")
    left.markdown(f"{ICONS[job['state']]} **{plain(job['label'])}** · {words('state.' + job['state'])}")
    if job["state"] in ACTIVE:
        left.progress(float(job["progress"]), words.stage(job["stage"]))
        if right.button(words("studies.cancel"), key=f"stop-{job['id']}"):
            connect().cancel(job["id"])
    elif job["state"] == "succeeded":
        left.caption(outcome(job, words))
        if right.button(words("studies.open"), key=f"open-{job['id']}", type="primary"):
            open_study(job["id"])
    elif job["state"] == "failed":
        left.error(problem_text(job["problem"] or {}, words))


def outcome(job: Mapping[str, Any], words: Words) -> str:
    """What was found, in a line."""
    summary = job["summary"] or {}
    parts = [words("studies.lesions", count=summary.get("lesions"))] if summary.get("lesions") is not None else []
    if summary.get("volume_mm3") is not None:
        parts.append(f"{summary['volume_mm3'] / 1000:.2f} mL")
    parts += [plain(str(summary["model"]))] if summary.get("model") else []
    return " · ".join(parts)
