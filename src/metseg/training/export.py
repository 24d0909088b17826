"""From a training run to a bundle that the light engine runs.

``python -m metseg.training.export RUN --brain BRAIN --card recipes/mets-t1c.card.toml --out BUNDLE``
"""

import argparse
import json
import shutil
import tomllib
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from metseg.engines.bundle import Bundle, write_manifest
from metseg.engines.manifest import BrainFinder, BundleManifest
from metseg.networks.compact_unet import CompactUNet
from metseg.training.half_precision import halve_weights
from metseg.training.recipe import Recipe


class _Probabilities(nn.Module):
    """The network and its sigmoid: what goes into the graph."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.network(image))


def averaged_network(run: Path) -> tuple[CompactUNet, Recipe, int]:
    """The averaged weights of a run's last checkpoint, in evaluation mode; its recipe; its steps."""
    recipe = Recipe.model_validate_json((run / "recipe.json").read_text(encoding="utf-8"))
    saved = torch.load(run / "checkpoint.pt", weights_only=True, map_location="cpu")
    network = CompactUNet(outputs=recipe.outputs, widths=recipe.widths, norm=recipe.norm)
    network.load_state_dict(saved["averaged"])
    return network.eval(), recipe, int(saved["step"])


def _halved(values: Tensor) -> Tensor:
    """Convolutions in half precision, all else as it is."""
    return values.half().contiguous() if values.ndim > 1 else values.contiguous()


def write_onnx(network: CompactUNet, path: Path) -> None:
    """Write an ONNX graph: image (1, 1, i, j, k) to probabilities (1, n, i, j, k), batch normalisation folded in."""
    edge = network.multiple * 4
    with warnings.catch_warnings():
        # The exporter by tracing is deprecated, but writes plain graphs; it warns of sizes that it treats rightly.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Probabilities(network).eval(),
            (torch.zeros(1, 1, edge, edge, edge),),
            str(path),
            input_names=["image"],
            output_names=["probability"],
            dynamic_axes={"image": {2: "i", 3: "j", 4: "k"}, "probability": {2: "i", 3: "j", 4: "k"}},
            opset_version=17,
            dynamo=False,
        )


def _take_brain_finder(brain: Path, path: Path) -> dict[str, Any]:
    """Write the graph of a training run, or copy a bundle's, to ``path``; returns how it was trained."""
    if (brain / path.name).exists():
        shutil.copyfile(brain / path.name, path)
        earlier: dict[str, Any] = json.loads((brain / "training.json").read_text(encoding="utf-8"))["brain_finder"]
        return earlier
    finder, recipe, steps = averaged_network(brain)
    write_onnx(finder, path)
    return {"recipe": recipe.model_dump(mode="json"), "steps": steps}


def export(run: Path, card: dict[str, Any], out: Path, brain: Path | None = None) -> Bundle:
    """Write the bundle of a run into ``out``.

    Args:
        run: folder of the training run.
        card: the manifest's fields but those that the run knows itself (architecture, files).
        out: the bundle's folder; a ``README.md`` there already, the model card for people, becomes part of it.
        brain: where the card has a brain finder: folder of its training run, or of a bundle that has it already.
    """
    network, recipe, steps = averaged_network(run)
    out.mkdir(parents=True, exist_ok=True)
    write_onnx(network, out / "model.onnx")
    halve_weights(out / "model.onnx")
    save_file({k: _halved(v) for k, v in network.state_dict().items()}, str(out / "weights.safetensors"))
    (out / "weights.safetensors").chmod(0o644)  # written for the owner alone
    training: dict[str, Any] = {"recipe": recipe.model_dump(mode="json"), "steps": steps}
    if brain is not None:
        finder = out / BrainFinder.model_fields["network"].default
        training["brain_finder"] = _take_brain_finder(brain, finder)
        halve_weights(finder)
    (out / "training.json").write_text(json.dumps(training, indent=2) + "\n", encoding="utf-8")
    arguments = {"channels": 1, "outputs": recipe.outputs, "widths": list(recipe.widths)}
    architecture = {"name": "compact_unet", "arguments": arguments}
    return write_manifest(out, BundleManifest.model_validate({**card, "architecture": architecture, "files": {}}))


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(description="Write the bundle of a training run.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--card", type=Path, required=True, help="TOML with the manifest's fields")
    parser.add_argument("--brain", type=Path, help="the brain finder's training run, or a bundle that has it")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    card = tomllib.loads(given.card.read_text(encoding="utf-8"))
    export(given.run, card, given.out, given.brain)


if __name__ == "__main__":
    main()
