"""Images beside the table of lesions: a row chosen moves the crosshair, a lesion clicked chooses its row."""

from dataclasses import dataclass
from typing import Final

import streamlit as st

from metseg.app import lesion_table, slices, study_files, windows
from metseg.app.colours import colours
from metseg.app.connection import connect, told
from metseg.app.place import Lesions, Place, place_of
from metseg.app.slices import Look
from metseg.app.viewer import component
from metseg.app.viewer.component import Jump, Scene
from metseg.app.words import Words

_PLANES: Final = ("all", *slices.PLANES)
_RENDERS: Final = ("auto", "on", "off")


@dataclass(frozen=True)
class Wish:
    """What the user set above the images."""

    image: str
    sequence: str
    window: str
    overlay: str
    opacity: float
    plane: str
    render: str
    simple: bool


def look(job_id: str, lesions: Lesions, words: Words) -> None:
    """Draw images and table of a result."""
    st.fragment(_look)(job_id, lesions, words)


def _look(job_id: str, lesions: Lesions, words: Words) -> None:
    with told(words):
        place = place_of(job_id)
        wish = _wish(job_id, place, words)
        images, table = st.columns([3, 2], gap="medium")
        with table:
            lesion_table.draw(job_id, lesions, place, words)
            if not place.failed and component.is_there():
                st.toggle(words("viewer.simple_switch"), key=_simple_key(job_id), help=words("viewer.simple_help"))
        with images, st.spinner(words("viewer.loading")):
            if wish.simple:
                _pictures(job_id, lesions, place, wish, words)
            else:
                _viewer(job_id, lesions, place, wish, words)


def _wish(job_id: str, place: Place, words: Words) -> Wish:
    volumes = connect().volumes(job_id)
    images = {volume["name"]: volume["sequence"] for volume in volumes if volume["role"] == "image"}
    overlays = [role for role in ("lesions", "probability") if role in {volume["role"] for volume in volumes}]
    fields = st.columns([2, 3, 3, 3, 3, 3], vertical_alignment="bottom")
    image = fields[0].selectbox(
        words("viewer.sequence"),
        list(images),
        format_func=lambda name: str(images[name]).upper(),
        key=f"image-{job_id}",
    )
    sequence = str(images[image])
    preset = fields[1].selectbox(
        words("viewer.window"),
        windows.presets(sequence),
        format_func=lambda name: words(f"viewer.{name}"),
        key=f"window-{job_id}-{sequence}",
    )
    overlay = fields[2].selectbox(
        words("viewer.overlay"), [*overlays, "none"], format_func=lambda name: words(f"viewer.overlay_{name}")
    )
    opacity = fields[3].slider(words("viewer.opacity"), 0.0, 1.0, 0.5, 0.05)
    plane = fields[4].selectbox(words("viewer.plane"), _PLANES, format_func=lambda name: words(_plane_key(name)))
    forced = bool(place.failed) or not component.is_there()
    render = fields[5].selectbox(
        words("viewer.render"), _RENDERS, format_func=lambda name: words(f"viewer.render_{name}"), disabled=forced
    )
    simple = forced or bool(st.session_state.get(_simple_key(job_id)))
    return Wish(image, sequence, preset, overlay, opacity, plane, render, simple)


def _simple_key(job_id: str) -> str:
    return f"simple-{job_id}"


def _plane_key(name: str) -> str:
    return "viewer.plane_all" if name == "all" else f"viewer.{name}"


def _viewer(job_id: str, lesions: Lesions, place: Place, wish: Wish, words: Words) -> None:
    shown = {"lesions": "lesions.nii.gz", "probability": "probability.nii.gz"}.get(wish.overlay)
    overlay = None if shown is None else component.address(study_files.volume(job_id, shown), wish.overlay)
    scene = Scene(
        title=words("viewer.title"),
        image=component.address(study_files.volume(job_id, wish.image), wish.image),
        lesions=overlay if wish.overlay == "lesions" else None,
        probability=overlay if wish.overlay == "probability" else None,
        colours=colours(len(lesions)),
        window=windows.window(study_files.stack(job_id, wish.image).array, wish.window),
        opacity=wish.opacity,
        plane=wish.plane,
        render=wish.render,
        selected=place.lesion,
        jump=None if place.mm is None else Jump(place.mm, place.jumps),
    )
    answer = component.show(scene, key=f"viewer-{job_id}")
    st.caption(words("viewer.hint"))
    if answer.failed:
        place.failed = answer.failed
        st.rerun(scope="fragment")
    if answer.lesion is not None and answer.lesion <= len(lesions):
        place.choose(answer.lesion, lesions, go=answer.go_there)
        st.rerun(scope="fragment")


def _pictures(job_id: str, lesions: Lesions, place: Place, wish: Wish, words: Words) -> None:
    if place.failed:
        st.info(words("viewer.simple"))
    image = study_files.stack(job_id, wish.image)
    middle = image.affine @ [*(n / 2 for n in image.array.shape), 1.0]
    start = image.index_of(place.mm or tuple(middle[:3]))
    planes = slices.PLANES if wish.plane == "all" else (wish.plane,)
    # A jump makes new sliders, which begin where the jump went.
    at = list(start)
    beside = st.columns(min(len(planes), 2))
    places = [beside[n % len(beside)].container() for n in range(len(planes))]
    for plane, column in zip(planes, places):
        axis = slices.THROUGH[plane]
        name = words("viewer.slice", plane=words(f"viewer.{plane}"))
        key = f"slice-{job_id}-{plane}-{place.jumps}"
        at[axis] = column.slider(name, 0, image.array.shape[axis] - 1, start[axis], key=key)
    style = Look(windows.window(image.array, wish.window), colours(len(lesions)), wish.opacity, place.lesion)
    labels = study_files.stack(job_id, "lesions.nii.gz") if wish.overlay == "lesions" else None
    map_ = study_files.stack(job_id, "probability.nii.gz") if wish.overlay == "probability" else None
    for plane, column in zip(planes, places):
        where = (at[0], at[1], at[2])
        png = slices.picture(image, plane, where, style, labels=labels, probability=map_)
        column.image(png, width="stretch", alt=words("viewer.title"))
