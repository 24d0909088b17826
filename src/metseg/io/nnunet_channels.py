"""Which sequence each channel of an nnU-Net model is."""

import re

from metseg.core.errors import ConfigError
from metseg.core.study import SEQUENCES
from metseg.engines.bundle import Bundle
from metseg.io.nnunet_folder import read_plans
from metseg.io.sequence_names import CHANNEL_NAMES, sequences_in


def channel_sequences(channels: tuple[str, ...], declared: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The sequence of each channel.

    Args:
        channels: their names in ``dataset.json``, in order.
        declared: by the user; empty: the names must tell.

    Raises:
        ConfigError: a wrong number of sequences or an unknown one, or a name that could be any.
    """
    if declared:
        if len(declared) != len(channels) or set(declared) - set(SEQUENCES):
            raise ConfigError(
                f"The model has {len(channels)} channels ({', '.join(channels)}), not {', '.join(declared)}.",
                hint=f"Name one of {', '.join(SEQUENCES)} for each, in order.",
            )
        return declared
    plain = [re.sub(r"[^a-z0-9]", "", channel.lower()) for channel in channels]
    if unknown := [channel for channel, key in zip(channels, plain, strict=True) if key not in CHANNEL_NAMES]:
        raise ConfigError(
            f"dataset.json calls a channel {unknown[0]!r}, which could be any sequence.",
            hint=f"Say which of {', '.join(SEQUENCES)} each channel is, in order: {', '.join(channels)}.",
        )
    return tuple(CHANNEL_NAMES[key] for key in plain)


def channel_doubts(channels: tuple[str, ...], sequences: tuple[str, ...]) -> tuple[str, ...]:
    """A sentence for each channel whose name in ``dataset.json`` says that it is another sequence."""
    claims = [sequences_in(channel) for channel in channels]
    told = ",".join(next(iter(claim)) for claim in claims if len(claim) == 1)
    order = f" By their names the channels are {told}." if told.count(",") == len(channels) - 1 else ""
    return tuple(
        f"dataset.json calls channel {number} {channel!r}, but it was declared as {sequence}.{order}"
        for number, (channel, sequence, claim) in enumerate(zip(channels, sequences, claims, strict=True))
        if claim and sequence not in claim
    )


def doubts_of(bundle: Bundle) -> tuple[str, ...]:
    """``channel_doubts`` of a bundle that was imported from nnU-Net.

    Raises:
        ModelError: its copy of ``dataset.json`` cannot be read.
    """
    model = bundle.manifest.nnunet
    if model is None:
        return ()
    channels = read_plans(bundle.folder / "nnunet" / model.stages[-1].name).channels()
    return channel_doubts(channels, bundle.card.sequences)
