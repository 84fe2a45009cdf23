"""What a call of `Predictor` returns: people that can be shown, written, and read on in other programs."""

import asyncio
import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import ExifTags, Image

from hmr_jax.inference import People, Predictor
from hmr_jax.inference.files import predict_files


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint):
    return Predictor.from_checkpoint(tiny_checkpoint)


@pytest.fixture
def files(photos):
    return sorted(photos.iterdir())


def test_files_are_read_as_the_command_reads_them(predictor, photos, files):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 26
    Image.open(files[0]).save(files[0], exif=exif)
    for given in (files, [str(file) for file in files], [Image.open(file) for file in files]):
        people = predictor(given, "whole")
        assert [(photo.size, photo.camera.source) for photo in people.photos] == [
            ((120, 90), "exif"),
            ((200, 100), "default"),
        ]
        assert people.names == ["a", "b"]
    assert len(predictor(files[0], "whole")) == 1
    with pytest.raises(FileNotFoundError, match=r"There is no image .*c\.jpg"):
        predictor(photos / "c.jpg", "whole")
    files[1].write_bytes(files[1].read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"b\.png cannot be decoded"):
        predictor(files, "whole")


def test_people_are_a_list_that_knows_its_images(predictor, files):
    boxes = [np.array([[10.0, 10, 60, 90], [20, 5, 80, 110]]), np.zeros((0, 4))]
    people = predictor(files, boxes)
    assert isinstance(people, list)
    assert isinstance(people, People)
    assert [len(people.of(number)) for number in range(2)] == [2, 0]
    assert [photo.path for photo in people.photos] == files
    assert not predictor([], [])


def test_saved_files_are_those_of_the_command(predictor, files, tmp_path):
    saved = predictor(files, "whole").save(tmp_path / "saved")
    written = list(predict_files(predictor, files, tmp_path / "written", "whole"))
    assert sorted(path.name for path in saved) == sorted(path.name for path in written)
    for path in saved:
        assert path.read_bytes() == (tmp_path / "written" / path.name).read_bytes(), path
    again = predictor(files[:1], "whole").save(tmp_path / "saved", kinds=["json"])
    assert [path.name for path in again] == ["a.json"]
    assert not (tmp_path / "saved" / "a.npz").exists()


@pytest.mark.parametrize(
    ("kinds", "words"), [(["jsn"], "'jsn' is no kind of result"), (["overlay"], "choose another folder")]
)
def test_what_cannot_be_saved_is_refused(predictor, photos, kinds, words):
    file = photos / "a_overlay.png"
    Image.new("RGB", (40, 50)).save(file)
    people = predictor([photos / "a.jpg", file], "whole")
    before = sorted(photos.iterdir())
    with pytest.raises(ValueError, match=words):
        people.save(photos, kinds)
    assert sorted(photos.iterdir()) == before


def test_a_dictionary_holds_what_the_file_holds(predictor, files, tmp_path):
    people = predictor(files, "whole")
    people.save(tmp_path / "saved", ["json"])
    made = people.to_dict()
    assert json.loads(json.dumps(made)) == made
    assert made == {name: json.loads((tmp_path / "saved" / f"{name}.json").read_text()) for name in "ab"}


def test_arrays_without_a_name_are_numbered(predictor):
    people = predictor([np.zeros((40, 50, 3), np.uint8)] * 2, "whole")
    assert list(people.to_dict()) == ["image", "image_2"]


def test_a_page_shows_every_image_and_body(predictor, files, tmp_path):
    page = predictor(files, [np.array([[10.0, 10, 60, 90]] * 2), np.zeros((0, 4))]).to_html(tmp_path / "new" / "p.html")
    text = page.read_text()
    assert text.count("<iframe") == 2
    assert text.count("<img") == 2
    assert "2 people; checkpoint tiny." in text
    assert "<h2>b.png</h2>" in text


def test_overlays_are_shown_in_notebooks_and_elsewhere(predictor, files, monkeypatch):
    people = predictor(files, "whole")
    shown = []
    monkeypatch.setattr(Image.Image, "show", lambda image: shown.append(np.asarray(image)))
    people.show()
    np.testing.assert_array_equal(shown[0], people.overlay(0))
    np.testing.assert_array_equal(shown[1], people.overlay(1))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(people._repr_png_()))), shown[0])
    below = []
    notebook = SimpleNamespace(get_ipython=lambda: True, display=SimpleNamespace(display=below.append))
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    people.show()
    assert (len(shown), len(below)) == (2, 2)


def test_calls_from_several_threads_do_not_disturb_each_other(predictor, files):
    alone = [predictor(file, "whole")[0] for file in files]

    async def all_at_once():
        return await asyncio.gather(*(asyncio.to_thread(predictor, file, "whole") for file in files * 6))

    for number, people in enumerate(asyncio.run(all_at_once())):
        for name in ("vertices", "translation", "keypoints_image"):
            np.testing.assert_array_equal(getattr(people[0], name), getattr(alone[number % 2], name))
