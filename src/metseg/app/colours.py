"""Colours of lesions: told apart with any kind of colour vision, and on grey."""

from itertools import cycle, islice
from typing import Final

Colour = tuple[int, int, int]
# Okabe and Ito, "Color Universal Design", 2008, without black and without the darkest blue, which grey swallows.
_PALETTE: Final[tuple[Colour, ...]] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
)


def colours(count: int) -> list[Colour]:
    """Colours of lesion 1 … ``count``; they come again after six, and the number beside the lesion tells them apart."""
    return list(islice(cycle(_PALETTE), count))


def svg(colour: Colour) -> str:
    """A square of a colour, as the address of a picture."""
    red, green, blue = colour
    return (
        "data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg' width='24' height='24'>"
        f"<rect width='24' height='24' rx='4' fill='rgb({red},{green},{blue})'/></svg>"
    )
