"""The type checker that tests run metseg under: beartype, a little kinder than out of the box."""

from typing import Self

from beartype import BeartypeConf, FrozenDict, beartype
from numpy.typing import ArrayLike

check = beartype(
    conf=BeartypeConf(
        # An int is a float, as for mypy (PEP 484).
        is_pep484_tower=True,
        # Two that cannot be checked at run time: numpy's protocols refuse a plain tuple, and Self is not known while
        # a method is decorated before its class is made.
        hint_overrides=FrozenDict({ArrayLike: object, Self: object}),
    )
)
