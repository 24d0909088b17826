"""What the losses are called in recipes; no torch is needed to know."""

from typing import Literal

Loss = Literal["dice+ce", "dice+focal", "tversky", "unified-focal", "blob", "size-weighted-dice"]
