"""The page about a data set shows what is in it, and bodies where the people are."""

import io
import re

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow_datasets")

from formats import mlb_pitch
from formats.people import people

from data_pipelines import records
from data_pipelines.build import build
from data_pipelines.inspect import main, reprojection
from data_pipelines.records.drawing import SIDE, draw_record, fit_translation
from data_pipelines.records.reader import decode_person
from hmr_jax import cli


def record(**changes):
    person = {name: values[0] for name, values in people().items()}
    made = records.encode(
        person["image"], key="one", dataset="d", topology="hmr-default",
        **{name: person[name] for name in ("box_center", "keypoints_2d", "keypoints_3d", "pose", "betas", "translation",
                                           "intrinsics")},
        box_size=float(person["box_size"]),
    )  # fmt: skip
    return made | changes, person


def silhouette(made) -> np.ndarray:
    """Where the right panel differs from the image."""
    drawn = draw_record(made, decode_person(made))
    image = Image.open(io.BytesIO(made["image/encoded"])).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.abs(drawn[:, SIDE:].astype(int) - np.asarray(image)).max(2) > 25


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return (first & second).sum() / (first | second).sum()


def test_the_body_is_drawn_where_the_person_is():
    made, person = record()
    mask = np.asarray(Image.fromarray(person["mask"] > 0).resize((SIDE, SIDE))) > 0
    assert overlap(silhouette(made), mask) > 0.6


@pytest.mark.parametrize("missing", ["smpl/has_translation", "camera/has_intrinsics"])
def test_without_camera_or_translation_the_body_still_meets_the_keypoints(missing):
    full, _ = record()
    less, _ = record(**{"smpl/has_translation": np.float32(0), missing: np.float32(0)})
    assert overlap(silhouette(full), silhouette(less)) > 0.6


def test_the_translation_of_projected_points_is_found():
    rng = np.random.default_rng(0)
    points, translation = rng.normal(0, 0.5, (9, 3)), np.array([0.3, -0.2, 4])
    intrinsics = np.array([[500.0, 0, 80], [0, 520, 70], [0, 0, 1]])
    pixels = (points + translation) @ intrinsics.T
    pixels = np.concatenate([pixels[:, :2] / pixels[:, 2:], np.ones((9, 1))], 1)
    np.testing.assert_allclose(fit_translation(points, pixels, intrinsics), translation, atol=1e-9)


def test_errors_of_projection_are_in_px():
    made, _ = record()
    assert reprojection(made).max() < 0.01
    made["keypoints_2d"] = made["keypoints_2d"] + [3, 4, 0]
    made["keypoints_2d"][7, 2] = 0
    errors = reprojection(made)
    assert np.isnan(errors[7])
    np.testing.assert_allclose(np.delete(errors, 7), 5, atol=0.01)
    assert reprojection(made | {"camera/has_intrinsics": 0}) is None


def test_the_page_tells_and_shows_what_is_there(tmp_path, capsys):
    contents, _ = mlb_pitch.document()
    contents["people"].append(contents["people"][0] | {"id": "other", "image": "images/none.jpg"})
    mlb_pitch.write(tmp_path / "m", contents)
    build("mlb_pitch", tmp_path / "o", tmp_path / "m")
    cli.run(main, "inspect", ["mlb_pitch", "--data-dir", str(tmp_path / "o")])
    assert capsys.readouterr().out.endswith("mlb_pitch.html\n")
    page = (tmp_path / "o" / "mlb_pitch.html").read_text()
    assert "dropped: image: missing" in page
    assert len(re.findall("<img ", page)) == 2
    assert page.count("<svg") >= 6
    row = re.search("<td>openpose_nose</td>(.*?)</tr>", page).group(1)
    assert row.count("100 %") == 2
    assert "0.00 px" in row
    assert 'src="http' not in page
    with pytest.raises(SystemExit, match="2"):
        cli.run(main, "inspect", ["mlb_pitch", "--data-dir", str(tmp_path / "o"), "--splits", "test"])
    assert "has no split 'test'" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli.run(main, "inspect", ["mlb_pich", "--data-dir", str(tmp_path / "o")])
    assert "Did you mean mlb_pitch" in capsys.readouterr().err
