"""A damaged file of stored parameters is named in an error, and never read as other numbers."""

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tiny

from hmr_jax.body import coarse, default_body
from hmr_jax.checkpoints import exported
from hmr_jax.checkpoints.converted import load_network, save_converted
from hmr_jax.io.checksums import NAME, verify_checksums, write_checksums
from hmr_jax.io.orbax_arrays import read_item
from hmr_jax.io.research_files import read_contents

PARAMS = {
    "encoder": {"kernel": np.arange(12, dtype=np.float32).reshape(3, 4), "scale": np.ones(3, np.float16)},
    "batch_stats": {"encoder": {"mean": np.zeros((), np.float32)}},
}


def converted(folder):
    save_converted(folder, {"backbone": {"name": "x"}}, PARAMS, {})
    return folder / "params", lambda: load_network(folder, "backbone")[1]


def frozen(folder):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder, jax.tree.map(jax.numpy.asarray, PARAMS))
    write_checksums(folder)
    return folder, lambda: read_item(folder)


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << position % 8
    path.write_bytes(data)


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME)


@pytest.mark.parametrize("make", [converted, frozen])
def test_a_flipped_byte_a_cut_off_and_a_deleted_file_are_named(tmp_path, make):
    folder, load = make(tmp_path / "item")
    assert len(files(folder)) > 5
    for path in files(folder):
        whole = path.read_bytes()
        for position in {0, len(whole) // 2} if whole else ():
            flip(path, position)
            with pytest.raises(ValueError, match=f"{path} is damaged"):
                load()
            path.write_bytes(whole)
        path.write_bytes(whole + b"\0")
        with pytest.raises(ValueError, match=f"{path} has .* bytes instead of"):
            load()
        path.write_bytes(whole[:-1])
        if whole:
            with pytest.raises(ValueError, match=f"{path} has .* bytes instead of"):
                load()
        path.unlink()
        with pytest.raises(ValueError, match=f"{path} is missing"):
            load()
        path.write_bytes(whole)
    jax.tree.map(np.testing.assert_array_equal, load(), PARAMS)


@pytest.mark.parametrize("make", [converted, frozen])
def test_a_folder_written_before_there_were_checksums_loads(tmp_path, make):
    folder, load = make(tmp_path / "item")
    (folder / NAME).unlink()
    jax.tree.map(np.testing.assert_array_equal, load(), PARAMS)


@pytest.mark.parametrize("text", ["", "{}", '{"crc32": 3}', '{"crc32": {"a": 1}}', '{"crc32": {"a": [1, 2'])
def test_a_damaged_list_of_checksums_is_named(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    with pytest.raises(ValueError, match=rf"list of checksums .*{NAME} is damaged"):
        verify_checksums(tmp_path)


def test_a_whole_array_that_is_missing_is_named_without_checksums_too(tmp_path):
    folder, load = converted(tmp_path / "item")
    (folder / NAME).unlink()
    for path in files(folder / "encoder.kernel"):
        path.unlink()
    with pytest.raises(ValueError, match=r"the array encoder\.kernel is missing"):
        load()


def test_no_flipped_byte_of_an_exported_folder_changes_a_number(tmp_path):
    params = {"head": {"kernel": np.arange(6.0).reshape(2, 3), "bias": np.ones(300)}}
    exported.export(tmp_path, tiny.config(tmp_path), params)
    path = tmp_path / "params.npz"
    whole, refused = path.read_bytes(), 0
    for position in range(len(whole)):
        flip(path, position)
        try:
            jax.tree.map(np.testing.assert_array_equal, exported.load_exported(tmp_path)[1], params)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017
            refused += 1
        path.write_bytes(whole)
    assert refused > len(whole) / 2
    path.write_bytes(whole[:-30])
    with pytest.raises(ValueError, match=str(path)):
        exported.load_exported(tmp_path)


@pytest.mark.parametrize("asset", ["default_body.npz", "default_coarse.npz", "deforhmr_heavy/params.npz"])
def test_a_flipped_byte_of_a_shipped_file_is_named(tmp_path, monkeypatch, asset):
    path = tmp_path / asset.replace("/", "-")
    path.write_bytes((exported.ASSETS / asset).read_bytes())
    for position in range(100, path.stat().st_size, path.stat().st_size // 7):
        flip(path, position)
        with pytest.raises(ValueError, match=str(path)):
            read_contents(path)
        flip(path, position)
    flip(path, 5000)
    monkeypatch.setattr(default_body, "_ASSET", path)
    monkeypatch.setattr(coarse, "_ASSET", path)
    with pytest.raises(ValueError, match=str(path)):
        coarse.read_coarse_mesh(path) if "coarse" in asset else default_body.mirror_vertices()
