"""An engine without weights: bright is lesion. It lets every face be tested in seconds; it finds no real lesion."""

from typing import Final

import numpy as np

from metseg.core.errors import ConfigError
from metseg.core.progress import Progress, no_progress
from metseg.core.study import Study
from metseg.core.volume import ProbabilityMap
from metseg.engines.base import Mode, ModelCard, OperatingPoint
from metseg.preprocess import steps
from metseg.preprocess.normalise import NormaliseForeground
from metseg.preprocess.reorient import Reorient

# In units of the foreground's 15th-to-85th percentile range above its median.
_HALF_CERTAIN: Final = 3.0
_SOFTNESS: Final = 0.5

CARD: Final = ModelCard(
    name="threshold",
    version="1",
    sha256="",
    modality="MR",
    sequences=("t1c",),
    spacing_mm=None,
    labels={1: "lesion"},
    skull_stripped="either",
    operating_points={"default": OperatingPoint(threshold=0.5)},
    default_operating_point="default",
    limits=("Calls whatever is bright a lesion: for tests of the software, never for patients.",),
    intended_use="Tests of the software.",
)


class ThresholdEngine:
    """Logistic function of the normalised intensity, on the study's own voxels turned to RAS."""

    name: Final = "threshold"
    card: Final = CARD
    mode: Mode = "standard"

    def predict(self, study: Study, *, progress: Progress = no_progress) -> ProbabilityMap:
        """The only class is ``"lesion"``.

        Raises:
            InputError: the study has no ``t1c``.
        """
        progress(0, 1, "threshold")
        channels, grid = steps.run_study((Reorient(), NormaliseForeground()), study, CARD.sequences)
        probability = 1 / (1 + np.exp((_HALF_CERTAIN - channels) / _SOFTNESS))
        progress(1, 1, "threshold")
        return ProbabilityMap(probability.astype(np.float32), grid, ("lesion",))


def load_threshold_engine(
    model: str | None,
    *,
    threads: int | None,  # noqa: ARG001  # it needs one
    device: str,
    mode: Mode | None = None,  # noqa: ARG001  # it has one
) -> ThresholdEngine:
    """The engine; it needs no model and one thread.

    Raises:
        ConfigError: a model, or another device than ``"cpu"``, was asked for.
    """
    if model not in {None, CARD.name}:
        raise ConfigError(f"The threshold engine runs no models, so not {model!r} either.", hint="Leave --model out.")
    if device.lower() != "cpu":
        raise ConfigError(f"The threshold engine runs on the CPU, not on {device!r}.", hint="Use --device cpu.")
    return ThresholdEngine()
