"""The lesion table as JSON and CSV, and writing that is whole or not at all."""

import csv
import json

import pytest

from metseg.core.errors import MetsegError
from metseg.core.lesion import KnownLesion, Lesion, LesionTable, Location
from metseg.io.atomic import atomic_writer, write_text
from metseg.io.lesion_files import write_lesions_csv, write_lesions_json

BIG = Lesion(
    id=1, volume_mm3=1234.56789, diameter_mm=14.25, perpendicular_mm=9.5, diameter_3d_mm=15.0,
    centre_mm=(-12.5, 30.0, -0.00001), centre_ijk=(10.5, 20.0, 7.25), slice_number=7,
    bbox_ijk=((8, 15, 5), (14, 26, 10)), confidence=0.91, side="left",
    location=Location(("frontal lobe", "parietal lobe"), 0.87654),
)  # fmt: skip
SMALL = Lesion(2, 8.0, 2.8284271, 2.0, 3.4641016, (1.0, 2.0, 3.0), (3.5, 4.5, 5.5), 5, ((3, 4, 5), (5, 6, 7)))
TABLE = LesionTable((BIG, SMALL))


def test_json_holds_every_measure(tmp_path):
    write_lesions_json(tmp_path / "lesions.json", TABLE, "Müller 1")
    content = json.loads((tmp_path / "lesions.json").read_text(encoding="utf-8"))
    assert (content["case"], content["n"]) == ("Müller 1", 2)
    assert content["total_volume_mm3"] == 1242.5679
    assert content["total_volume_ml"] == 1.2425679
    assert content["lesions"][0] == {
        "id": 1, "volume_mm3": 1234.5679, "volume_ml": 1.2345679, "diameter_mm": 14.25, "perpendicular_mm": 9.5,
        "diameter_3d_mm": 15.0, "centre_mm": [-12.5, 30.0, 0.0], "centre_ijk": [10.5, 20.0, 7.25], "slice_number": 7,
        "bbox_ijk": [[8, 15, 5], [14, 26, 10]], "confidence": 0.91, "side": "left",
        "location": "frontal or parietal lobe", "location_share": 0.8765,
    }  # fmt: skip
    assert content["lesions"][1]["confidence"] is None
    assert set(content["units"]) == set(content["lesions"][0]) - {"id"}


def test_json_sums_up_what_became_of_known_lesions(tmp_path):
    known = [
        KnownLesion(1, 905.12345, (-12.5, 30.0, -0.00001), 1.0, 1, found=True),
        KnownLesion(2, 80.0, (1.23456, 2.0, 3.0), 1.0, 2, found=False),
        KnownLesion(3, 33.0, (0.0, 5.0, 6.0), 1 / 3, 3, found=True),  # found, though it is cut by the edge
        KnownLesion(4, 8.0, (4.0, 5.0, 60.0), 1 / 3, 4, found=False),
        KnownLesion(5, 4.0, (4.0, 5.0, 90.0), 0.0, 0, found=False),
    ]
    write_lesions_json(tmp_path / "lesions.json", TABLE, "c", known=known)
    content = json.loads((tmp_path / "lesions.json").read_text())
    assert content["known"] == {
        "n": 5,
        "n_found_again": 2,
        "not_found_again": [{"id": 2, "volume_mm3": 80.0, "centre_mm": [1.2346, 2.0, 3.0]}],
        "outside_image": [
            {"id": 4, "volume_mm3": 8.0, "centre_mm": [4.0, 5.0, 60.0], "share_inside": 0.3333},
            {"id": 5, "volume_mm3": 4.0, "centre_mm": [4.0, 5.0, 90.0], "share_inside": 0.0},
        ],
    }
    assert {"known", "share_inside"} <= set(content["units"])
    write_lesions_json(tmp_path / "lesions.json", TABLE, "c")
    assert "known" not in (tmp_path / "lesions.json").read_text()


def test_csv_holds_the_same_as_numbers(tmp_path):
    write_lesions_csv(tmp_path / "lesions.csv", TABLE)
    with (tmp_path / "lesions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["1", "2"]
    assert {key: rows[0][key] for key in ("volume_ml", "centre_z_mm", "centre_k", "slice_number", "bbox_stop_j")} == {
        "volume_ml": "1.2345679", "centre_z_mm": "0.0", "centre_k": "7.25", "slice_number": "7", "bbox_stop_j": "26",
    }  # fmt: skip
    assert (rows[0]["confidence"], rows[1]["confidence"]) == ("0.91", "")
    assert [row.pop("side") for row in rows] == ["left", ""]
    assert [row.pop("location") for row in rows] == ["frontal or parietal lobe", ""]
    assert rows[0]["location_share"] == "0.8765"
    assert all(float(value) is not None for row in rows for value in row.values() if value)


def test_no_lesion_is_an_empty_list_and_a_header_line(tmp_path):
    write_lesions_json(tmp_path / "l.json", LesionTable(), "c")
    write_lesions_csv(tmp_path / "l.csv", LesionTable())
    assert json.loads((tmp_path / "l.json").read_text())["lesions"] == []
    assert (tmp_path / "l.csv").read_text().count("\n") == 1


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail():
        with atomic_writer(path) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_missing_folder_is_a_sentence(tmp_path):
    with pytest.raises(MetsegError, match=r"a\.txt could not be written") as error:
        write_text(tmp_path / "gone" / "a.txt", "x")
    assert error.value.hint
