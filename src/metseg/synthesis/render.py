"""From what a scene holds to what one sequence shows of it, before the scanner adds its part."""

import numpy as np

from metseg.synthesis.content import Content
from metseg.synthesis.fields import Field, smooth_field
from metseg.synthesis.palettes import Palette
from metseg.synthesis.substances import Substance, paint_layers


def render(rng: np.random.Generator, content: Content, palette: Palette, scan: Field | None = None) -> Field:
    """Intensities (i, j, k) of a scene in the units of ``palette``.

    Args:
        rng: source of chance, for textures.
        content: the scene.
        palette: how bright tissues and substances are.
        scan: what a real host looks like; then tissues are not painted.
    """
    if scan is None:
        tissues = content.inside.tissues
        shape = content.inside.shape
        texture = 0.6 * smooth_field(rng, shape, 2) + 0.8 * smooth_field(rng, shape, rng.uniform(4, 12))
        image = palette.mean[tissues] + palette.spread[tissues] * texture
        if not palette.hounsfield:
            image = np.clip(image, 0, None)
    else:
        image = scan.copy()
    paint_layers(image, content.mimics, palette.responses)
    layers = [layer for metastasis in content.metastases for layer in metastasis.layers]
    # Oedema first, of all: that of one lesion never covers another.
    paint_layers(image, sorted(layers, key=lambda layer: layer.substance != Substance.OEDEMA), palette.responses)
    return image if palette.hounsfield else np.clip(image, 0, None)
