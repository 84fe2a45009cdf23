"""MLBPitchDB, D2A-HMR's baseball pitchers, or any other capture in the format of `capture`.

    <manual>/{train,validation,test}.json, or <manual>/{train,validation,test}/*.json
    <manual>/...                                          images, where the JSON files say

MLBPitchDB is not published. Whoever has it, or images of another sport, writes them in this format.
"""

from collections.abc import Iterator

from etils import epath

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.formats import capture
from data_pipelines.builders.labels.keypoints import ENLARGE, box_of_points
from data_pipelines.builders.labels.projection import median_distance, project
from data_pipelines.records import Record

SPLITS = ("train", "validation", "test")
BLOCK_PEOPLE = 1000
MAX_OFFSET = 0.2  # largest median distance of projected 3-D points from 2-D ones, in units of the box


class MlbPitch(RecordBuilder):
    """Images with named 2-D and 3-D joints."""

    name = "mlb_pitch"
    EXIF = "upright"  # who labels own images sees them as viewers show them
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Write train.json, validation.json and test.json in the format that data_pipelines/builders/formats/capture.py "
        "describes, with the images beside them."
    )
    DESCRIPTION = "Captured people with named 2-D and 3-D joints, such as MLBPitchDB's pitchers."

    def blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        found: dict[str, list[Block]] = {}
        for split in SPLITS:
            single = manual_dir / f"{split}.json"
            files = ([single] if single.exists() else []) + sorted((manual_dir / split).glob("*.json"))
            blocks: list[Block] = []
            for path in files:
                count = len(capture.read(path))
                name = f"{split}/{split}" if path != single and path.stem == split else path.stem
                blocks += [
                    (str(path), start, min(start + BLOCK_PEOPLE, count), name)
                    for start in range(0, count, BLOCK_PEOPLE)
                ]
            if blocks:
                found[split] = blocks
        return found

    def rows(self, split: str, block: Block) -> Iterator[Record | str]:
        file = capture.read(epath.Path(block[0]))
        for number in range(int(block[1]), int(block[2])):
            yield self._row(file, number, file.key(number, str(block[3])))

    def _row(self, file: capture.Capture, number: int, key: str) -> Record | str:
        person = file.person(number)
        given, points = person.pop("box"), person["keypoints_2d"]
        if given is not None:
            person["box_extent"] = ENLARGE * (given[2:] - given[:2])
            box = (given[:2] + given[2:]) / 2, float(person["box_extent"].max())
        elif (found := box_of_points(points)) is None:
            return "keypoints: none, and no box"
        else:
            box = found
        doubt = ""
        both = (points[:, 2] > 0) & (person["keypoints_3d"][:, 3] > 0)
        if person["intrinsics"] is not None and both.any():
            projected = project(person["keypoints_3d"][both, :3], person["intrinsics"])
            if not projected[:, 2].all():
                doubt = "keypoints_3d: behind the camera"
            elif median_distance(projected, points[both]) > MAX_OFFSET * box[1]:
                doubt = "keypoints: 3-D ones do not project onto 2-D ones"
        return self.person(file.image(number), doubt=doubt, key=key, box_center=box[0], box_size=box[1], **person)
