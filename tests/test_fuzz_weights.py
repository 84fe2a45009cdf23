"""Published weights end in right parameters or in a sentence; fuzz_weights.py has the examples."""

import zipfile

import fuzz_weights
import numpy as np
import pytest
from fuzz_weights import OPTIONS, states
from torch_zip import write_torch_legacy, write_torch_zip

from hmr_jax.weights import convert_state, read_torch_checkpoint
from hmr_jax.weights.checksums import check_sums
from hmr_jax.weights.convert import convert


@pytest.mark.parametrize("kind", fuzz_weights.CHECKS)
def test_random_weights_give_right_parameters_or_a_sentence(kind):
    count = 5 if kind in ("blazepose", "resnet") else 30
    results = [fuzz_weights.one(kind, seed) for seed in range(count)]
    assert 0 < sum(results) < count


def test_a_damaged_number_in_a_file_of_pytorch_is_noticed(tmp_path):
    path = write_torch_zip(tmp_path / "w.pth", {"state_dict": states()["hmr2"]})
    data = bytearray(path.read_bytes())
    value = np.float32(states()["hmr2"]["smpl_head.deccam.bias"][0]).tobytes()
    assert data.count(value) >= 1
    data[data.find(value) + 1] ^= 1
    path.write_bytes(data)
    read_torch_checkpoint(path)  # as torch.load, which does not compare checksums
    with pytest.raises(
        ValueError, match=r"w\.pth is damaged \(the checksum of archive/data/\d+ is another\): download it"
    ):
        convert(path, tmp_path / "out", OPTIONS)
    assert not (tmp_path / "out").exists()


def test_files_without_checksums_are_read(tmp_path):
    path = write_torch_zip(tmp_path / "w.pth", {"a": np.arange(9, dtype=np.float32)})
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + 16 : at + 20] = bytes(4)  # a writer may leave them out
        at = data.find(b"PK\x01\x02", at + 4)
    path.write_bytes(data)
    check_sums(path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is not None


def test_what_does_not_fit_is_refused_with_the_name_of_the_file(tmp_path):
    for name, change, error in (
        ("shape", {"smpl_head.deccam.bias": np.zeros(4, np.float32)}, ValueError),
        ("missing", {"smpl_head.deccam.bias": None}, KeyError),
        ("extra", {"extra.weight": np.zeros(4, np.float32)}, ValueError),
    ):
        state = {key: array for key, array in (states()["hmr2"] | change).items() if array is not None}
        path = write_torch_zip(tmp_path / f"{name}.pth", state)
        with pytest.raises(error, match=rf"{name}\.pth cannot be converted\. "):
            convert(path, tmp_path / "out", OPTIONS)


def test_negative_variances_are_refused():
    state = dict(fuzz_weights._resnet())
    state["layer1.0.bn1.running_var"] = -state["layer1.0.bn1.running_var"]
    with pytest.raises(ValueError, match=r"'layer1\.0\.bn1\.running_var' holds negative variances"):
        convert_state(state)


def test_the_writer_of_the_old_format_writes_what_pytorch_wrote(tmp_path):
    wanted = states()["vitpose"]
    found = read_torch_checkpoint(write_torch_legacy(tmp_path / "old.pth", {"state_dict": wanted, "epoch": 3}))
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)


def test_a_list_of_no_parts_is_refused(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    with pytest.raises(ValueError, match=r"cannot be read: model\.safetensors\.index\.json is not a list"):
        convert(tmp_path, tmp_path / "out", OPTIONS)
