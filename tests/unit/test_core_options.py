import pytest
from pydantic import ValidationError

from metseg.core.options import Options


class Blur(Options):
    sigma_mm: float = 1.5


def test_a_misspelt_option_is_an_error():
    with pytest.raises(ValidationError, match="sigma_m"):
        Blur(sigma_m=2.0)


def test_options_cannot_be_changed():
    options = Blur(sigma_mm=2.0)
    with pytest.raises(ValidationError, match="frozen"):
        options.sigma_mm = 3.0
    assert options.sigma_mm == 2.0
