"""Synthetic people with their labels, for tests of fitting."""

import numpy as np

from data_pipelines.synthetic.people import SyntheticPeople
from hmr_jax.body import load_body_model


def labelled_people(count: int, seed: int) -> dict[str, np.ndarray]:
    """What `SyntheticPeople.batch` gives of the first people of a seed, in images of 256 px."""
    source = SyntheticPeople(load_body_model("default"), size=256, seed=seed)
    try:
        return source.batch(np.arange(count))
    finally:
        source.close()
