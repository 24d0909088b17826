import pytest

from metseg.core.errors import InputError
from metseg.core.lesion import Lesion, LesionTable


def lesion(number: int, volume_mm3: float) -> Lesion:
    return Lesion(number, volume_mm3, 3.0, 2.0, 3.5, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), 6, ((3, 4, 5), (6, 7, 8)))


def test_a_table_holds_lesions_largest_first():
    table = LesionTable((lesion(1, 2500.0), lesion(2, 40.0), lesion(3, 40.0)))
    assert len(table) == 3
    assert table.total_volume_mm3 == 2580
    assert [entry.volume_ml for entry in table] == [2.5, 0.04, 0.04]


def test_an_empty_table_has_no_volume():
    assert (len(LesionTable()), LesionTable().total_volume_mm3) == (0, 0)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (((1, 10.0), (2, 20.0)), "largest first"),
        (((2, 20.0), (1, 10.0)), "numbered"),
        (((0, 20.0), (1, 10.0)), "numbered"),
        (((1, 20.0), (3, 10.0)), "numbered"),
    ],
)
def test_a_table_out_of_order_cannot_exist(entries, message):
    with pytest.raises(InputError, match=message):
        LesionTable(tuple(lesion(*entry) for entry in entries))
