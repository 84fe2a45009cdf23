"""What users give to predictions ends in a result or in a sentence; fuzz_inputs.py has the examples."""

import fuzz_inputs
import pytest

from hmr_jax.geometry.boxes import as_boxes

pytest.importorskip("tensorflow_datasets")


@pytest.mark.parametrize("rows", [3.0, None, "", True, [[], []], [[1j, 2, 3, 4]], [["1", "2", "3", "4"]], {"a": 1}])
def test_boxes_that_once_broke_the_reader_are_refused(rows):
    with pytest.raises(ValueError, match=r"are not a list of \[left, top, right, bottom\]"):
        as_boxes(rows)


@pytest.mark.parametrize("kind", fuzz_inputs.CHECKS)
def test_random_inputs_give_a_right_result_or_a_sentence(kind):
    results = [fuzz_inputs.one(kind, seed) for seed in range(250)]
    assert 10 < sum(results) < 240
