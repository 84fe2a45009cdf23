"""Boxes are read from the files of detectors and annotators, or the file is refused with the reason."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hmr_jax.inference.given import read_boxes, read_video_boxes

FIRST, SECOND = [[10.0, 20, 50, 100], [60, 20, 90, 80]], [[5.0, 5, 25, 65]]
SIZES = [[10.0, 20, 40, 80], [60, 20, 30, 60], [5.0, 5, 20, 60]]  # left, top, width, height


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / "images" / f"COCO_val2014_{number:012d}.jpg" for number in (7, 42)]
    paths[0].parent.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned: 100 wide and 200 high when upright
    for path in paths:
        Image.new("RGB", (200, 100)).save(path, exif=exif)
    return paths


def same(found, first=FIRST, second=SECOND):
    for boxes, wanted in zip(found, (first, second), strict=True):
        np.testing.assert_allclose(boxes, np.reshape(wanted, (-1, 4)), atol=1e-9)


def data_set(images, person=1, **changes):
    rows = [
        {"id": i, "image_id": image, "bbox": box, "category_id": person}
        for i, (image, box) in enumerate(zip((1, 1, 2), SIZES, strict=True))
    ]
    rows.append({"id": 9, "image_id": 2, "bbox": [0, 0, 9, 9], "category_id": 5})
    rows.append({"id": 10, "image_id": 2, "bbox": [0, 0, 9, 9], "category_id": person, "iscrowd": 1})
    names = [{"id": number, "file_name": path.name} for number, path in enumerate(images, start=1)]
    categories = [{"id": person, "name": "person"}, {"id": 5, "name": "dog"}]
    return {"images": names, "annotations": rows, "categories": categories} | changes


def results(ids=(7, 7, 42)):
    rows = [{"image_id": i, "bbox": box, "category_id": 1, "score": 0.9} for i, box in zip(ids, SIZES, strict=True)]
    return [*rows, {"image_id": ids[0], "bbox": [0, 0, 9, 9], "category_id": 18, "score": 0.9}]


@pytest.mark.parametrize("kind", ["data set", "another number", "results", "results by name", "results by stem"])
def test_cocos_files(images, tmp_path, kind):
    names, stems = [path.name for path in images], [path.stem for path in images]
    contents = {
        "data set": data_set(images), "another number": data_set(images, 3), "results": results(),
        "results by name": results((names[0], names[0], names[1])),
        "results by stem": results((stems[0], stems[0], stems[1])),
    }[kind]  # fmt: skip
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(contents))
    same(read_boxes(str(path), images))


@pytest.mark.parametrize(
    "header",
    ["file,left,top,right,bottom", "image, X1, Y1, X2, Y2", "x,y,w,h,score,file_name", "x,y,width,height,name"],
)
def test_tables(images, tmp_path, header):
    columns = [column.strip().lower() for column in header.split(",")]
    corners, names = FIRST + SECOND, [images[0].name] * 2 + [images[1].name]
    lines = [header]
    for box, sizes, name in zip(corners, SIZES, names, strict=True):
        numbers = iter(sizes if "w" in columns or "width" in columns else box)
        own = dict.fromkeys(("file", "image", "file_name", "name"), name) | {"score": "0.5"}
        lines.append(",".join(own[column] if column in own else str(next(numbers)) for column in columns))
    path = tmp_path / "boxes.csv"
    path.write_text("\n".join(lines))
    same(read_boxes(str(path), images))


def test_yolos_shares_are_of_the_upright_image(images, tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    rows = [f"0 {(x + w / 2) / 100} {(y + h / 2) / 200} {w / 100} {h / 200}" for x, y, w, h in SIZES]
    (folder / f"{images[0].stem}.txt").write_text("\n".join([*rows[:2], "16 0.5 0.5 0.1 0.1 0.9", ""]))
    (folder / f"{images[1].stem}.txt").write_text(rows[2] + " 0.77")
    same(read_boxes(str(folder), images))
    (folder / f"{images[1].stem}.txt").unlink()
    with pytest.warns(UserWarning, match="no boxes for COCO_val2014_000000000042.jpg: nobody is there"):
        same(read_boxes(str(folder), images), second=[])
    (alone,) = read_boxes(str(folder / f"{images[0].stem}.txt"), images[:1])
    same([alone, SECOND])


def test_archives_hold_an_array_for_each_name(images, tmp_path):
    np.savez(tmp_path / "boxes.npz", **{images[0].name: FIRST, images[1].name: SECOND})
    same(read_boxes(str(tmp_path / "boxes.npz"), images))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "file,a,b,c,d\nx,1,2,3,4", "needs a header with 'file'.*it has file, a, b, c, d"),
        ("a.csv", "x0,y0,x1,y1\n1,2,3,4", "needs a header with 'file'"),
        ("a.csv", "file,x0,y0,x1,y1,x2,y2\na,1,2,3,4,5,6", "needs a header"),
        ("a.csv", "file,x,y,w,h\nx.jpg,1,2,3", "Line 2 of .* does not hold four numbers"),
        (
            "a.json",
            '[{"image_id": 1, "bbox": [1, 2, 3]}, {"image_id": 7, "bbox": [1]}]',
            "does not hold results of COCO",
        ),
        ("a.json", '[{"image_id": 1, "bbox": [1, 2, 3, 4]}]', "no people in any of the images"),
        ("a.json", '{"images": [{"id": 1}], "annotations": []}', "is not a data set in COCO's format"),
        ("a.json", "[[1, 2, 3, 4]]", "must hold {file name"),
        ("a.npz", "no archive", "is not a readable npz file"),
        ("a.npz", "", "is not a readable npz file"),
        ("a.csv", "", "needs a header with 'file'.*it has none"),
        ("a.json", "", "is not valid JSON"),
        ("a.txt", "0 0.5 0.5 0.1 0.1", "give .json, .csv, .npz, or a folder"),
        ("labels/x.txt", "", "or other text file of YOLO"),
    ],
)
def test_other_files_are_refused_with_the_reason(images, tmp_path, name, text, words):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_boxes(str(path.parent if path.parent.name == "labels" else path), images)


@pytest.mark.parametrize("line", ["0 50 50 10 10", "0 0.5 0.5 0.1", "person 0.5 0.5 0.1 0.1", "0 0.5 nan 0.1 0.1"])
def test_lines_that_are_not_yolos_are_refused(images, tmp_path, line):
    (tmp_path / "a.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(ValueError, match=r"Line 2 of .* is not YOLO's"):
        read_boxes(str(tmp_path / "a.txt"), images[:1])


@pytest.mark.parametrize("kind", ["by frame", "all frames", "mot"])
def test_boxes_of_videos_are_by_frame(tmp_path, kind):
    path = tmp_path / ("a.txt" if kind == "mot" else "a.json")
    mot = [f"{frame},{i},{','.join(map(str, SIZES[i]))},1,-1,-1,-1" for frame, i in ((1, 0), (1, 1), (3, 2))]
    path.write_text({
        "by frame": json.dumps({"0": FIRST, "2": SECOND}), "all frames": json.dumps([FIRST, [], SECOND]),
        "mot": "\n".join(mot),
    }[kind])  # fmt: skip
    found = read_video_boxes(str(path))
    same([found[0], found[2]])
    assert len(found.get(1, [])) == 0
    assert read_video_boxes("") is None


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", '{"first": [[1, 2, 3, 4]]}', "must hold {frame number"),
        ("a.txt", "0,1,1,2,3,4", "Line 1 of .* is not MOT"),
        ("a.txt", "1,1,1,2,3,4\n2 1 1 2 3 4", "Line 2 of .* is not MOT"),
        ("a.csv", "", "for a video"),
    ],
)
def test_other_boxes_of_videos_are_refused(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=words):
        read_video_boxes(str(tmp_path / name))


def test_text_that_is_none_is_refused(images, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\0\1")
    for read in (lambda path: read_boxes(path, images[:1]), read_video_boxes):
        with pytest.raises(ValueError, match=r"a\.txt is not a file of text"):
            read(str(tmp_path / "a.txt"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("3", "must hold"),
        ('{"b.jpg": []}', "no boxes for a.jpg"),
        ('{"a.jpg": [[1, 2]]}', "not a list of"),
    ],
)
def test_box_files_are_checked(tmp_path, content, message):
    path = tmp_path / "boxes.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_boxes(str(path), [Path("a.jpg")])


def test_box_files_of_other_systems_are_read(tmp_path):
    text = json.dumps({"sub/\u00e9.jpg": [[1, 2, 30, 40]], "b.jpg": [1, 2, 30, 40]}, ensure_ascii=False)
    composed, decomposed = Path("sub/\u00e9.jpg"), Path("sub/e\u0301.jpg")
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "boxes.json").write_text(text, encoding=encoding)
        for path in (composed, decomposed, tmp_path / decomposed):
            boxes = read_boxes(str(tmp_path / "boxes.json"), [path, Path("b.jpg")])
            np.testing.assert_array_equal(boxes, [[[1, 2, 30, 40]]] * 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"x.jpg": []}', "'x.jpg' could be c1/x.jpg or c2/x.jpg; state the folder, too"),
        ('{"c1/x.jpg": []}', "has no boxes for x.jpg"),
        ('{"c1/x.jpg": [], "c2/x.jpg": [], "c1/x.jpg": []}', "'c1/x.jpg' stands twice"),
        ('{"c1/x.jpg": [], "./c1/x.jpg": [], "c2/x.jpg": []}', "are the same file"),
        ('{"c1/x.jpg": [[1, 2, 3, 4, 0.9]], "c2/x.jpg": []}', "leave scores, classes and other columns out"),
        ('{"c1/x.jpg": [[1, 2, 3, 4, 0.9, 0], [1, 2, 3, 4, 0.9, 0]], "c2/x.jpg": []}', r"shape \(2, 6\)"),
        ('{"c1/x.jpg": [1, 2, 3, 4, 5, 6, 7, 8], "c2/x.jpg": []}', r"shape \(8,\)"),
        ('{"c1/x.jpg": [[1, 2, 3, 4], [1, 2, 3]], "c2/x.jpg": []}', "are not a list of"),
        ('{"c1/x.jpg": {"box": 1}, "c2/x.jpg": []}', "are not a list of"),
        ('{"c1/x.jpg": ' + 100000 * "[", "not valid JSON"),
    ],
    ids=lambda text: text[:40],
)
def test_boxes_of_a_name_in_two_folders_and_rows_with_more_are_refused(tmp_path, content, message):
    (tmp_path / "boxes.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_boxes(str(tmp_path / "boxes.json"), [Path("c1/x.jpg"), Path("c2/x.jpg")])


def test_boxes_by_folder_and_name_go_to_their_images(tmp_path):
    images = [tmp_path / "c1" / "x.jpg", tmp_path / "c2" / "x.jpg", tmp_path / "c2" / "y.jpg"]
    table = {"c2/x.jpg": [[0, 0, 2, 2]], str(images[0]): [[0, 0, 1, 1]], "y.jpg": [], "c3/x.jpg": [[9, 9, 10, 10]]}
    (tmp_path / "boxes.json").write_text(json.dumps(table))
    boxes = read_boxes(str(tmp_path / "boxes.json"), images)
    assert [own.tolist() for own in boxes] == [[[0, 0, 1, 1]], [[0, 0, 2, 2]], []]
