"""The rules of PDF/A-2u (ISO 19005-2) that a page like ours could break, read with pypdf.

No validator that runs here was found (veraPDF is Java), so the rules are checked one by one.
"""

import io
import re

import numpy as np
import pytest

from metseg.core.grid import Grid
from metseg.core.study import Identity
from metseg.report.html import render_report
from metseg.report.pdf import render_pdf
from results import make_result, why_no_pdf

pypdf = pytest.importorskip("pypdf", reason="needs pypdf, which reads what PDFs say")
pytestmark = pytest.mark.skipif(bool(why_no_pdf()), reason=f"needs the extra pdf: {why_no_pdf()}")
GRID = Grid((40, 44, 30), np.array([[-4.0, 0, 0, 80], [0, -4.0, 0, 90], [0, 0, 5.0, -60], [0, 0, 0, 1]]))
BOXES = (((24, 20, 15), (29, 25, 18)), ((10, 12, 14), (12, 14, 16)))
FORBIDDEN_ACTIONS = {
    "/Launch", "/Sound", "/Movie", "/ResetForm", "/ImportData", "/Hide", "/SetOCGState", "/Rendition", "/Trans",
    "/GoTo3DView", "/JavaScript", "/URI", "/SubmitForm", "/GoToR", "/GoToE",
}  # fmt: skip


@pytest.fixture(scope="module")
def content() -> bytes:
    result = make_result(GRID, BOXES, case="Kopf Ä 1", warnings=("A warning – with “signs”.",))
    return render_pdf(render_report(result, mode="print", identity=Identity("Doe^Jörg", "4711")))


@pytest.fixture(scope="module")
def reader(content):
    return pypdf.PdfReader(io.BytesIO(content), strict=True)


@pytest.fixture(scope="module")
def objects(reader):
    """Every dictionary and stream of the file."""
    found = []
    numbers = {number for generation in reader.xref.values() for number in generation} | set(reader.xref_objStm)
    for number in sorted(numbers - {0}):
        value = reader.get_object(number)
        stack = [value]
        while stack:
            one = stack.pop()
            if isinstance(one, pypdf.generic.DictionaryObject):
                found.append(one)
                stack += [each for each in one.values() if not isinstance(each, pypdf.generic.IndirectObject)]
            elif isinstance(one, pypdf.generic.ArrayObject):
                stack += [each for each in one if not isinstance(each, pypdf.generic.IndirectObject)]
    return found


def test_file_structure(content, reader, objects):
    first, second = content.split(b"\n", 2)[:2]
    assert re.fullmatch(rb"%PDF-1\.[1-7]", first)  # 6.1.2
    assert second.startswith(b"%")
    assert len(second) >= 5
    assert all(byte > 127 for byte in second[1:5])
    assert "/Encrypt" not in reader.trailer  # 6.1.3
    assert len(reader.trailer["/ID"]) == 2
    assert content.endswith(b"%%EOF\n")
    filters = {str(one["/Filter"]) for one in objects if "/Filter" in one}
    assert filters <= {"/FlateDecode", "/DCTDecode"}, filters  # 6.1.7.2: no LZW, no Crypt
    assert not any({"/F", "/FFilter", "/FDecodeParms"} & set(one) for one in objects if "/Length" in one)  # 6.1.7.1


def test_output_intent_and_colours(reader, objects):
    (intent,) = reader.trailer["/Root"]["/OutputIntents"]  # 6.2.3
    intent = intent.get_object()
    assert intent["/S"] == "/GTS_PDFA1"
    profile = intent["/DestOutputProfile"].get_object()
    data = profile.get_data()
    assert (profile["/N"], data[16:20], data[36:40]) == (3, b"RGB ", b"acsp")
    assert data[12:16] in {b"mntr", b"prtr"}
    spaces = {str(one["/ColorSpace"]) for one in objects if isinstance(one.get("/ColorSpace"), str)}
    assert spaces <= {"/DeviceRGB", "/DeviceGray"}, spaces  # 6.2.4.3: covered by the intent
    for page in reader.pages:
        operators = {operator for _, operator in page.get_contents().operations}
        assert operators.isdisjoint({b"k", b"K", b"sh"})
        assert operators.isdisjoint({b"BI"})


def test_graphics(objects):
    smooth = {one["/Interpolate"].value for one in objects if "/Interpolate" in one}
    assert smooth <= {False}  # 6.2.8
    assert not any({"/Alternates", "/OPI", "/Subtype2", "/PS", "/Ref"} & set(one) for one in objects)  # 6.2.8, 6.2.9
    assert not any({"/TR", "/HTP", "/TR2"} & set(one) for one in objects if one.get("/Type") == "/ExtGState")  # 6.2.5
    blends = {str(one["/BM"]) for one in objects if "/BM" in one}
    assert blends <= {"/Normal"}  # 6.2.10: with the intent, pages need no space of their own to blend in
    for one in objects:
        if one.get("/S") == "/Transparency" and "/CS" in one:
            assert one["/CS"] in {"/DeviceRGB", "/DeviceGray"}


def test_fonts_are_embedded_and_their_text_has_unicode(reader, objects):
    fonts = [one for one in objects if one.get("/Type") == "/Font"]
    tops = [one for one in fonts if one["/Subtype"] in {"/Type0", "/TrueType", "/Type1"}]
    below = [one for one in fonts if "/FontDescriptor" in one]
    assert tops
    assert below
    for font in below:  # 6.2.11.4
        descriptor = font["/FontDescriptor"].get_object()
        assert {"/FontFile", "/FontFile2", "/FontFile3"} & set(descriptor)
    for font in tops:  # 6.2.11.7.2
        assert "/ToUnicode" in font
        mapped = font["/ToUnicode"].get_object().get_data()
        assert b"beginbf" in mapped
        assert not re.search(rb"<(0000|FEFF|FFFE)>\s*$", mapped, re.MULTILINE)
        if font["/Subtype"] == "/Type0":  # 6.2.11.3
            assert font["/Encoding"] == "/Identity-H"
            (inner,) = (each.get_object() for each in font["/DescendantFonts"])
            assert inner["/Subtype"] in {"/CIDFontType2", "/CIDFontType0"}
            assert inner["/Subtype"] == "/CIDFontType0" or "/CIDToGIDMap" in inner
    text = "".join(page.extract_text() for page in reader.pages)
    assert "Kopf Ä 1" in text
    assert "Doe, Jörg" in text
    assert "\N{REPLACEMENT CHARACTER}" not in text


def test_nothing_acts_and_nothing_is_elsewhere(reader, objects):
    root = reader.trailer["/Root"]
    assert {"/AA", "/OpenAction", "/AcroForm", "/OCProperties", "/Requirements"}.isdisjoint(root)  # 6.4, 6.5, 6.9
    names = root.get("/Names", {})
    assert {"/JavaScript", "/EmbeddedFiles", "/AlternatePresentations"}.isdisjoint(names)  # 6.8, 6.10
    assert FORBIDDEN_ACTIONS.isdisjoint(str(one.get("/S")) for one in objects)  # 6.5.1
    assert not any(one.get("/Type") in {"/Filespec", "/EmbeddedFile"} for one in objects)
    for page in reader.pages:
        assert "/AA" not in page
        for note in page.get("/Annots", []):  # 6.3: links to places in the file
            assert note.get_object()["/Subtype"] == "/Link"


def test_metadata_agree(reader):
    stream = reader.trailer["/Root"]["/Metadata"].get_object()
    assert "/Filter" not in stream or stream["/Filter"] == "/FlateDecode"
    packet = stream.get_data().decode("utf-8")  # 6.6.2.1
    assert not re.search(r"<\?xpacket[^>]*(bytes|encoding)=", packet)
    assert re.search(r"pdfaid:part(=.|>)2", packet)  # 6.6.4
    assert re.search(r"pdfaid:conformance(=.|>)U", packet)
    told, xmp = reader.metadata, reader.xmp_metadata
    assert told.title == xmp.dc_title["x-default"]  # 6.6.3
    assert "Doe" not in packet
    assert "4711" not in packet
    assert (told.producer or None) == (xmp.pdf_producer or None)
    for one, other in ((told.creation_date, xmp.xmp_create_date), (told.modification_date, xmp.xmp_modify_date)):
        assert one == other
