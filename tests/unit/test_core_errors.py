import inspect

import pytest

from metseg.core import errors
from metseg.core.errors import (
    ConfigError,
    InferenceError,
    InputError,
    MetsegError,
    MissingExtraError,
    ModelError,
    PeerError,
)

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, MetsegError)]


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        (InputError, 2, 422),
        (ConfigError, 2, 400),
        (MissingExtraError, 3, 501),
        (ModelError, 4, 500),
        (InferenceError, 5, 500),
        (PeerError, 6, 502),
        (ValueError, 1, 500),
        (KeyboardInterrupt, 1, 500),
    ],
)
def test_codes(kind, code, status):
    assert (errors.exit_code(kind("no")), errors.http_status(kind("no"))) == (code, status)


def test_every_error_has_its_code_and_stands_in_the_drawing():
    leaves = [kind for kind in KINDS if kind is not MetsegError]
    assert set(errors._CODES) == set(leaves)
    for kind in leaves:
        code, status = errors._CODES[kind]
        line = next(line for line in errors.__doc__.splitlines() if f" {kind.__name__} " in line)
        assert line.endswith(f"exit {code}, HTTP {status}")


def test_a_subclass_made_elsewhere_takes_its_parents_codes():
    class FormatError(InputError):
        pass

    assert (errors.exit_code(FormatError("no")), errors.http_status(FormatError("no"))) == (2, 422)


def test_an_error_says_what_and_what_to_do():
    error = InputError("It is broken.", hint="Mend it.")
    assert (error.message, error.hint, str(error)) == ("It is broken.", "Mend it.", "It is broken. Mend it.")
    assert str(InputError("It is broken.")) == "It is broken."
