"""Which label is the enhancing tumour? After contrast agent it is brighter on T1 than the oedema around it."""

import numpy as np
from jaxtyping import Real, UInt

OEDEMA, ENHANCING = 2, 3


def oedema_outshines(
    t1c: Real[np.ndarray, "i j k"], labels: UInt[np.ndarray, "i j k"], oedema: int = OEDEMA, enhancing: int = ENHANCING
) -> bool | None:
    """Is what is called oedema brighter on T1 after contrast than what is called enhancing?

    Args:
        t1c: the image.
        labels: on the same grid.
        oedema: its label.
        enhancing: its label.

    Returns:
        Whether the median in the oedema is the higher one, which speaks for swapped labels; None where one of the
        two is not there.
    """
    dark, bright = t1c[labels == oedema], t1c[labels == enhancing]
    if dark.size == 0 or bright.size == 0:
        return None
    return bool(np.median(dark) > np.median(bright))
