"""The driver of builds: several processes, an interruption, a full disk, keys used twice."""

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets")

from data_pipelines.build import build  # noqa: E402
from data_pipelines.builders import BUILDERS, blocks, finish  # noqa: E402
from data_pipelines.builders.base import RecordBuilder  # noqa: E402
from data_pipelines.builders.labels.source_images import SourceImage  # noqa: E402
from data_pipelines.records.reader import RecordReader  # noqa: E402


class Squares(RecordBuilder):
    """Numbers of rows in text files; a row is a person in a grey square."""

    pkg_dir_path = Path(__file__).parent
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Write numbers into files."

    def __init__(self, *, fail_at: str = "", noise: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.fail_at, self.noise = fail_at, noise

    def blocks(self, manual_dir):
        return {"train": [(str(path),) for path in sorted(manual_dir.glob("*.txt"))]}

    def rows(self, split, block):
        path = Path(block[0])
        with (path.parent / "visits").open("a") as file:
            file.write(path.name + "\n")
        for line in path.read_text().split():
            if line == self.fail_at:
                raise ValueError(f"{path} is broken at {line}.")
            if line == "bad":
                yield "number: bad"
                continue
            image = np.full((64, 64, 3), int(line) % 255, np.uint8)
            image[:, : self.noise] = np.random.default_rng(int(line)).integers(0, 255, (64, self.noise, 3))
            yield self.person(
                SourceImage(image),
                key=line, box_center=[32, 32], box_size=40, keypoints_2d=np.tile([30, 30, 1], (44, 1)),
            )  # fmt: skip


@pytest.fixture
def manual(tmp_path):
    folder = tmp_path / "manual"
    folder.mkdir()
    for number, text in enumerate(("1 2 3 bad", "4 5 5", "6 2 7", "bad")):
        (folder / f"{number}.txt").write_text(text)
    BUILDERS["squares"] = f"{__name__}:Squares"
    yield folder
    del BUILDERS["squares"]


EXPECTED = {"read": 11, "kept": 7, "dropped": {"number: bad": 2, "key: used before": 2}}


def keys(directory):
    reader = RecordReader(directory, "squares", "train")
    return [reader[i]["key"] for i in range(len(reader))]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_build_is_the_same_for_any_number_of_processes(manual, tmp_path, workers):
    report = build("squares", tmp_path / "out", manual, workers=workers)
    assert report["train"] == EXPECTED
    assert keys(tmp_path / "out") == list("1234567")
    folder = tmp_path / "out" / "squares" / "1.0.0"
    assert json.loads((folder / "build_report.json").read_text()) == report
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["squares"]
    info = tfds.builder_from_directory(folder).info  # without the builder's code
    assert info.splits["train"].shard_lengths == [3, 2, 2]
    assert len(list(folder.glob("*.array_record*"))) == 3  # a shard without records is left out


def test_an_interrupted_build_goes_on(manual, tmp_path):
    out = tmp_path / "out"
    (manual / "2.txt").write_text("6 2 oops 7")
    with pytest.raises(ValueError, match=r"2\.txt is broken at oops"):
        build("squares", out, manual, fail_at="oops")
    assert not list(out.rglob("*.part"))
    assert not (out / "squares").exists()
    (manual / "2.txt").write_text("6 2 7")
    assert build("squares", out, manual, fail_at="oops")["train"] == EXPECTED
    assert (manual / "visits").read_text().split() == ["0.txt", "1.txt", "2.txt", "2.txt", "3.txt"]


def test_half_a_shard_is_never_taken_for_a_whole_one(manual, tmp_path):
    """What a killed process leaves: a part under its temporary name, or a shard whose counts were not written."""
    out = tmp_path / "out"
    (manual / "2.txt").write_text("6 2 oops 7")
    with pytest.raises(ValueError, match="broken"):
        build("squares", out, manual, fail_at="oops")
    (manual / "2.txt").write_text("6 2 7")
    staging = out / ".squares.building"
    (staging / "train-00001.json").unlink()
    shard = staging / "train-00001.array_record"
    shard.write_bytes(shard.read_bytes()[:100])
    (staging / ".train-00002.array_record.1234.part").write_bytes(b"half")
    assert build("squares", out, manual, fail_at="oops")["train"] == EXPECTED
    assert keys(out) == list("1234567")


def test_other_options_or_files_start_anew(manual, tmp_path, capsys):
    out = tmp_path / "out"
    (manual / "3.txt").write_text("oops")
    with pytest.raises(ValueError, match="broken"):
        build("squares", out, manual, fail_at="oops")
    (manual / "3.txt").write_text("bad")
    build("squares", out, manual, fail_at="oops", margin=1.5)
    assert "starting anew" in capsys.readouterr().out
    assert (manual / "visits").read_text().split() == ["0.txt", "1.txt", "2.txt", "3.txt"] * 2


def interrupted(manual, out):
    """A build that stops at its third block; then the block's file is mended."""
    (manual / "2.txt").write_text("6 2 oops 7")
    with pytest.raises(ValueError, match="broken"):
        build("squares", out, manual, fail_at="oops")
    (manual / "2.txt").write_text("6 2 7")


def test_a_file_that_changed_after_its_block_was_written_is_read_again(manual, tmp_path):
    out = tmp_path / "out"
    interrupted(manual, out)
    (manual / "0.txt").write_text("1 2 8 bad")
    build("squares", out, manual, fail_at="oops")
    assert keys(out) == list("1284567")


@pytest.mark.parametrize("call", ["write_to_directory", "_place"])
def test_a_build_that_stops_while_it_finishes_goes_on_without_its_blocks(manual, tmp_path, monkeypatch, call):
    """Files of blocks stay as they were written, also those with keys used before."""
    out, real = tmp_path / "out", finish._place
    calls = []

    def stop(*arguments, **more):
        calls.append(arguments)
        if call == "_place" and len(calls) < 3:
            return real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(finish if call == "_place" else tfds.core.DatasetInfo, call, stop)
        with pytest.raises(KeyboardInterrupt):
            build("squares", out, manual)
    visits = (manual / "visits").read_text()
    assert build("squares", out, manual)["train"] == EXPECTED
    assert (manual / "visits").read_text() == visits
    assert keys(out) == list("1234567")
    assert not (out / ".squares.building").exists()


def test_an_unfinished_build_of_another_schema_starts_anew(manual, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(blocks, "FIELDS", {})
        interrupted(manual, out)
    assert build("squares", out, manual, fail_at="oops")["train"] == EXPECTED
    assert "starting anew" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"splits": 3}', b"\xff\xfe"])
def test_damaged_metadata_are_named(manual, tmp_path, name, content):
    build("squares", tmp_path / "out", manual)
    (folder,) = (tmp_path / "out" / "squares").iterdir()
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"(?s)json.*squares.*(again with --overwrite|has no split|build it again)"):
        RecordReader(tmp_path / "out", "squares", "train")


@pytest.fixture
def small_disk():
    """No file may grow beyond 400 kB: stands in for a full disk, on which the same system call fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda limit: resource.setrlimit(resource.RLIMIT_FSIZE, (400_000 if limit else soft, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, old)


def test_a_full_disk_leaves_no_half_shard(manual, tmp_path, small_disk):
    (manual / "1.txt").write_text(" ".join(str(i) for i in range(100, 400)))
    out = tmp_path / "out"
    small_disk(True)
    with pytest.raises(OSError, match=r"train-00001\.array_record cannot be written .*the same command goes on"):
        build("squares", out, manual, noise=64)
    small_disk(False)
    staging = out / ".squares.building"
    assert (staging / "train-00000.json").exists()  # what was finished before stays
    assert not list(staging.glob("*train-00001*"))
    assert not (out / "squares").exists()
    report = build("squares", out, manual, noise=64)
    assert report["train"]["kept"] == 300 + 3 + 2
    assert (manual / "visits").read_text().split() == ["0.txt", "1.txt", "1.txt", "2.txt", "3.txt"]


def test_two_builds_of_one_data_set_do_not_mix(manual, tmp_path):
    code = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True);"
        "sys.stdin.read()"
    )
    staging = tmp_path / "out" / ".squares.building"
    staging.mkdir(parents=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(staging / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(BlockingIOError, match="Another process is building"):
        build("squares", tmp_path / "out", manual)
    holder.stdin.close()
    holder.wait()
    holder.stdout.close()
    assert build("squares", tmp_path / "out", manual)["train"] == EXPECTED


def test_missing_folders_are_named_with_what_belongs_there(manual, tmp_path):
    with pytest.raises(ValueError, match=r"needs --manual-dir. Write numbers"):
        build("squares", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*nowhere. Write numbers"):
        build("squares", tmp_path, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds nothing of 'squares'"):
        build("squares", tmp_path, tmp_path / "empty")
    with pytest.raises(ValueError, match="'squares' has no option 'mragin'; it has fail_at, noise, margin, limit"):
        build("squares", tmp_path, manual, mragin=2)
    for path in manual.glob("*.txt"):
        path.write_text("bad")
    with pytest.raises(ValueError, match=r"No row of split 'train' of 'squares' can be used:\n.*4 read, 0 kept"):
        build("squares", tmp_path, manual)
