"""The seam between metseg and whatever finds lesions: what an engine is, and what it says of its model."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, Protocol, runtime_checkable

from pydantic import Field

from metseg.core.errors import ConfigError
from metseg.core.options import Options
from metseg.core.progress import Progress, no_progress
from metseg.core.study import Modality, Study
from metseg.core.volume import ProbabilityMap

SkullStripped = Literal["either", "yes", "no"]
Mode = Literal["fast", "standard", "thorough"]
Probability = Annotated[float, Field(gt=0, lt=1)]


class OperatingPoint(Options):
    """What makes lesions of probabilities.

    Args:
        threshold: at or above it a voxel is lesion; None: where the model itself decides so, for models that do.
        min_confidence: components whose confidence (95th percentile of their voxels' probability, calibrated where the
            model says how) lies below it are dropped: a low threshold outlines well, a high confidence keeps false
            components out.
    """

    threshold: Probability | None
    min_confidence: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Calibration(Options):
    """How a model's confidence in a lesion becomes the chance that it is one: ``metseg.lesions.confidence.platt``.

    Args:
        slope: of the map between logits.
        offset: of the map between logits.
        ece_before: expected calibration error of the model's own confidence, on other data than the map was fitted to.
        ece_after: with the map, on the same data.
        measured_on: which data.
    """

    slope: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    offset: Annotated[float, Field(allow_inf_nan=False)]
    ece_before: Probability | None = None
    ece_after: Probability | None = None
    measured_on: str = ""


class ModelCard(Options):
    """What everyone needs to know of a model, whichever engine runs it.

    Args:
        name: of the model.
        version: of the model.
        sha256: of what defines it (for a bundle: of its ``model.json``, which holds the hashes of all other files).
        modality: ``"MR"`` or ``"CT"``.
        sequences: needed, in the model's order.
        spacing_mm: of the model's grid; None where it works on the study's.
        labels: what the values of its segmentations mean; each is a class of its probability maps.
        lesion: values that are part of a lesion; oedema, for one, is not.
        skull_stripped: which studies it takes.
        operating_points: by name.
        default_operating_point: one of those names.
        calibration: of the lesions' confidence; None: it is the model's own.
        limits: what it is known to be bad at, a sentence each.
        intended_use: one sentence.
    """

    name: str
    version: str
    sha256: str
    modality: Modality
    sequences: tuple[str, ...]
    spacing_mm: tuple[float, float, float] | None
    labels: Mapping[int, str]
    lesion: tuple[int, ...] = (1,)
    skull_stripped: SkullStripped
    operating_points: Mapping[str, OperatingPoint]
    default_operating_point: str
    calibration: Calibration | None = None
    limits: tuple[str, ...] = ()
    intended_use: str = Field(default="")

    def operating_point(self, operating_point: str | float | None = None) -> OperatingPoint:
        """An operating point: by its name, by a probability in (0, 1) as its threshold, or None for the default.

        A probability may also come as text (``"0.4"``), as from a command line.

        Raises:
            ConfigError: there is no operating point of that name, or the number is not in (0, 1).
        """
        chosen = self.default_operating_point if operating_point is None else operating_point
        if isinstance(chosen, str) and chosen in self.operating_points:
            return self.operating_points[chosen]
        try:
            value = float(chosen)
        except ValueError:
            value = float("nan")
        if not 0 < value < 1:
            raise ConfigError(
                f"Model {self.name} has no operating point {chosen!r}.",
                hint=f"Give one of {', '.join(self.operating_points)}, or a probability between 0 and 1.",
            )
        return OperatingPoint(threshold=value)


@runtime_checkable
class Engine(Protocol):
    """Runs a model on a study. Every engine passes ``metseg.testing.check_engine``."""

    @property
    def name(self) -> str:
        """Name of the engine in the registry."""
        ...

    @property
    def card(self) -> ModelCard:
        """What it says of its model."""
        ...

    @property
    def mode(self) -> Mode:
        """How much work it spends on a study."""
        ...

    def predict(self, study: Study, *, progress: Progress = no_progress) -> ProbabilityMap:
        """Probabilities on the model's grid, which holds all of the study's brain; beyond it they are 0.

        The classes hold all names of ``card.labels``, and perhaps more (``"brain"``).

        Raises:
            InputError: the study lacks a sequence.
            InferenceError: the model ran and failed.
        """
        ...


Ready = Callable[[Progress], ProbabilityMap]


@runtime_checkable
class PreparingEngine(Engine, Protocol):
    """An engine that can prepare a study while its network has another: ``predict`` is one after the other.

    The two halves may run in two threads, each on one study at a time.
    """

    def prepare(self, study: Study) -> Ready:
        """All that comes before the network; what is left to do is returned.

        Raises:
            InputError: the study lacks a sequence.
            InferenceError: the model ran and failed.
        """
        ...


@runtime_checkable
class EngineFactory(Protocol):
    """What the registry holds for each engine."""

    def __call__(self, model: str | None, *, threads: int | None, device: str, mode: Mode | None) -> Engine:
        """An engine that is ready to predict.

        Args:
            model: name or folder of a bundle; None for the engine's default.
            threads: at most so many CPU threads; None for as many as there are cores.
            device: ``"cpu"``, or whatever else the engine knows.
            mode: None for the model's own; an engine with one way of working takes any.

        Raises:
            ModelError: the model is missing, broken or foreign.
            ConfigError: the engine does not know the device.
        """
        ...
