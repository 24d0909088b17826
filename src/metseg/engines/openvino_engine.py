"""The light engine: a bundle's ONNX networks on OpenVINO, without torch."""

from pathlib import Path

from metseg.engines.base import Mode
from metseg.engines.bundle import Bundle
from metseg.engines.bundle_engine import BundleEngine
from metseg.engines.catalogue import DEFAULT_BUNDLES, find_bundle
from metseg.engines.manifest import Tiling
from metseg.engines.nnunet_engine import NnunetEngine
from metseg.engines.openvino_network import OpenVinoNetwork, Runtime
from metseg.engines.skull import Network


class OpenVinoEngine(BundleEngine):
    """Runs a bundle's networks on OpenVINO.

    Args:
        bundle: see ``BundleEngine``.
        threads: at most so many CPU threads; None for as many as there are cores.
        device: as OpenVINO spells it, in any case: ``"cpu"``, ``"gpu"``.
        tiling: instead of the bundle's.
        cache: folder where compiled networks may be kept; None for none.
        mode: see ``BundleEngine``.

    Raises:
        ModelError: a network cannot be read, or does not fit the manifest.
        ConfigError: there is no such device.
    """

    name = "openvino"

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        device: str = "cpu",
        tiling: Tiling | None = None,
        cache: Path | None = None,
        mode: Mode | None = None,
    ) -> None:
        runtime = Runtime.on(device, threads, cache)

        def network(path: Path, channels: int, outputs: int) -> Network:
            return OpenVinoNetwork(path, channels, outputs, runtime, bundle.name)

        super().__init__(bundle, network, tiling, mode)


def load_openvino_engine(
    model: str | None, *, threads: int | None, device: str, mode: Mode | None = None
) -> OpenVinoEngine | NnunetEngine:
    """The engine with a bundle, by name or folder; None for the one that ships for MR.

    Raises:
        ModelError: the bundle is missing, broken or foreign.
        ConfigError: there is no such device.
    """
    bundle = find_bundle(DEFAULT_BUNDLES["MR"] if model is None else model)
    kind = OpenVinoEngine if bundle.manifest.nnunet is None else NnunetEngine
    return kind(bundle, threads=threads, device=device, mode=mode)
