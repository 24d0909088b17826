"""The report as PDF/A: what the file says of itself, that it is whole, and what is said where it cannot be made."""

import re
import sys
import zlib

import numpy as np
import pytest

from metseg.core.errors import MissingExtraError
from metseg.core.grid import Grid
from metseg.core.study import Identity
from metseg.report.html import render_report
from metseg.report.pdf import render_pdf, weasyprint
from results import make_result, why_no_pdf

GRID = Grid((40, 44, 30), np.array([[-4.0, 0, 0, 80], [0, -4.0, 0, 90], [0, 0, 5.0, -60], [0, 0, 0, 1]]))
BOXES = (((24, 20, 15), (29, 25, 18)), ((10, 12, 14), (12, 14, 16)))
needs_weasyprint = pytest.mark.skipif(bool(why_no_pdf()), reason=f"needs the extra pdf: {why_no_pdf()}")


@pytest.fixture(scope="module")
def pdf() -> bytes:
    case = "<script>x</script> \u00c4"
    return render_pdf(render_report(make_result(GRID, BOXES, case=case), mode="print", identity=Identity("Doe^Jane")))


def streams(content: bytes) -> bytes:
    """All streams that can be inflated."""
    parts = []
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL):
        try:
            parts.append(zlib.decompress(stream))
        except zlib.error:
            parts.append(stream)
    return b"\n".join(parts)


@needs_weasyprint
def test_it_says_that_it_is_pdf_a_and_embeds_its_fonts(pdf):
    everything = pdf + streams(pdf)
    assert pdf.startswith(b"%PDF-1.7")
    assert re.search(rb"<pdfaid:part>2</pdfaid:part>|pdfaid:part=.2.", everything)
    assert re.search(rb"<pdfaid:conformance>U</pdfaid:conformance>|pdfaid:conformance=.U.", everything)
    assert b"/OutputIntents" in everything
    assert b"/GTS_PDFA1" in everything
    names = set(re.findall(rb"/FontName\s*/([\w+-]+)", everything))
    assert names
    assert all(b"DejaVu" in name for name in names)
    assert len(re.findall(rb"/FontFile[23]?\s", everything)) >= len(names)
    for forbidden in (b"/JavaScript", b"/JS ", b"/Launch", b"/EmbeddedFile", b"/Encrypt", b"/URI ", b"/SubmitForm"):
        assert forbidden not in everything


@needs_weasyprint
def test_its_description_holds_the_case_and_no_identity(pdf):
    head = re.findall(rb"<x:xmpmeta.*?</x:xmpmeta>", pdf + streams(pdf), re.DOTALL)
    assert head
    for text in (*head, *re.findall(rb"/Title\s*(.*?)\n", pdf)):
        assert b"Doe" not in text
        assert "Doe".encode("utf-16-be") not in text


@needs_weasyprint
def test_nothing_is_fetched_from_elsewhere(tmp_path):
    other = tmp_path / "secret.png"
    other.write_bytes(b"no picture")
    page = f'<html lang="en"><title>t</title><body><img src="{other.as_uri()}" alt="x">text</body></html>'
    assert b"no picture" not in streams(render_pdf(page))


@needs_weasyprint
def test_many_lesions_are_many_pages():
    lattice = [(i, j, k) for k in range(4, 26, 4) for j in range(12, 34, 6) for i in range(12, 30, 6)][:40]
    boxes = tuple((p, (p[0] + 1, p[1] + 1, p[2] + 1)) for p in lattice)
    few, many = (render_pdf(render_report(make_result(GRID, b), mode="print")) for b in (BOXES[:1], boxes))
    pages = [len(re.findall(rb"/Type\s*/Page\b", content + streams(content))) for content in (few, many)]
    assert 3 <= pages[0] < 8 <= pages[1]


def test_without_weasyprint_one_sentence_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="needs WeasyPrint, which is not installed") as caught:
        weasyprint()
    assert caught.value.hint == "Install it with: pip install 'metseg[pdf]'"


def test_without_the_systems_library_one_sentence_names_it(monkeypatch, tmp_path):
    (tmp_path / "weasyprint.py").write_text("raise OSError('cannot load library libpango')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "weasyprint", raising=False)
    with pytest.raises(MissingExtraError, match="library Pango") as caught:
        weasyprint()
    assert "libpango-1.0-0" in caught.value.hint
