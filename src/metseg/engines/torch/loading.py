"""The torch engine by name: the only module of it that can be imported where torch is not installed."""

from metseg.core.extras import require
from metseg.engines.base import Engine, Mode
from metseg.engines.catalogue import DEFAULT_BUNDLES, find_bundle


def load_torch_engine(model: str | None, *, threads: int | None, device: str, mode: Mode | None = None) -> Engine:
    """The engine with a bundle, by name or folder; None for the one that ships for MR.

    Args:
        model: see above.
        threads: at most so many CPU threads; None for as many as torch takes by itself.
        device: as torch spells it: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        mode: None for the bundle's own.

    Raises:
        MissingExtraError: torch is not installed.
        ModelError: the bundle is missing, broken or foreign.
        ConfigError: there is no such device.
    """
    require("torch", "torch")
    from metseg.engines.torch.engine import TorchEngine, TorchNnunetEngine

    bundle = find_bundle(DEFAULT_BUNDLES["MR"] if model is None else model)
    kind = TorchEngine if bundle.manifest.nnunet is None else TorchNnunetEngine
    return kind(bundle, threads=threads, device=device, mode=mode)
