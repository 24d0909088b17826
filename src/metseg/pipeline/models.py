"""Which model does a case: the one that was asked for, or else the one that ships for the case's modality."""

from collections.abc import Callable

from metseg.config.options import SegmentOptions
from metseg.core.study import Modality
from metseg.engines.base import Engine, ModelCard
from metseg.engines.catalogue import DEFAULT_BUNDLES, shipped_manifest
from metseg.engines.registry import BUNDLE_ENGINES, load_engine
from metseg.io.discover import CaseInput
from metseg.pipeline.modality import FirstImage, modality_of

EngineOf = Callable[[CaseInput, FirstImage], Engine]


class Models:
    """The engine of each case, loaded when the first case needs it.

    Args:
        options: what to run where. Without ``model``, an engine that runs bundles takes the one that ships for the
            modality of each case; any other engine has one model of its own.

    Raises:
        ConfigError: no such engine or device, or an operating point that a model which may be needed does not have.
        ModelError: the model that was asked for is missing or broken.
    """

    def __init__(self, options: SegmentOptions) -> None:
        self._options = options
        self._loaded: dict[str | None, Engine] = {}
        self._by_modality = options.model is None and options.engine in BUNDLE_ENGINES
        if self._by_modality:
            cards = [shipped_manifest(name).card for name in DEFAULT_BUNDLES.values()]
        else:
            cards = [self._load(options.model).card]
        for card in cards:
            card.operating_point(options.operating_point)

    def of(self, case_input: CaseInput, first: FirstImage | None = None) -> Engine:
        """The engine for a case; ``first`` reads its first image, should that have to be looked at.

        Raises:
            InputError: the case cannot be read, so that nobody knows its modality.
            ModelError: the model that ships for it is broken.
            ConfigError: there is no such device.
        """
        return self.for_modality(modality_of(case_input, first) if self._by_modality else "MR")

    def for_modality(self, modality: Modality) -> Engine:
        """The engine for all cases of a modality."""
        return self._load(DEFAULT_BUNDLES[modality] if self._by_modality else self._options.model)

    @property
    def used(self) -> tuple[ModelCard, ...]:
        """The models that were loaded, in that order."""
        return tuple(engine.card for engine in self._loaded.values())

    def _load(self, model: str | None) -> Engine:
        if model not in self._loaded:
            it = self._options
            self._loaded[model] = load_engine(it.engine, model, it.threads or None, it.device, it.mode)
        return self._loaded[model]
