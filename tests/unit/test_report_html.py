"""The report: whole, inert, and with the right numbers."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from metseg.core.errors import ConfigError
from metseg.core.grid import Grid
from metseg.core.lesion import KnownLesion, LesionTable, Location
from metseg.core.result import QualityFlag
from metseg.core.study import Identity, Source
from metseg.core.volume import LabelMap
from metseg.report.html import render_report
from metseg.report.pictures import draw_pictures
from results import make_result

GRID = Grid((40, 44, 30), np.array([[-4.0, 0, 0, 80], [0, -4.0, 0, 90], [0, 0, 5.0, -60], [0, 0, 0, 1]]))
BOXES = (((24, 20, 15), (29, 25, 18)), ((10, 12, 14), (12, 14, 16)), ((20, 30, 8), (21, 31, 9)))
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Reads a page and checks on the way that every element is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[list[str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in {"td", "th"}:
            self.cells[-1].append("")

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)
        if {"td", "th"} & set(self.open):
            self.cells[-1][-1] += data

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def lesion_rows(self) -> list[list[str]]:
        return [[" ".join(cell.split()) for cell in row] for row in self.cells if len(row) == 9 and row[0] != "Lesion"]


@pytest.fixture(scope="module")
def three() -> str:
    return render_report(make_result(GRID, BOXES, warnings=("The scan may be skull-stripped.",)))


def test_the_table_holds_each_lesions_numbers(three):
    rows = Page(three).lesion_rows()
    # Boxes of 5×5×3, 2×2×2 and 1×1×1 voxels of 4×4×5 mm; the head's middle is voxel (19.5, 21.5, 14.5).
    assert rows[0] == [
        "1", "not determined", "6.00 mL", "20.0 × 20.0 mm", f"{np.hypot(np.hypot(20, 20), 15):.1f} mm", "16",
        "-24.0, +2.0, +20.0", "0.99", "yes",
    ]  # fmt: skip
    assert rows[1][:5] == ["2", "not determined", "0.64 mL", "8.0 × 8.0 mm", "15.1 mm"]
    assert rows[2][2:4] == ["0.080 mL", "4.0 × 4.0 mm"]
    assert rows[2][8] == "no: below 10 mm"
    assert len(rows) == 3


def test_the_impression_and_the_burden_are_in_words(three):
    words = Page(three).words
    assert "3 lesions were found; the largest measures 20.0 × 20.0 mm (6.00 mL), all together 6.72 mL." in words
    assert "Total volume 6.72 mL" in words
    assert "Measurable 1" in words
    assert "Sum of longest axial diameters 32.0 mm" in words
    assert "Research software – not for diagnosis or treatment decisions" in words


def test_it_tells_how_it_was_made(three):
    words = Page(three).words
    for fact in ("mets-t1c", "0.3.1", "c0ffee" * 10, "threshold", "balanced", "predict 12.0 s", "numpy 2.4.6"):
        assert fact in words
    assert "Lesions below 3 mm are missed." in words
    assert "min_volume_mm3 not set" in words
    assert "The scan may be skull-stripped." in words


@pytest.mark.parametrize("boxes", [BOXES, ()])
def test_known_lesions_without_a_match_have_a_table(boxes):
    known = (
        KnownLesion(1, 905.0, (-24.0, 2.0, 20.0), 1.0, 1, found=True),
        KnownLesion(2, 33.25, (26.0, 44.0, -17.5), 1.0, 2, found=False),
        KnownLesion(3, 8.0, (2.0, 4.0, -64.0), 0.5, 3, found=False),
    )
    result = make_result(GRID, boxes)
    array = np.zeros(GRID.shape, dtype=np.uint8)
    array[13, 11, 8] = 2
    study = replace(result.study, prior=LabelMap(array, GRID))
    page = Page(render_report(replace(result, study=study, known=known)))
    rows = [[" ".join(cell.split()) for cell in row] for row in page.cells if len(row) == 5]
    # The head's middle is at 2, 4, 12.5 mm.
    assert rows == [
        ["Known lesion", "Status", "Volume mm³", "Place", "Centre, mm"],
        ["2", "not found again", "33.2", "24 mm right, 40 mm anterior, 30 mm inferior", "+26.0, +44.0, -17.5"],
        ["3", "50 % inside the image: not judged", "8.0", "near the midline, 76 mm inferior", "+2.0, +4.0, -64.0"],
    ]
    assert "Found again: 1 of 3. Not found again: 1 (number 2)." in page.words
    assert "It can be there all the same: look at its place." in page.words
    assert page.words.count("Sides are told roughly") == 1
    assert page.words.count("(RAS+)") == 1 + bool(boxes)
    assert "gone" not in page.words
    matched = Page(render_report(replace(result, study=study, known=known[:1])))
    assert "Found again: 1 of 1." in matched.words
    assert "without a match" not in matched.words


@pytest.mark.parametrize(("stripped", "told"), [(None, []), (True, ["removed"]), (False, ["present"])])
def test_the_skull_is_told_of_where_somebody_looked(stripped, told):
    result = make_result(GRID, BOXES)
    page = Page(render_report(replace(result, study=replace(result.study, skull_stripped=stripped))))
    assert [row[1] for row in page.cells if row[0] == "Skull"] == told
    assert [row[1] for row in page.cells if row[0] == "Space"] == ["native"]
    assert "unknown" not in page.words


@pytest.mark.parametrize("mode", ["screen", "print"])
def test_it_needs_nothing_from_elsewhere(mode):
    text = render_report(make_result(GRID, BOXES), mode=mode)
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert page.all("html") == [{"lang": "en"}]
    assert page.all("script") == page.all("link") == page.all("iframe") == []
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#"))
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"data:image/png;base64,[\w+/=]+", "", text))


def test_it_can_be_heard(three):
    page = Page(three)
    images = page.all("img")
    assert len(images) == 5
    for image in images:
        assert len(image["alt"] or "") > 40
        assert int(image["width"] or 0) > 900
    assert images[1]["alt"].startswith("Lesion 1, outlined in orange: axial slice 16,")
    assert all(th.get("scope") in {"row", "col"} for th in page.all("th"))
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert len(page.all("caption")) == 2
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a} <= set(ids)


HOSTILE = "<script>alert(1)</script>\"'&amp;{{7*7}}"


def test_whatever_comes_from_outside_is_inert():
    source = Source(paths=(Path("/secret/JOHN_DOE.nii"),), notes=(HOSTILE,), headers={HOSTILE: HOSTILE})
    result = make_result(
        GRID, BOXES[:1], case=HOSTILE, source=source, warnings=(HOSTILE,),
        model={"name": HOSTILE, "version": HOSTILE, "sha256": HOSTILE, "limits": HOSTILE},
        options={HOSTILE: {HOSTILE: [HOSTILE]}, "operating_point": HOSTILE},
    )  # fmt: skip
    text = render_report(result)
    page = Page(text)
    assert page.all("script") == []
    assert page.words.count(HOSTILE) >= 12
    assert "<title>&lt;script&gt;alert(1)" in text
    assert "49" not in page.all("meta")[0].values()
    assert "JOHN_DOE" not in text


def test_no_lesion_is_no_all_clear():
    page = Page(render_report(make_result(GRID, warnings=())))
    assert "No lesion was found at this operating point." in page.words
    assert "does not exclude metastases" in page.words
    assert page.lesion_rows() == []
    assert len(page.all("img")) == 1
    assert "Please note" not in page.words


def test_forty_lesions_have_forty_rows_and_twenty_pictures():
    lattice = [(i, j, k) for k in range(4, 26, 4) for j in range(12, 34, 6) for i in range(12, 30, 6)][:40]
    boxes = tuple((p, (p[0] + 1, p[1] + 1, p[2] + 1)) for p in lattice)
    page = Page(render_report(make_result(GRID, boxes)))
    assert [row[0] for row in page.lesion_rows()] == [str(n) for n in range(1, 41)]
    assert len(page.all("img")) == 22
    assert page.words.index("Where they are") < page.words.index("Largest first.")
    assert "20 smaller lesions are in the table but not pictured here." in page.words


def test_the_same_case_gives_the_same_text_from_drawn_pictures(three):
    result = make_result(GRID, BOXES, warnings=("The scan may be skull-stripped.",))
    assert render_report(result, pictures=draw_pictures(result)) == three


def test_ct_and_a_model_without_a_card():
    array = np.full(GRID.shape, -1000, dtype=np.int16)
    array[5:35, 5:40, 3:27] = 35
    source = Source(format="dicom", headers={"ContrastBolusAgent": "present"}, sha256="ab" * 32)
    page = Page(render_report(make_result(GRID, array=array, sequence="ct", source=source, model={}, options={})))
    assert "Modality CT" in page.words
    assert "ContrastBolusAgent present" in page.words
    assert f"Input SHA-256 {'ab' * 32}" in page.words
    assert "how many metastases it misses is not known" in page.words


def test_an_unknown_mode_is_refused(any_types):
    with pytest.raises(ConfigError, match="'fax'"):
        render_report(make_result(GRID), mode="fax")


def test_flags_are_told_and_not_told_again_as_warnings():
    thick = "The slices are 5.0 mm apart: lesions smaller than that may be missed, and sizes are coarse."
    flags = (
        QualityFlag("Slices", "caution", thick),
        QualityFlag("Coverage", "good", "The brain lies inside the image."),
    )
    result = make_result(GRID, BOXES, warnings=(thick, "Something else."))
    page = Page(render_report(replace(result, quality=flags)))
    assert [row for row in page.cells if row[0] in {"Slices", "Coverage"}] == [
        ["Slices", "! caution", thick], ["Coverage", "✓ good", "The brain lies inside the image."],
    ]  # fmt: skip
    assert page.words.count(thick) == 1
    assert "Please note Something else." in page.words


MEASURED = {
    "sensitivity": 0.3433, "fp_per_patient": 1.05, "measured_on": "20 made-up studies",
    "found_by_size": {"<3 mm": [0, 7], "≥10 mm": [15, 21]},
}  # fmt: skip


@pytest.mark.parametrize("boxes", [BOXES, ()])
def test_what_was_measured_of_the_model_stands_beside_the_impression_and_among_the_limits(boxes):
    model = {"name": "m", "version": "1", "measured": MEASURED}
    page = Page(render_report(make_result(GRID, boxes, model=model)))
    sentence = (
        "Measured at this operating point: 34 % of the metastases found, 1.05 false findings a patient (on 20 made-up "
        "studies)."
    )
    assert page.words.count(sentence) == 2
    assert ["Metastases found", "0 of 7 (0 %)", "15 of 21 (71 %)"] in page.cells


def test_few_lesions_have_their_table_first(three):
    words = Page(three).words
    assert words.index("Largest first.") < words.index("Where they are")


def test_sizes_are_counted_in_their_bins():
    page = Page(render_report(make_result(GRID, BOXES)))  # 20, 8 and 4 mm
    bins = [[cell.strip() for cell in row[:2]] for row in page.cells if len(row) == 3]
    assert bins == [["<3 mm", "0"], ["3–5 mm", "1"], ["5–10 mm", "1"], ["10–20 mm", "0"], ["≥20 mm", "1"]]


def test_it_is_not_reviewed_and_has_lines_for_who_does():
    words = Page(render_report(make_result(GRID, BOXES))).words
    assert words.count("Not reviewed") == 2
    for line in ("Reviewer", "Date", "Signature", "agreed", "corrected", "rejected"):
        assert line in words


def test_identity_stands_in_the_head_only_where_it_is_given():
    result = make_result(GRID, BOXES)
    assert "No patient identity on this report." in Page(render_report(result)).words
    page = Page(
        render_report(result, identity=Identity("Doe^Jane", "<script>x</script>", "19331122", "87-12-13\u202e"))
    )
    assert "Patient Doe, Jane Patient ID <script>x</script> Born 1933-11-22 Imaged 87-12-13\ufffd" in page.words
    assert page.all("script") == []
    assert "the input names no patient" in Page(render_report(result, identity=Identity())).words


def test_the_side_and_the_series_own_number_of_the_slice_are_in_the_table():
    source = Source(format="dicom", slice_names=tuple(str(30 - k) for k in range(30)))
    result = make_result(GRID, BOXES[:1], source=source)
    place = Location(("temporal lobe", "insula"), 0.9)
    lesions = LesionTable((replace(result.lesions.lesions[0], side="left", location=place),))
    page = Page(render_report(replace(result, lesions=lesions)))
    assert page.lesion_rows()[0][1] == "left temporal lobe or insula"
    assert page.lesion_rows()[0][5] == "16 (image 14)"
