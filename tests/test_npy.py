"""Arrays of npy streams: as NumPy wrote them, whole or some rows; damage is refused."""

import io

import numpy as np
import pytest

from hmr_jax.io import npy

ARRAYS = {
    "numbers": np.arange(24.0).reshape(4, 3, 2),
    "fortran": np.asfortranarray(np.arange(12).reshape(4, 3)),
    "text": np.array(["a", "bc", "def", "g"]),
    "one axis": np.arange(4, dtype=np.uint8),
    "empty rows": np.zeros((4, 0)),
}


def stream(array, length=None):
    file = io.BytesIO()
    np.save(file, array)
    return io.BytesIO(file.getvalue()[:length])


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back(name):
    file = stream(ARRAYS[name])
    header = npy.read_header(file)
    assert header.shape == ARRAYS[name].shape
    np.testing.assert_array_equal(npy.read_data(file, header), ARRAYS[name])


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize(("start", "stop"), [(0, 2), (1, 3), (3, 9), (4, 9), (0, 0)])
def test_rows_come_back(name, start, stop):
    file = stream(ARRAYS[name])
    rows = npy.read_rows(file, npy.read_header(file), start, stop)
    np.testing.assert_array_equal(rows, ARRAYS[name][start:stop])


def test_a_number_without_axes_is_an_array_without_rows():
    file = stream(np.array(2.5))
    header = npy.read_header(file)
    assert npy.read_data(file, header) == 2.5
    with pytest.raises(ValueError, match="no rows"):
        npy.read_rows(file, header, 0, 1)


def test_damage_and_objects_are_refused():
    whole = ARRAYS["numbers"]
    for read in (npy.read_data, lambda *arguments: npy.read_rows(*arguments, 2, 4)):
        for missing in (1, 100):
            file = stream(whole, -missing)
            with pytest.raises(ValueError, match="ends early"):
                read(file, npy.read_header(file))
    with pytest.raises(ValueError, match="magic string"):
        npy.read_header(io.BytesIO(b"no array at all"))
    objects = np.array([{}], object)
    file = stream(objects)
    with pytest.raises(ValueError, match="holds objects"):
        npy.read_data(file, npy.read_header(file))
