"""What the model card of a trained bundle says: what it learned from, how long, and what was measured."""

from collections.abc import Mapping
from typing import Any, Final

from metseg import __version__
from metseg.io.nnunet_import import Card
from metseg.training.nnunet.dataset import RawData
from metseg.training.nnunet.recipe import NnunetRecipe

_ENDS: Final = {
    "epochs": "all its epochs", "minutes": "its minutes were spent", "patience": "it got no better",
}  # fmt: skip


def make_card(recipe: NnunetRecipe, raw: RawData, folds: str, trained: Mapping[str, Mapping[str, Any]]) -> Card:
    """The card.

    Args:
        recipe: of the training.
        raw: the data set.
        folds: whence the folds are, a sentence.
        trained: what each network's training gave, by ``CONFIGURATION, fold N``.
    """
    data = (
        f"{len(raw.cases)} studies of {raw.folder.name}, channels {', '.join(raw.channels)}. {folds}",
        *([_steps(recipe)] if recipe.preprocessing else []),
        *(_course(name, it) for name, it in trained.items()),
        *([f"It started from the model {recipe.start}."] if recipe.start else []),
        f"The recipe's SHA-256 is {recipe.sha256}; metseg {__version__}, nnU-Net {recipe.network}, seed {recipe.seed}.",
    )
    held_out = recipe.folds != "all" and recipe.validation
    measured = {name: _scores(it) for name, it in trained.items()} if held_out else {}
    limits = ["No data but those of its own data set were held against it."]
    if recipe.folds == "all":
        limits.append("It learned from all studies, so that none was left to measure it by.")
    elif len(recipe.folds) > 1:
        limits.append("Each fold's network was measured on what it had not seen; all of them together were not.")
    return Card(
        training_data=data,
        results={f"nnU-Net's validation, {name}": scores for name, scores in measured.items() if scores},
        limits=tuple(limits),
        intended_use="Research. Not for diagnosis or treatment.",
        about="\n".join([
            f"Trained by `metseg train`.\n\n{chr(10).join(f'- {line}' for line in data)}\n",
            _table(measured) if any(measured.values()) else "Nothing was measured.\n",
            "\n".join(f"- {limit}" for limit in limits),
            f"\nThe recipe:\n\n```json\n{recipe.model_dump_json(indent=2, exclude={'data', 'out'})}\n```",
        ]),
    )  # fmt: skip


def _steps(recipe: NnunetRecipe) -> str:
    names = ", ".join(step.name for step in recipe.preprocessing)
    return f"Before nnU-Net saw them, images were put through metseg's steps {names}, as they are in use."


def _course(name: str, it: Mapping[str, Any]) -> str:
    end = _ENDS[it["stopped"]]
    return f"{name}: {it['epochs']} epochs ({end}), {it['minutes']:g} minutes on {it['device']}."


def _scores(it: Mapping[str, Any]) -> dict[str, Any]:
    """What nnU-Net measured; labels that no study has, and none was called, have no Dice."""
    dice = {name: round(value, 4) for name, value in it["dice"].items() if value is not None}
    if not dice:
        return {}
    mean = {} if it["foreground_dice"] is None else {"mean_dice": round(it["foreground_dice"], 4)}
    return {"studies": it["studies"], "dice": dice, **mean}


def _table(measured: Mapping[str, Mapping[str, Any]]) -> str:
    labels = sorted({label for it in measured.values() for label in it.get("dice", {})})
    lines = [
        "Dice of nnU-Net's validation, a study's mean:\n",
        f"| network | studies | {' | '.join(f'label {label}' for label in labels)} |",
        f"|---|---|{'---|' * len(labels)}",
    ]
    for name, it in measured.items():
        if it:
            cells = [f"{it['dice'][label]:.4f}" if label in it["dice"] else "–" for label in labels]
            lines.append(f"| {name} | {it['studies']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
