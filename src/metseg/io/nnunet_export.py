"""Write a bundle that came of nnU-Net back as nnU-Net's own folders, which ``nnUNetv2_predict`` takes. No torch."""

import filecmp
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from metseg.core.errors import ModelError
from metseg.engines.bundle import Bundle
from metseg.engines.nnunet.stage import NnunetModel, Stage
from metseg.engines.nnunet.unet_weights import under_all_names
from metseg.io.nnunet_folder import read_plans
from metseg.io.nnunet_source import SOURCE, Source, read_source
from metseg.io.output_folder import make_output_folder, unwritable
from metseg.io.torch_write import write_torch_file
from metseg.io.whole_folder import alone_in, partial_folder, publish_new, settle_leftovers

_FILES = ("plans.json", "dataset.json")


def export_nnunet(bundle: Bundle, out: Path) -> tuple[Path, ...]:
    """Write ``out/DATASET/TRAINER__PLANS__CONFIGURATION``, a folder for each stage.

    They appear whole, all or none: at once where there is no ``out/DATASET``, else one after the other, where only a
    kill or a power cut between two can leave the coarse stage of a cascade alone (the same export completes it). What
    is there already is never replaced; the same folder, from an export before, is left as it is.

    Args:
        bundle: imported from nnU-Net.
        out: ``nnUNet_results``, or any folder.

    Returns:
        The folders, the coarse stage of a cascade first.

    Raises:
        ModelError: the bundle did not come of nnU-Net, or another model is in the place.
        InputError: ``out`` cannot be written.
    """
    model, source = _known(bundle)
    place = out / source.dataset
    targets = tuple(place / source.stages[stage.name].folder for stage in model.stages)
    make_output_folder(out)
    try:
        settle_leftovers(place, _nobodys)
        with ExitStack() as asides:
            if place.exists():
                whole, partials = None, [asides.enter_context(partial_folder(each, _nobodys)) for each in targets]
            else:
                whole = asides.enter_context(partial_folder(place, _nobodys))
                partials = [whole / each.name for each in targets]
            for stage, partial in zip(model.stages, partials):
                partial.mkdir(exist_ok=True)
                _write_stage(bundle, stage, source.stages[stage.name].trainer, partial)
            with alone_in(out):
                if whole is not None and not place.exists():
                    publish_new(whole, place)
                else:  # or another process was faster
                    _publish_all([each for each in zip(partials, targets) if not _there(*each)])
    except OSError as error:
        raise unwritable(out, error) from error
    return targets


def left_out(bundle: Bundle) -> str:
    """What nnU-Net's own predictor will not do with what is exported, a sentence; empty: nothing."""
    steps = bundle.manifest.preprocessing
    if not steps:
        return ""
    return (
        f"nnU-Net does not know the steps {', '.join(step.name for step in steps)}, which {bundle.name} learned from: "
        "nnUNetv2_predict leaves them out, and needs images that went through them. metseg segment runs them."
    )


def _publish_all(folders: Sequence[tuple[Path, Path]]) -> None:
    """Give complete folders the names of which none is there yet; where one fails, all lose them again."""
    done: list[tuple[Path, Path]] = []
    try:
        for partial, target in folders:
            publish_new(partial, target)
            done.append((partial, target))
    except BaseException:
        for partial, target in done:
            target.rename(partial)
        raise


def _known(bundle: Bundle) -> tuple[NnunetModel, Source]:
    """What makes the way back possible."""
    if bundle.manifest.ensemble:
        raise ModelError(
            f"The model {bundle.name} is an ensemble, and a folder of nnU-Net holds one model.",
            hint="Export its members, each by itself, and put their results together with nnUNetv2_ensemble.",
        )
    model, source = bundle.manifest.nnunet, read_source(bundle)
    if model is None or SOURCE not in bundle.manifest.files:
        raise ModelError(
            f"The model {bundle.name} was not imported from nnU-Net, so there is no nnU-Net folder to write.",
            hint="Only what `metseg models import` made can be exported.",
        )
    if source is None or any(stage.name not in source.stages for stage in model.stages):
        raise ModelError(
            f"The bundle {bundle.name} does not say where in nnU-Net it came from: another metseg imported it.",
            hint="Import the model again, with --force.",
        )
    return model, source


def _write_stage(bundle: Bundle, stage: Stage, trainer: str, folder: Path) -> None:
    from safetensors.numpy import load_file

    kept = [bundle.path(f"nnunet/{stage.name}/{file}") for file in _FILES]
    for path in kept:
        shutil.copyfile(path, folder / path.name)
    dropout = read_plans(kept[0].parent).dropout(stage.name)
    for weights in stage.weights:
        named = load_file(str(bundle.path(weights)))
        if stage.network.decoder == "plain":  # metseg's own networks save each weight once
            named = under_all_names(named, dropout=dropout)
        checkpoint = {
            "network_weights": named,
            "trainer_name": trainer,
            "init_args": {"configuration": stage.name},
            # nnU-Net takes the largest of these axes, so that none at all is None.
            "inference_allowed_mirroring_axes": stage.mirror_axes or None,
        }
        fold = folder / Path(weights).stem
        fold.mkdir()
        write_torch_file(fold / "checkpoint_final.pth", checkpoint)


def _there(partial: Path, target: Path) -> bool:
    """Whether the same was exported before."""
    if not target.exists():
        return False
    names = sorted(path.relative_to(partial).as_posix() for path in partial.rglob("*") if path.is_file())
    if all((target / name).is_file() for name in names):
        _, other, unread = filecmp.cmpfiles(partial, target, names, shallow=False)
        if not other and not unread:
            return True
    raise ModelError(
        f"{target} is there already, and is not this model.", hint="Choose another folder with -o; it is left as it is."
    )


def _nobodys(_: Any) -> Sequence[str]:
    """No folder is replaced here, so that no name in one is ours."""
    return ()
