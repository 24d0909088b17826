"""The preview: one PNG that shows a case at a glance, overview first, then lesion by lesion."""

from typing import Final

from PIL import Image, ImageDraw

from metseg.core.lesion import Lesion
from metseg.core.result import CaseResult
from metseg.report import sentences
from metseg.report.pictures import CasePictures, draw_pictures
from metseg.report.png import encode_png
from metseg.report.style import CAUTIOUS, EDGE, FAINT, GROUND, TEXT, Colour, font, lesion_colour

_MARGIN: Final = 24
_WIDTH: Final = 1436
_TEXT_WIDTH: Final = 280
_GAP: Final = 14
_LEADING: Final = 1.4

# Size, colour, bold.
_Ink = tuple[int, Colour, bool]
_TITLE: Final[_Ink] = (24, TEXT, True)
_BODY: Final[_Ink] = (17, TEXT, False)
_SMALL: Final[_Ink] = (13, FAINT, False)
_WARNING: Final[_Ink] = (14, CAUTIOUS, False)
_Line = tuple[str, _Ink]


def render_preview(result: CaseResult, *, pictures: CasePictures | None = None) -> bytes:
    """Draw the preview of a case.

    Args:
        result: the case.
        pictures: of the same case, where they are drawn already.

    Returns:
        A PNG: the finding in words, the overview, and a row for each lesion, up to ``MOST_KEY_IMAGES``.
    """
    pictures = pictures or draw_pictures(result)
    parts = [_paragraphs(_heading(result), _WIDTH), pictures.overview]
    parts.extend(_row(each, picture) for each, picture in zip(result.lesions, pictures.lesions))
    parts.append(_paragraphs(_footer(result, len(pictures.lesions)), _WIDTH))
    return encode_png(_stack(parts))


def draw_capture(result: CaseResult, *, pictures: CasePictures | None = None) -> Image.Image:
    """The overview alone under a line that says what it is not for: a picture for an archive, without any name."""
    lines: list[_Line] = [(f"{sentences.BANNER}.", _WARNING), (sentences.impression(result.lesions), _BODY)]
    pictures = pictures or draw_pictures(result)
    made: list[_Line] = [(f"{sentences.made_by(result)}. {sentences.HANGING}", _SMALL)]
    if left_out := sentences.unseen(pictures.unseen):
        made.insert(0, (left_out, _BODY))
    return _stack([_paragraphs(lines, _WIDTH), pictures.overview, _paragraphs(made, _WIDTH)])


def _heading(result: CaseResult) -> list[_Line]:
    lines = [(sentences.plain_name(result.study.case), _TITLE), (sentences.impression(result.lesions), _BODY)]
    if not len(result.lesions):
        lines.append((sentences.CAUTION, _BODY))
    if guidance := sentences.guidance(result):
        lines.append((guidance, _SMALL))
    return [*lines, (f"{sentences.BANNER}.", _WARNING)]


def _footer(result: CaseResult, shown: int) -> list[_Line]:
    more = len(result.lesions) - shown
    lines: list[_Line] = []
    if more > 0:
        lines.append(
            (f"{more} smaller lesion{'s are' if more > 1 else ' is'} in the table but not pictured here.", _BODY)
        )
    lines.append((f"{sentences.made_by(result)}. {sentences.HANGING} {sentences.SIDES} {sentences.ORIGIN}", _SMALL))
    return lines


def _row(lesion: Lesion, picture: Image.Image) -> Image.Image:
    """Text on the left, key image on the right."""
    row = Image.new("RGB", (_WIDTH, picture.height + 1 + _GAP), GROUND)
    draw = ImageDraw.Draw(row)
    draw.line([(0, 0), (_WIDTH, 0)], fill=EDGE)
    row.paste(picture, (_WIDTH - picture.width, 1 + _GAP))
    colour = lesion_colour(lesion.id)
    draw.rectangle([0, _GAP + 6, 13, _GAP + 19], fill=colour)
    draw.text((24, _GAP), f"Lesion {lesion.id}", fill=TEXT, font=font(20, bold=True))
    row.paste(_paragraphs(_facts(lesion), _TEXT_WIDTH), (0, _GAP + 36))
    return row


def _facts(lesion: Lesion) -> list[_Line]:
    lines = [
        (sentences.millilitres(lesion.volume_mm3), (19, TEXT, True)),
        (f"{sentences.diameters(lesion)} axial", _BODY),
        (f"{lesion.diameter_3d_mm:.1f} mm longest in 3D", _BODY),
        (f"Slice {lesion.slice_number}", _BODY),
        (sentences.where(lesion), _SMALL),
        (f"centre at {sentences.coordinates(lesion)} mm", _SMALL),
    ]
    if lesion.confidence is not None:
        lines.append((f"confidence {sentences.confidence(lesion)}", _SMALL))
    return lines


def _paragraphs(lines: list[_Line], width: int) -> Image.Image:
    """Lines of text, broken to fit ``width`` pixels."""
    laid = [(part, ink) for text, ink in lines for part in _broken(text, ink, width)]
    height = sum(round(ink[0] * _LEADING) + 3 for _, ink in laid)
    image = Image.new("RGB", (width, height), GROUND)
    draw, y = ImageDraw.Draw(image), 0
    for text, (size, colour, bold) in laid:
        draw.text((0, y), text, fill=colour, font=font(size, bold=bold))
        y += round(size * _LEADING) + 3
    return image


def _broken(text: str, ink: _Ink, width: int) -> list[str]:
    """Break a text between words, and inside a word only where it is longer than a line."""
    typeface = font(ink[0], bold=ink[2])
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".lstrip()
        if typeface.getlength(longer) <= width:
            lines[-1] = longer
            continue
        lines.append("")
        for letter in word:
            if typeface.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return [line for line in lines if line]


def _stack(parts: list[Image.Image]) -> Image.Image:
    """Parts above each other, with a margin all round."""
    height = sum(part.height for part in parts) + (len(parts) - 1) * _GAP + 2 * _MARGIN
    sheet = Image.new("RGB", (_WIDTH + 2 * _MARGIN, height), GROUND)
    y = _MARGIN
    for part in parts:
        sheet.paste(part, (_MARGIN, y))
        y += part.height + _GAP
    return sheet
