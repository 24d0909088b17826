"""Pictures as small PNG files: one byte a pixel, since nearly all pixels are grey."""

from functools import lru_cache
from io import BytesIO
from typing import Final

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from metseg.report.style import LESION_COLOURS

_GREYS: Final = 192
_SHARES: Final = (0.25, 0.5, 0.75)  # of colour in the smooth edge of an outline
_BENEATH: Final = (20, 80, 150)  # grey levels under such an edge
_LEVEL: Final = 4  # twice as fast as zlib's 6, files hardly larger


def encode_png(image: Image.Image) -> bytes:
    """An RGB picture as PNG with a fixed palette: half the size of RGB and half the time.

    The palette holds 192 greys (0.7 grey levels off at most), the lesion colours exactly, and their blends with grey.
    """
    rgb = np.asarray(image.convert("RGB"))
    grey = (rgb[..., 0] == rgb[..., 1]) & (rgb[..., 1] == rgb[..., 2])
    indices = np.rint(rgb[..., 0] * np.float32((_GREYS - 1) / 255)).astype(np.uint8)
    coloured = rgb[~grey]
    if len(coloured):
        nearest = Image.fromarray(coloured[None]).quantize(palette=_palette_image(), dither=Image.Dither.NONE)
        indices[~grey] = np.asarray(nearest)[0]
    reduced = Image.fromarray(indices)
    reduced.putpalette(_palette().tobytes())
    stream = BytesIO()
    reduced.save(stream, format="PNG", compress_level=_LEVEL)
    return stream.getvalue()


@lru_cache(maxsize=1)
def _palette() -> UInt8[np.ndarray, "colours 3"]:
    greys = np.repeat(np.linspace(0, 255, _GREYS)[:, None], 3, axis=1)
    pure = np.array(LESION_COLOURS, dtype=float)
    blends = [share * pure + (1 - share) * level for share in _SHARES for level in _BENEATH]
    return np.asarray(np.rint(np.concatenate([greys, pure, *blends])), dtype=np.uint8)


@lru_cache(maxsize=1)
def _palette_image() -> Image.Image:
    image = Image.new("P", (1, 1))
    image.putpalette(_palette().tobytes())
    return image
