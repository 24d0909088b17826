"""Engines by name."""

from typing import Final, cast

from metseg.core.errors import ConfigError
from metseg.core.registry import Registry
from metseg.engines.base import Engine, EngineFactory, Mode

DEFAULT_ENGINE: Final = "openvino"
BUNDLE_ENGINES: Final = frozenset({"openvino", "torch"})  # run any bundle; others have one model of their own
ENGINES: Final = Registry(
    kind="engine",
    group="metseg.engines",
    builtin={
        "openvino": "metseg.engines.openvino_engine:load_openvino_engine",
        "torch": "metseg.engines.torch.loading:load_torch_engine",
        "threshold": "metseg.engines.threshold_engine:load_threshold_engine",
    },
)


def load_engine(
    name: str = DEFAULT_ENGINE,
    model: str | None = None,
    threads: int | None = None,
    device: str = "cpu",
    mode: Mode | None = None,
) -> Engine:
    """An engine that is ready to predict.

    Args:
        name: out of ``ENGINES.names()``.
        model: name of a bundle that ships, or a bundle's folder; None for the engine's default.
        threads: at most so many CPU threads; None for as many as there are cores.
        device: ``"cpu"``, or whatever else the engine knows.
        mode: ``"fast"``, ``"standard"`` or ``"thorough"``; None for the model's own.

    Raises:
        ConfigError: no such engine or device, or no positive number of threads.
        ModelError: the model is missing, broken or foreign.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"An engine needs at least 1 thread, not {threads}.")
    factory = cast(EngineFactory, ENGINES.load(name))
    return factory(model, threads=threads, device=device, mode=mode)
