"""What a network says of the voxels of patches, and what is true of them: one form for labels and for regions."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from metseg.lesions.components import label_instances


@dataclass(frozen=True)
class Channels:
    """What a network's outputs mean.

    Args:
        regions: each channel says yes or no of its own (sigmoid). Otherwise they share a voxel (softmax), and the first
            is the background.
        lesion: the channels that make a lesion.
        ignore: the label of voxels that nobody looked at; with regions their last, additional channel, whatever the
            number. None: there are none.
    """

    regions: bool
    lesion: tuple[int, ...]
    ignore: int | None = None


@dataclass(frozen=True)
class Patches:
    """A batch as losses see it.

    Args:
        logits: (n, c, …), at least in single precision.
        truth: (n, c, …), 1 where the channel is true, 0 where not or where nobody looked.
        known: (n, 1, …), 0 where nobody looked, else 1.
        channels: what they mean.
    """

    logits: Tensor
    truth: Tensor
    known: Tensor
    channels: Channels

    @classmethod
    def of(cls, logits: Tensor, target: Tensor, channels: Channels) -> "Patches":
        """A batch as nnU-Net hands it to a loss.

        Args:
            logits: (n, c, …).
            target: labels, (n, 1, …), or regions, (n, c, …); these with a channel more where a label is ignored.
            channels: what they mean.
        """
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # sums in half precision overflow
        if channels.regions:
            truth = target.to(logits.dtype)
            known = torch.ones_like(truth[:, :1])
            if channels.ignore is not None:
                truth, known = truth[:, :-1], 1 - truth[:, -1:]
        else:
            labels = target.long()
            known = torch.ones_like(labels) if channels.ignore is None else (labels != channels.ignore).long()
            truth = torch.zeros_like(logits).scatter_(1, labels * known, 1)
            known = known.to(logits.dtype)
        return cls(logits, truth * known, known, channels)

    @cached_property
    def log_p(self) -> Tensor:
        """Log of each channel's probability (n, c, …)."""
        return functional.logsigmoid(self.logits) if self.channels.regions else functional.log_softmax(self.logits, 1)

    @cached_property
    def log_p_true(self) -> Tensor:
        """Log of the probability of what is true: of the label (n, 1, …), or of each region's yes or no (n, c, …)."""
        if not self.channels.regions:
            return (self.log_p * self.truth).sum(1, keepdim=True)
        return torch.where(self.truth > 0, self.log_p, functional.logsigmoid(-self.logits))

    def foreground(self) -> tuple[Tensor, Tensor]:
        """Probability and truth of all channels but the background, 0 where nobody looked."""
        first = 0 if self.channels.regions else 1
        return (self.log_p.exp() * self.known)[:, first:], self.truth[:, first:]

    def background(self) -> tuple[Tensor, Tensor]:
        """Likewise of the background; of regions, each has one of its own: what lies outside it."""
        if self.channels.regions:
            return functional.logsigmoid(-self.logits).exp() * self.known, (1 - self.truth) * self.known
        return self.log_p[:, :1].exp() * self.known, self.truth[:, :1]

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the voxels that somebody looked at, and over channels; 0 where there are none."""
        return (values * self.known).sum() / (self.known.sum() * values.shape[1]).clamp(min=1)

    def lesion_logits(self) -> Tensor:
        """Log odds of lesion (n, …): of any of its labels against all others; of the likeliest of its regions."""
        own = list(self.channels.lesion)
        if self.channels.regions:
            return self.logits[:, own].amax(1)
        rest = [channel for channel in range(self.logits.shape[1]) if channel not in own]
        return self.logits[:, own].logsumexp(1) - self.logits[:, rest].logsumexp(1)

    @cached_property
    def lesions(self) -> Tensor:
        """Number of the lesion in which a voxel lies (n, …), 0: none; a connected component is one.

        A lesion that a patch cuts is as large as what the patch shows of it.
        """
        truth = self.truth[:, list(self.channels.lesion)].amax(1) > 0
        return torch.stack([torch.from_numpy(number_lesions(one.cpu().numpy())) for one in truth]).to(truth.device)

    def found(self) -> tuple[int, int]:
        """How many lesions the network's labels touch (regions: above one half), and how many there are."""
        own = list(self.channels.lesion)
        if self.channels.regions:
            called = (self.logits[:, own] > 0).any(1)
        else:
            called = torch.isin(self.logits.argmax(1), torch.tensor(own, device=self.logits.device))
        touched = [lesions[mark].unique() for lesions, mark in zip(self.lesions, called, strict=True)]
        return sum(int((one > 0).sum()) for one in touched), sum(int(one.max()) for one in self.lesions)


def number_lesions(mask: np.ndarray) -> np.ndarray:
    """Connected components (of voxels that share a corner) of a mask in two or three dimensions, from 1."""
    flat = mask.ndim == 2
    numbers = label_instances(mask[np.newaxis] if flat else mask).astype(np.int64)
    return numbers[0] if flat else numbers
