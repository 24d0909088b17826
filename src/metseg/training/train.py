"""The training loop: seeded, resumable, its log a CSV file.

``python -m metseg.training.train recipes/mets-t1c.toml --data DATA --out RUN``
"""

import argparse
import csv
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from metseg.core.errors import ConfigError
from metseg.engines.bundle import sha256_of
from metseg.io.atomic import write_bytes
from metseg.networks.compact_unet import CompactUNet
from metseg.synthesis.hosts import Host, read_hosts
from metseg.training.losses import brain_loss, lesion_loss, scene_loss
from metseg.training.recipe import Recipe, read_recipe
from metseg.training.scenes import HeadDataset, SceneDataset

log = logging.getLogger(__name__)
_DECAY = 0.995
_SAVE_EVERY = 100
_FIRST_BACKGROUND = 0.012
_LOG_EVERY = 20


def learning_rate(recipe: Recipe, step: int) -> float:
    """Of the last rate that has begun, a cosine down to a hundredth; the first steps of all warm up."""
    rate = [each for each in recipe.rates if each.at <= step][-1]
    falling = 0.5 * (1 + math.cos(math.pi * min((step - rate.at) / rate.over, 1.0)))
    return rate.highest * min(1.0, (step + 1) / recipe.warmup) * (0.01 + 0.99 * falling)


def background_weight(recipe: Recipe, step: int) -> float:
    """Weight of the background in ``scene_loss``: rises evenly in its logarithm until step ``balanced_until``."""
    risen = min(step / recipe.balanced_until, 1.0) if recipe.balanced_until else 1.0
    return float(_FIRST_BACKGROUND ** (1 - risen) * recipe.background_weight**risen)


class Averaged:
    """Exponential moving average of a network's weights: what is exported."""

    def __init__(self, network: nn.Module) -> None:
        self.state = {k: v.clone() for k, v in network.state_dict().items()}
        self.updates = 0

    def update(self, network: nn.Module) -> None:
        """Take in the weights after one step; early steps are forgotten faster."""
        self.updates += 1
        keep = min(_DECAY, (1 + self.updates) / (10 + self.updates))
        for name, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                self.state[name].mul_(keep).add_(value, alpha=1 - keep)
            else:
                self.state[name].copy_(value)


def save_checkpoint(path: Path, content: dict[str, object]) -> None:
    """Write aside, then rename: a checkpoint is whole or not there."""
    aside = path.with_suffix(".partial")
    torch.save(content, aside)
    aside.replace(path)


def _keep_recipe(recipe: Recipe, path: Path) -> None:
    """Write the recipe beside the checkpoints; a run goes on with the recipe that it began with, or not at all."""
    if path.exists() and Recipe.model_validate_json(path.read_text(encoding="utf-8")) != recipe:
        raise ConfigError(
            f"The run in {path.parent} was begun with another recipe.",
            hint="Go on with that recipe, or choose another folder with --out.",
        )
    path.write_text(recipe.model_dump_json(indent=2), encoding="utf-8")


def _cut_log(path: Path, step: int) -> None:
    """Drop the rows of steps beyond ``step``, which will be done again, and a row that a kill broke off."""
    rows = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    kept = [row for row in rows if row.endswith(b"\n") and (at := row.partition(b",")[0]).isdigit() and int(at) <= step]
    if kept != rows:
        write_bytes(path, b"".join(kept))


def _check_start(recipe: Recipe, start: Path | None) -> None:
    """Refuse weights other than those that ``recipe`` starts from."""
    found = None if start is None else sha256_of(start)
    if found != recipe.start_sha256:
        raise ConfigError(
            f"The recipe starts from {recipe.start_sha256 or 'random weights'}, but --start gives {found or 'none'}.",
            hint="Give with --start the weights.safetensors of that SHA-256, or leave start_sha256 out of the recipe.",
        )


def _new_network(recipe: Recipe, start: Path | None) -> CompactUNet:
    network = CompactUNet(outputs=recipe.outputs, widths=recipe.widths, norm=recipe.norm)
    if start is not None:
        network.load_state_dict(load_file(start))
    return network


def train(recipe: Recipe, data: Path, out: Path, workers: int, start: Path | None = None) -> None:
    """Run, or go on with, the training that ``recipe`` describes; checkpoints and log go to ``out``.

    Args:
        recipe: the dials.
        data: folder of the hosts.
        out: folder of the run.
        workers: processes that make scenes; they do not change the result.
        start: weights (safetensors, as a bundle holds them) that a new run starts from, where its recipe wants some.

    Raises:
        ConfigError: ``out`` holds a run of another recipe, or ``start`` is not what the recipe starts from.
        InputError: ``data`` holds no hosts.
    """
    checkpoint = out / "checkpoint.pt"
    if not checkpoint.exists():
        _check_start(recipe, start)
    out.mkdir(parents=True, exist_ok=True)
    _keep_recipe(recipe, out / "recipe.json")
    torch.manual_seed(recipe.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = _new_network(recipe, start).to(device, memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate(recipe, 0), weight_decay=1e-2)
    averaged = Averaged(network)
    step, before_min = 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True, map_location=device)
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        averaged.state, averaged.updates = saved["averaged"], saved["step"]
        step, before_min = saved["step"], saved["elapsed_min"]
        log.info("going on from step %d", step)
    hosts = read_hosts(data)
    started = time.monotonic()

    def elapsed_min() -> float:
        return before_min + (time.monotonic() - started) / 60

    def save() -> None:
        save_checkpoint(checkpoint, {
            "network": network.state_dict(), "optimiser": optimiser.state_dict(), "averaged": averaged.state,
            "step": step, "elapsed_min": elapsed_min(),
        })  # fmt: skip

    _cut_log(out / "log.csv", step)
    with (out / "log.csv").open("a", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        recent: list[tuple[float, float, int, int, int]] = []
        for batch in _batches(recipe, hosts, step, workers):
            recent.append(_one_step(network, optimiser, [b.to(device) for b in batch], recipe, step))
            averaged.update(network)
            step += 1
            if step % _LOG_EVERY == 0:
                rows.writerow([step, f"{elapsed_min():.2f}", *(f"{m:.4f}" for m in _summary(recent))])
                file.flush()
                recent.clear()
            if step % _SAVE_EVERY == 0:
                save()
    save()


def _batches(recipe: Recipe, hosts: list[Host], done: int, workers: int) -> Iterator[list[Tensor]]:
    """What the steps after the first ``done`` learn from, phase after phase."""
    kind = SceneDataset if recipe.target == "lesions" else HeadDataset
    for phase in recipe.phases():
        begin = max(done, phase.start)
        if begin < phase.stop:
            size = phase.recipe.batch
            first = phase.first + (begin - phase.start) * size
            scenes = kind(hosts, phase.recipe, first, (phase.stop - begin) * size)
            yield from DataLoader(scenes, batch_size=size, num_workers=workers, prefetch_factor=4 if workers else None)


def _summary(steps: list[tuple[float, float, int, int, int]]) -> tuple[float, float, float, float]:
    """Of some steps: mean lesion and brain loss, Dice of all voxels of the first output, voxels called a true voxel."""
    lesions, brains, found, called, present = (sum(column) for column in zip(*steps, strict=True))
    return lesions / len(steps), brains / len(steps), 2 * found / max(called + present, 1), called / max(present, 1)


def _losses(logits: Tensor, truths: list[Tensor], recipe: Recipe, step: int) -> tuple[Tensor, Tensor]:
    """Loss of the lesions (none for a brain finder) and of the brain."""
    if recipe.target == "brain":
        return torch.zeros(()), brain_loss(logits[:, 0], truths[0])
    instances, brain = truths
    if recipe.by_scene:
        lesions = scene_loss(logits[:, 0], instances, background_weight(recipe, step))
    else:
        lesions = lesion_loss(logits[:, 0], instances, balanced=step < recipe.balanced_until)
    return lesions, brain_loss(logits[:, 1], brain)


def _one_step(
    network: nn.Module, optimiser: torch.optim.Optimizer, batch: list[Tensor], recipe: Recipe, step: int
) -> tuple[float, float, int, int, int]:
    """One optimiser step; returns lesion loss, brain loss, and of the first output voxels found, called and present."""
    image, *truths = batch
    network.train()
    if recipe.fix_norm_from is not None and step >= recipe.fix_norm_from:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.eval()
    logits = network(image.contiguous(memory_format=torch.channels_last_3d))
    lesions, brains = _losses(logits, truths, recipe, step)
    loss = lesions + recipe.brain_weight * brains
    if not torch.isfinite(loss):
        raise FloatingPointError(f"The loss is not finite at step {step}: lower the learning rate.")
    network.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 2.0)
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(recipe, step)
    optimiser.step()
    with torch.no_grad():
        found, truth = logits[:, 0] > 0, truths[0] > 0
        counts = [int(mask.sum()) for mask in (found & truth, found, truth)]
    return lesions.item(), brains.item(), counts[0], counts[1], counts[2]


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description="Train a model on metastases drawn into hosts on the fly.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder with hosts_labels/ and hosts_t1c/open_ms/")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and log")
    parser.add_argument("--start", type=Path, help="weights.safetensors of a bundle to start from")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    if given.threads:
        torch.set_num_threads(given.threads)
    train(read_recipe(given.recipe), given.data, given.out, given.workers, given.start)


if __name__ == "__main__":
    main()
