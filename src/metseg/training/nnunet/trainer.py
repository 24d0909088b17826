"""nnU-Net's trainer with a recipe's loss, sampling and budget; it lives in the child process."""

import csv
import io
import math
import random
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from metseg.core.errors import MetsegError
from metseg.training.nnunet.event_file import EventFile
from metseg.training.nnunet.lesion_sampling import ByLesion
from metseg.training.nnunet.messages import EPOCH, Say
from metseg.training.nnunet.recipe import NnunetRecipe
from metseg.training.patch_losses.by_name import make_loss
from metseg.training.patch_losses.patches import Channels, Patches

LOG: Final = "log.csv"
_SENSITIVITY: Final = "lesion_sensitivity"
_COLUMNS: Final = {
    "learning_rate": "lrs", "train_loss": "train_losses", "val_loss": "val_losses", "pseudo_dice": "mean_fg_dice",
    "pseudo_dice_mean": "ema_fg_dice", _SENSITIVITY: _SENSITIVITY,
}  # fmt: skip


class _EnoughError(Exception):
    """The budget is spent."""


class Trainer(nnUNetTrainer):
    """nnU-Net's trainer with the recipe's dials.

    It calls itself ``nnUNetTrainer`` in names of folders and in checkpoints, so that nnU-Net itself can predict with
    what it trained. It takes the recipe after it was made: nnU-Net's trainers keep all arguments of their making in
    checkpoints. Where torch's process group is there, it is one of several that train the same network.
    """

    recipe: NnunetRecipe
    say: Say
    doing: str
    channels: Channels
    together: bool
    is_ddp: bool  # nnU-Net's own
    network: Any
    events: EventFile | None = None

    def take(self, recipe: NnunetRecipe, say: Say, doing: str, lesion: tuple[int, ...]) -> None:
        """Take over the recipe's dials.

        Args:
            recipe: of the training.
            say: tells the parent.
            doing: what is trained, in words.
            lesion: channels of the network that make a lesion.
        """
        self.recipe, self.say, self.doing = recipe, say, doing
        self.num_epochs, self.save_every = recipe.epochs, recipe.save_every
        self.num_iterations_per_epoch = recipe.iterations
        self.num_val_iterations_per_epoch = recipe.validation_iterations
        self.channels = Channels(self.label_manager.has_regions, lesion, self.label_manager.ignore_label)
        self.logger.plot_progress_png = lambda _folder: None  # drawn by the parent
        self.logger.local_logger.my_fantastic_logging[_SENSITIVITY] = []  # nnU-Net's logger knows its own keys alone
        self.together = self.is_ddp
        if self.together and distributed.get_backend() == "gloo":
            self.device, self.grad_scaler = torch.device("cpu"), None  # nnU-Net takes it for granted that it is CUDA

    def seed(self, epoch: int) -> None:
        """Begin an epoch as in every run of this recipe, also one that goes on; each process in its own way."""
        fold = 1000 if self.fold == "all" else int(self.fold)
        entropy = [self.recipe.seed, fold, epoch, self.local_rank]
        number = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        random.seed(number)
        np.random.seed(number)  # noqa: NPY002  nnU-Net draws from it
        torch.manual_seed(number)

    def agreed(self, value: Any) -> Any:
        """What the first process says: clocks differ, and all must stop together."""
        if not self.is_ddp:
            return value
        box = [value]
        distributed.broadcast_object_list(box)
        return box[0]

    def _do_i_compile(self) -> bool:
        return self.recipe.compile and self.device.type == "cuda"

    def configure_optimizers(self) -> Any:
        """nnU-Net's. It then wraps the network for CUDA; on the CPU that is done when the loss is made."""
        made = super().configure_optimizers()
        self.is_ddp = self.together and self.device.type == "cuda"
        return made

    def _build_loss(self) -> Any:
        """The recipe's loss, with nnU-Net's weights of the resolutions."""
        if self.together and not self.is_ddp:
            self.network, self.is_ddp = DistributedDataParallel(self.network), True
        loss = super()._build_loss()
        deep = isinstance(loss, DeepSupervisionWrapper)
        own = make_loss(self.recipe.loss, self.channels, loss.loss if deep else loss)
        if not deep:
            return own
        loss.loss = own
        return loss

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """nnU-Net's; for training, with the places of lesions if the recipe samples by lesion."""
        learned, held = super().get_tr_and_val_datasets()
        if self.recipe.sampling == "voxel":
            return learned, held
        regions = self.label_manager.foreground_regions if self.channels.regions else None
        values = {value for one in self.channels.lesion for value in np.atleast_1d(regions[one] if regions else one)}
        return ByLesion(learned, map(int, values)), held

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> Any:  # noqa: N802  nnU-Net's name
        """Mirror along the recipe's axes."""
        rotation, flat, size, mirrored = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        if self.recipe.mirror_axes is not None:
            # None, not (), is nnU-Net's word for no mirroring.
            mirrored = self.inference_allowed_mirroring_axes = tuple(sorted(self.recipe.mirror_axes)) or None
        return rotation, flat, size, mirrored

    @staticmethod
    def get_training_transforms(*args: Any, **kwargs: Any) -> Any:
        """nnU-Net's, but for its choice between two ways to blur by their speed, which makes runs differ."""
        transforms = nnUNetTrainer.get_training_transforms(*args, **kwargs)
        for one in transforms.transforms:
            inner = getattr(one, "transform", one)
            if hasattr(inner, "benchmark"):
                inner.benchmark = False
        return transforms

    def spent_s(self) -> float:
        """Seconds of all epochs that are done, over all runs."""
        begun, ended = (self.logger.get_value(f"epoch_{when}_timestamps", None) for when in ("start", "end"))
        return float(sum(end - start for start, end in zip(begun, ended, strict=False)))

    def on_train_epoch_start(self) -> None:
        """Seed; let the learning rate fall by epochs or by minutes, whichever are spent first."""
        self.seed(self.current_epoch)
        super().on_train_epoch_start()
        if self.recipe.minutes is not None:
            share = self.agreed(min(self.spent_s() / (60 * self.recipe.minutes), 0.999))
            self.lr_scheduler.step(max(float(self.current_epoch), share * self.num_epochs))

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One step.

        Raises:
            MetsegError: its loss is no number.
        """
        done = super().train_step(batch)
        if not np.isfinite(done["loss"]).all():
            raise MetsegError(
                f"The loss is not a finite number in epoch {self.current_epoch + 1} of {self.doing}.",
                hint="Look for images with values that are none or huge; the last checkpoint is from before.",
            )
        return done

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One step, which also counts the lesions of the patches, and those that the network touched."""
        target = batch["target"][0] if self.enable_deep_supervision else batch["target"]
        target = target.clone()  # nnU-Net writes into it where a label is ignored
        outputs: list[Any] = []
        hook = self.network.register_forward_hook(lambda _network, _given, output: outputs.append(output))
        try:
            done = super().validation_step(batch)
        finally:
            hook.remove()
        logits = outputs[0][0] if self.enable_deep_supervision else outputs[0]
        found, lesions = Patches.of(logits, target.to(logits.device), self.channels).found()
        return {**done, "found": found, "lesions": lesions}

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """Keep the sensitivity too: of all lesions of the epoch's patches, the share that was touched."""
        super().on_validation_epoch_end(val_outputs)
        counts = np.array([[one["found"], one["lesions"]] for one in val_outputs]).sum(0)
        if self.is_ddp:
            parts: list[Any] = [None] * distributed.get_world_size()
            distributed.all_gather_object(parts, counts)
            counts = np.sum(parts, axis=0)
        self.logger.log(_SENSITIVITY, counts[0] / counts[1] if counts[1] else math.nan, self.current_epoch)

    def on_epoch_end(self) -> None:
        """Keep the log, and tell of the epoch."""
        super().on_epoch_end()
        if self.local_rank:
            return
        rows = self.rows()
        text = io.StringIO()
        table = csv.DictWriter(text, list(rows[-1]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        replace(Path(self.output_folder) / LOG, text.getvalue())
        if self.recipe.tensorboard:
            self.show(rows)
        spent, done = self.spent_s(), self.current_epoch
        left = spent / done * (self.num_epochs - done)
        if self.recipe.minutes is not None:
            left = min(left, max(60 * self.recipe.minutes - spent, 0.0))
        self.say(EPOCH, **{**rows[-1], "epochs": self.num_epochs, "left_s": left})

    def show(self, rows: list[dict[str, Any]]) -> None:
        """Write the last row for TensorBoard, at first all that there are."""
        new = rows[-1:]
        if self.events is None:
            self.events, new = EventFile(Path(self.output_folder), time.time()), rows
        ended = self.logger.get_value("epoch_end_timestamps", None)
        for row in new:
            values = {name: value for name, value in row.items() if name != "epoch" and value is not None}
            self.events.add(row["epoch"], ended[row["epoch"] - 1], values)

    def spent(self) -> str:
        """Which part of the budget is spent: ``"epochs"``, ``"minutes"``, ``"patience"``; empty: none."""
        if self.current_epoch >= self.num_epochs:
            return "epochs"
        if self.recipe.minutes is not None and self.spent_s() >= 60 * self.recipe.minutes:
            return "minutes"
        means = [-math.inf if math.isnan(value) else value for value in self.logger.get_value("ema_fg_dice", None)]
        if self.recipe.patience is not None and means:
            return "patience" if len(means) - 1 - int(np.argmax(means)) >= self.recipe.patience else ""
        return ""

    def on_epoch_start(self) -> None:
        """Stop where the budget is spent, also where a kill came between."""
        if self.agreed(self.spent()):
            raise _EnoughError
        super().on_epoch_start()

    def rows(self) -> list[dict[str, Any]]:
        """The log, an epoch a row; None where there is no number."""
        values = {name: self.logger.get_value(key, None) for name, key in _COLUMNS.items()}
        begun, ended = (self.logger.get_value(f"epoch_{when}_timestamps", None) for when in ("start", "end"))
        return [
            {"epoch": n + 1, "seconds": round(ended[n] - begun[n], 3),
             **{name: number(column[n]) for name, column in values.items()}}
            for n in range(self.current_epoch)
        ]  # fmt: skip

    def run_training(self) -> None:
        """Train until the budget is spent."""
        try:
            super().run_training()
        except _EnoughError:
            self.on_train_end()

    def save_checkpoint(self, filename: str) -> None:
        """Write aside, then rename: a checkpoint is whole or not there."""
        super().save_checkpoint(f"{filename}.part")
        if self.local_rank == 0:
            Path(f"{filename}.part").replace(filename)


Trainer.__name__ = "nnUNetTrainer"


def number(value: Any) -> float | None:
    """A number, None if it is none."""
    return float(value) if math.isfinite(value) else None


def replace(path: Path, text: str) -> None:
    """Write aside, then rename."""
    aside = path.with_name(f"{path.name}.part")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
