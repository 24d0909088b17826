"""Colours, typefaces and sizes of the pictures."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from PIL import ImageFont

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Okabe and Ito's palette, which most colour-blind people can tell apart, without its black and dark blue, which vanish
# on a dark ground. The lesion's number is always written too: colour never stands alone.
_LESIONS: Final[tuple[tuple[str, Colour], ...]] = (
    ("orange", (230, 159, 0)),
    ("sky blue", (86, 180, 233)),
    ("yellow", (240, 228, 66)),
    ("green", (0, 158, 115)),
    ("pink", (204, 121, 167)),
    ("vermilion", (213, 94, 0)),
)
LESION_COLOURS: Final = tuple(colour for _, colour in _LESIONS)
GROUND: Final[Colour] = (18, 18, 18)
EDGE: Final[Colour] = (60, 60, 60)
TEXT: Final[Colour] = (238, 238, 238)
FAINT: Final[Colour] = (170, 170, 170)
CAUTIOUS: Final[Colour] = (240, 228, 66)
BLACK: Final[Colour] = (0, 0, 0)
MARK: Final[Colour] = (210, 210, 210)


def lesion_colour(number: int) -> Colour:
    """Colour of lesion ``number``, from 1."""
    return _LESIONS[(number - 1) % len(_LESIONS)][1]


def lesion_colour_name(number: int) -> str:
    """Name of that colour, for those who cannot see it."""
    return _LESIONS[(number - 1) % len(_LESIONS)][0]


@lru_cache(maxsize=32)
def font(size: int, *, bold: bool = False) -> Font:
    """DejaVu Sans as it comes with matplotlib (which is not imported), else Pillow's own typeface."""
    spec = find_spec("matplotlib")
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder, "mpl-data", "fonts", "ttf", name)
        if path.is_file():
            return ImageFont.truetype(path, size)
    return ImageFont.load_default(size)
