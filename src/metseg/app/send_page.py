"""Send studies: files, model, what matters more; then how far each is."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from io import BufferedIOBase
from typing import Any, Final, cast
from uuid import uuid4

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from metseg.app.connection import connect, plain, told
from metseg.app.progress import follow
from metseg.app.words import Words

SEQUENCES: Final = ("t1c", "t1n", "t2f", "t2w", "ct")
POINTS: Final = ("sensitive", "balanced", "specific")
_VOLUMES: Final = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd")
_ALWAYS: Final = ("html", "csv", "png")
_EXTRA: Final = ("pdf", "dicom-seg", "sr", "rtstruct", "secondary-capture", "encapsulated-pdf", "uncertainty")
_MOST_NAMED: Final = 8
_DEMO: Final = "demo-t1c.nii.gz"
_MIB: Final = 2**20
File = tuple[str, bytes | BufferedIOBase]
Files = Sequence[File] | Mapping[str, File]


def draw(words: Words) -> None:
    """Draw the page."""
    st.title(words("new.title"))
    st.write(words("new.intro"))
    left, right = st.columns([3, 2], gap="large")
    with left:
        uploads, each = _uploads(words)
        named = {} if each else _sequences(uploads, words)
    with right:
        options = _options(words)
    label = left.text_input(words("new.label"), help=words("new.label_help"), max_chars=200)
    with left.container(horizontal=True):
        send = st.button(words("new.send"), type="primary", icon=":material/send:", key="send")
        demo = st.button(words("new.demo"), help=words("new.demo_help"), icon=":material/play_arrow:", key="demo")
    if send and not uploads:
        left.info(words("new.nothing"))
    elif send and named and (len(named) < len(uploads) or len(set(named.values())) < len(named)):
        left.error(words("new.name_all"))
    elif send:
        studies = [[file] for file in uploads] if each else [uploads]
        _send(studies, named, options, label, words)
    elif demo:
        _send_demo(options, words)
    sent = st.session_state.get("sent", [])
    if sent:
        st.subheader(words("new.running"))
        follow(sent, words)


def _uploads(words: Words) -> tuple[list[UploadedFile], bool]:
    """The files, and whether each of them is a study."""
    kinds = {"files": words("new.kind_files"), "folder": words("new.kind_folder")}
    kind = st.segmented_control(
        words("new.kind"), list(kinds), format_func=kinds.__getitem__, default="files", required=True
    )
    uploads = st.file_uploader(
        words("new.upload"),
        accept_multiple_files="directory" if kind == "folder" else True,
        help=words("new.upload_help"),
        key=f"upload-{kind}",
    )
    found = cast("list[UploadedFile]", uploads or [])
    if kind == "folder" or len(found) < 2:
        return found, False
    each = st.radio(
        words("new.several"),
        [False, True],
        format_func=lambda each: words("new.each_study" if each else "new.one_study"),
        horizontal=True,
    )
    return found, bool(each)


def _sequences(uploads: Sequence[UploadedFile], words: Words) -> dict[str, str]:
    """Sequence by name of file, where the user says so."""
    volumes = [file.name for file in uploads if file.name.lower().endswith(_VOLUMES)]
    if not volumes or len(set(volumes)) != len(uploads) or len(volumes) > _MOST_NAMED:
        return {}
    with st.expander(words("new.sequences")):
        st.caption(words("new.sequences_help"))
        chosen = {
            name: st.selectbox(
                name, ["", *SEQUENCES], format_func=lambda each: each or words("new.automatic"), key=f"sequence-{name}"
            )
            for name in volumes
        }
    return {name: str(sequence) for name, sequence in chosen.items() if sequence}


def _options(words: Words) -> dict[str, object]:
    """What the service shall do, as its options."""
    offer = connect().models()
    models = {model["name"]: model for model in offer["models"]}
    model = st.selectbox(
        words("new.model"),
        ["", *models],
        format_func=lambda name: name or words("new.automatic"),
        help=words("new.model_help"),
        disabled=not models,
    )
    shown = [models[model]] if model else [models[name] for name in offer["default"].values() if name in models]
    point = _point(shown, words)
    _limits(shown, words)
    options: dict[str, object] = {"model": model or None, "operating_point": point}
    with st.expander(words("new.more")):
        mode = st.selectbox(
            words("new.mode"),
            ["", "fast", "standard", "thorough"],
            format_func=lambda name: words(f"new.mode_{name or 'default'}"),
            help=words("new.mode_help"),
        )
        smallest = st.number_input(words("new.smallest"), min_value=0.0, value=0.0, step=10.0)
        formats = st.multiselect(
            words("new.formats"),
            _EXTRA,
            format_func=lambda name: words(f"format.{name}"),
            help=words("new.formats_help"),
        )
    return options | {"mode": mode or None, "min_volume_mm3": smallest or None, "formats": [*_ALWAYS, *formats]}


def _point(models: Sequence[Mapping[str, Any]], words: Words) -> str | None:
    """An operating point that all of ``models`` have, chosen in words."""
    named = [{point["name"]: point for point in model["operating_points"]} for model in models]
    common = [name for name in POINTS if named and all(name in points for points in named)]
    if not common:
        return None
    default = models[0]["default_operating_point"]
    point = st.radio(
        words("new.point"),
        common,
        index=common.index(default) if default in common else 0,
        format_func=lambda name: words(f"new.point_{name}"),
        help=words("new.point_help"),
    )
    for model, points in zip(models, named):
        about = points[point]
        if about.get("sensitivity") is None or about.get("fp_per_patient") is None:
            text = words("new.point_unknown")
        else:
            text = words(
                "new.point_measured",
                sensitivity=f"{about['sensitivity']:.0%}",
                alarms=f"{about['fp_per_patient']:.1f}",
                on=about.get("measured_on") or "–",
            )
        st.caption(f"{model['name']}: {text}")
    return str(point)


def _limits(models: Sequence[Mapping[str, Any]], words: Words) -> None:
    with st.expander(words("new.model_card")):
        for model in models:
            st.markdown(f"**{plain(model['name'])} {model['version']}**  \n{plain(model['intended_use'])}")
            st.markdown("\n".join(f"- {plain(limit)}" for limit in model["limits"]))


def _send(
    studies: Sequence[Sequence[UploadedFile]],
    named: Mapping[str, str],
    options: Mapping[str, object],
    label: str,
    words: Words,
) -> None:
    limit = int(st.session_state.get("limits", {}).get("upload_bytes", 0))
    accepted = 0
    for uploads in studies:
        large = next((file for file in uploads if limit and file.size > limit), None)
        if large is not None:
            st.error(words("new.too_large", name=plain(large.name), limit=limit // _MIB))
            continue
        given = [(file.name, cast("BufferedIOBase", file)) for file in uploads]
        with told(words), st.spinner(plain(label or uploads[0].name)):
            request = json.dumps([[file.file_id for file in uploads], dict(named), dict(options), label])
            named_files = {named[name]: (name, file) for name, file in given} if named else None
            _sent(named_files or given, options, label if len(studies) == 1 else "", request)
            accepted += 1
    if accepted:
        st.toast(words("new.sent", count=accepted))


def _send_demo(options: Mapping[str, object], words: Words) -> None:
    with told(words), files("metseg.app").joinpath("demo", _DEMO).open("rb") as file:
        _sent({"t1c": (_DEMO, file.read())}, {**options, "model": None}, words("new.demo"), None)


def _sent(parts: Files, options: Mapping[str, object], label: str, request: str | None) -> None:
    """Send one study. The same request sent twice, by a second click, is one job."""
    session = st.session_state.setdefault("session", uuid4().hex)
    key = None if request is None else hashlib.sha256(f"{session}{request}".encode()).hexdigest()
    job = connect().submit(parts, options=options, label=label, idempotency_key=key)
    sent: list[str] = st.session_state.setdefault("sent", [])
    if job["id"] not in sent:
        sent.insert(0, job["id"])
