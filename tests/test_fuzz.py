"""Files made at random break no reader, and those that once did are refused."""

import io
import pickle

import fuzz
import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")

from hmr_jax.io import safe_pickle


def test_random_files_break_no_reader():
    fuzz.run(400)


def test_the_kinds_of_files_can_be_chosen(monkeypatch):
    seen = set()
    monkeypatch.setattr(fuzz, "check", lambda kind, data: seen.add(kind))
    fuzz.run(50, kinds=["tar", "npz"])
    assert seen == {"tar", "npz"}


def test_the_fuzzer_notices_code_that_runs():
    class Attack:
        def __reduce__(self):
            return eval, ("1 + 1",)

    data = pickle.dumps(Attack())
    fuzz.check("pickle", data)
    readers = dict(fuzz.READERS)
    fuzz.READERS["pickle"] = pickle.loads  # what others use
    try:
        with pytest.raises(AssertionError, match="exec"):
            fuzz.check("pickle", data)
    finally:
        fuzz.READERS.update(readers)


EMPTY_OBJECTS = pickle.dumps(np.array([1, None], object), 2).replace(b"(K\x01Ne", b"")
"""An array of two objects whose list is empty: NumPy read what lies behind it, which ended the process."""
BROKE = {
    "fewer objects than an array has": ("pickle", EMPTY_OBJECTS),
    "ten bytes that ask for gigabytes of places in the memo": (
        "pickle", b"\x80\x02Nr" + (2**30).to_bytes(4, "little") + b".",
    ),
    "the same as text": ("pickle", b"Np99999999999\n."),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKE)
def test_files_that_once_broke_a_reader_are_refused(name):
    kind, data = BROKE[name]
    with pytest.raises(ValueError):  # noqa: PT011
        fuzz.READERS[kind](data)
    fuzz.check(kind, data)


def test_a_search_of_python_for_its_own_source_text_is_harmless():
    # Python 3.12's tokenizer looks for a file named "<string>" when a header's brackets stay open.
    header = b"{'shape': (3, e, 'shape': (3, 4), }".ljust(117) + b"\n"
    fuzz.check("npy", b"\x93NUMPY\x01\x00\x76\x00" + header + bytes(96))


def test_many_stored_objects_are_no_reason_to_refuse():
    values = [[number] for number in range(3000)]
    values += values
    for protocol in range(6):
        assert safe_pickle.load(io.BytesIO(pickle.dumps(values, protocol))) == values
    array = np.arange(1000)
    for protocol in range(6):
        loaded = safe_pickle.load(io.BytesIO(pickle.dumps([array] * 300, protocol)))
        assert (loaded[-1] == array).all()
