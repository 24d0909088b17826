"""What names and descriptions say of the sequence of an image, and whether that is what it was taken for."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final


def whole_words(pattern: str) -> re.Pattern[str]:
    """Matches whole words; letters and digits on either side make another word, an underscore does not."""
    return re.compile(rf"(?<![a-z0-9])(?:{pattern})(?![a-z0-9])", re.IGNORECASE)


CONTRAST: Final = whole_words(
    r"post(?:gd|km|contrast|c)?|gd|gad\w*|km|ce|c\+|contrast|enhanced|t1 ?w? ?ce?|.*\+ ?(?:c|ce|gd|km)"
)
PLAIN: Final = whole_words(
    r"pre(?![ -]?op)|plain|nativ\w*|unenhanced|precontrast|w/?o|"
    r"(?:non|no|without|w/?o|ohne)[ -]*(?:iv|contrast|gd|gad\w*|km|c|ce|kontrast\w*)"
)
T1: Final = whole_words(r"t1\w*|\w*mp[ -]?rage\w*|\w*bravo\w*|\w*spgr\w*|\w*tfe\w*|\w*flash\w*|\w*vibe\w*|mp2rage\w*")
_FLAIR: Final = whole_words(r"\w*flair\w*|t2f|dark[ -]?fluid|da[ -]fl")
# How data sets call their channels, in lower case without anything but letters and digits. Beside a channel after
# contrast, "T1" is the one without; by itself it may be either.
CHANNEL_NAMES: Final = {
    "t1c": "t1c", "t1ce": "t1c", "t1gd": "t1c", "t1post": "t1c", "t1km": "t1c", "t1contrast": "t1c", "t1wce": "t1c",
    "ct1": "t1c", "t1": "t1n", "t1n": "t1n", "t1w": "t1n", "t1pre": "t1n", "t1native": "t1n", "flair": "t2f",
    "t2f": "t2f", "t2flair": "t2f", "t2": "t2w", "t2w": "t2w", "ct": "ct", "cect": "ct",
}  # fmt: skip
_ANY_T1: Final = frozenset({"t1", "t1w"})


def sequences_in(text: str) -> frozenset[str]:
    """The sequences that a name or description leaves possible; empty where it says nothing, or several things.

    >>> sorted(sequences_in("sub-01_T1w")), sorted(sequences_in("t2_tirm_FLAIR_ax")), sorted(sequences_in("scan 3"))
    (['t1c', 't1n'], ['t2f'], [])
    """
    text = text.casefold().replace("_", " ")
    words = re.findall(r"[a-z0-9]+", text)
    exact = {CHANNEL_NAMES[word] for word in words if word in CHANNEL_NAMES and word not in _ANY_T1}
    kinds: set[str] = set()
    if _FLAIR.search(text):
        kinds.add("t2f")
    elif any(word.startswith("t2") for word in words):
        kinds |= {"t2w", "t2f"} if "tirm" in words else {"t2w"}
    if T1.search(text) or exact & {"t1c", "t1n"}:
        kinds.add("t1")
    kinds |= exact & {"ct"}
    if len(kinds) != 1:
        return frozenset()
    if kinds != {"t1"}:
        return frozenset(kinds)
    if PLAIN.search(text) or "t1n" in exact:
        return frozenset() if "t1c" in exact else frozenset({"t1n"})
    return frozenset({"t1c"} if "t1c" in exact or CONTRAST.search(text) else {"t1c", "t1n"})


def without_sequence(name: str) -> str:
    """A name less the words that tell a sequence.

    >>> without_sequence("anna_t1_post"), without_sequence("anna-FLAIR")
    ('anna', 'anna')
    """
    words = re.split(r"[\s_.-]+", name)
    return "_".join(
        word for word in words if not (sequences_in(word) or CONTRAST.fullmatch(word) or PLAIN.fullmatch(word))
    )


@dataclass(frozen=True)
class Told:
    """What an image says of itself.

    Args:
        name: of the image, for messages.
        by_name: sequences that its file's name leaves possible; empty: it says nothing.
        by_header: the same of its DICOM header.
    """

    name: str
    by_name: frozenset[str] = frozenset()
    by_header: frozenset[str] = frozenset()

    def against(self, sequence: str) -> tuple[str, frozenset[str]] | None:
        """What speaks against that sequence, and for which."""
        claims = (("DICOM header", self.by_header), ("name", self.by_name))
        return next(((what, claim) for what, claim in claims if claim and sequence not in claim), None)


def sequence_doubts(taken: Mapping[str, Told], wanted: Sequence[str]) -> tuple[str, ...]:
    """A sentence for each image, or pair of images, that says of itself that it is another sequence.

    Args:
        taken: what the image that was taken for each sequence says of itself.
        wanted: sequences of the model, in its order.
    """
    wrong = {sequence: found for sequence, told in taken.items() if (found := told.against(sequence))}
    left, doubts = dict(wrong), []
    for sequence, (what, claim) in wrong.items():
        if left.pop(sequence, None) is None:
            continue  # told of as another's counterpart
        name = taken[sequence].name
        other = next((one for one, (_, its) in left.items() if one in claim and sequence in its), None)
        if other is None:
            kinds = " or ".join(sorted(claim))
            repair = _repair(claim, wanted, " or ")
            doubts.append(f"{name} was read as {sequence}, but by its {what} it is {kinds}: {repair}.")
        else:
            del left[other]
            doubts.append(
                f"{sequence} and {other} look swapped: {name}, read as {sequence}, is {other} by its {what}, and "
                f"{taken[other].name}, read as {other}, is {sequence} by its {wrong[other][0]}: "
                f"{_repair({sequence, other}, wanted, ' ')}."
            )
    return tuple(doubts)


def _repair(sequences: Collection[str], wanted: Sequence[str], between: str) -> str:
    """What may help, if the images are these sequences."""
    fitting = [f"--{one} FILE" for one in wanted if one in sequences]
    if not fitting:
        return f"the model takes {', '.join(wanted)}"
    order = f", or number the files in the model's order ({', '.join(wanted)})" if len(wanted) > 1 else ""
    return f"if that is right, say so with {between.join(fitting)}{order}"
