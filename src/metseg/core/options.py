"""The base of every room's options."""

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Frozen, and strict about names: a misspelt option is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")
