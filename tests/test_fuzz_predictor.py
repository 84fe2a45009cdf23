"""Calls of `Predictor` end in right people or in a sentence; fuzz_predictor.py has the examples."""

import fuzz_predictor
import numpy as np
import pytest

from hmr_jax.depth import DepthMap
from hmr_jax.inference import Predictor

IMAGE = np.zeros((60, 40, 3), np.uint8)
BOX = [5, 5, 30, 50]


@pytest.mark.parametrize(
    "kind", ["perspective", pytest.param("hmr2", marks=pytest.mark.slow), pytest.param("depth", marks=pytest.mark.slow)]
)
def test_random_calls_give_right_people_or_a_sentence(kind):
    results = [fuzz_predictor.one(kind, seed) for seed in range(12)]
    assert 3 < sum(results) < 12


WRONG = {
    "a factor as text": ({"enlarge": "1.2"}, "enlarge is 1.2: give a factor between 0 and 10"),
    "no factor": ({"enlarge": None}, "enlarge is None: give a factor"),
    "a list of a factor": ({"enlarge": [1.2]}, "enlarge is .*: give a factor"),
    "boxes that are no list": ({"images": [IMAGE], "boxes": True, "depth": [None]}, "1 images but a bool as boxes"),
    "boxes by name": ({"images": [IMAGE], "boxes": {"a": BOX}, "depth": [None]}, "1 images but a dict as boxes"),
    "boxes of more images": ({"images": [IMAGE], "boxes": [[BOX], [BOX]], "depth": [None]}, "1 images but boxes of 2"),
    "depth that is no list": ({"depth": True}, "1 images but a bool as depth maps"),
    "depth of more images": ({"depth": [None, None]}, "1 images but depth maps of 2"),
    "depth as a plain array": ({"depth": [np.ones((60, 40))]}, "depth map of image 0 is a ndarray: give a DepthMap"),
    "depth of another size": ({"depth": DepthMap.from_values(np.ones((40, 60)))}, "depth map of image 0 is 60x40"),
}


@pytest.mark.parametrize("name", WRONG)
def test_calls_that_once_broke_it_are_refused(name):
    given, words = WRONG[name]
    with pytest.raises(ValueError, match=words):
        fuzz_predictor.predictor("depth", 1)(**({"images": IMAGE, "boxes": BOX} | given))


@pytest.mark.parametrize("size", [0, -1, 1.5, "2"])
def test_batches_of_no_person_are_refused(size):
    made = fuzz_predictor.predictor("perspective", 1)
    with pytest.raises(ValueError, match=rf"batch_size is {size}: give a whole number"):
        Predictor(made.config, {}, size)
