"""Names to objects: ours by a table of strings, foreign ones by entry points. Nothing is imported until asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from metseg.core.errors import ConfigError


@dataclass(frozen=True)
class Registry:
    """Things of one kind, by name.

    Args:
        kind: what the things are, for messages: ``"engine"``.
        group: entry-point group where foreign packages add theirs: ``"metseg.engines"``.
        builtin: name -> ``"package.module:attribute"``.
    """

    kind: str
    group: str
    builtin: Mapping[str, str]

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted({*self.builtin, *(point.name for point in entry_points(group=self.group))})

    def load(self, name: str) -> Any:
        """The object called ``name``.

        Raises:
            ConfigError: there is none of that name.
        """
        if name in self.builtin:
            module, _, attribute = self.builtin[name].partition(":")
            return getattr(import_module(module), attribute)
        for point in entry_points(group=self.group, name=name):
            return point.load()
        raise ConfigError(f"There is no {self.kind} called {name!r}.", hint=f"Known: {', '.join(self.names())}.")
