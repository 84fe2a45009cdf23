"""Ten shape modes from a sampled population: stature first, then what varies among people of equal stature.

Beta 0 is the regression of the body on stature, scaled so that one unit is `STATURE_SD`; the others are principal
components of what is left, which has zero covariance with stature. So height depends on beta 0 alone, and the range
of heights is known exactly: mean +- 3 * 0.09 m for any betas within +-3.

Shapes: P sampled people, B skin vertices, S 10 betas.
"""

import numpy as np

from tools.body_builder.makehuman import Person

NUM_PEOPLE = 300
NUM_BETAS = 10
STATURE_SD = 0.09  # metres; adults of both sexes together
MEAN_STATURE = 1.74


def sample_people() -> list[Person]:
    """`NUM_PEOPLE` adults drawn with a fixed seed."""
    rng = np.random.default_rng(0)
    return [
        Person(
            gender=rng.beta(0.35, 0.35),
            age=rng.beta(0.8, 1.6),
            muscle=rng.beta(2.5, 2.5),
            weight=rng.beta(1.3, 1.5),
            height=float(np.clip(0.40 + 0.07 * rng.standard_normal(), 0.1, 0.8)),
            proportions=rng.beta(2.5, 1.5),
            ancestry=tuple(rng.dirichlet([0.6] * 3)),
        )
        for _ in range(NUM_PEOPLE)
    ]


def stature_of(people: np.ndarray) -> np.ndarray:
    """(P,) heights of rest vertices (P, B, 3)."""
    return people[..., 1].max(-1) - people[..., 1].min(-1)


def shape_modes(people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (B, 3) and modes (B, 3, S), metres per unit of beta, of a population (P, B, 3) in the rest pose."""
    mean = people.mean(0)
    crown, sole = mean[:, 1].argmax(), mean[:, 1].argmin()
    stature = people[:, crown, 1] - people[:, sole, 1]  # linear in the vertices
    deviation = (people - mean).reshape(len(people), -1)
    taller = stature - stature.mean()
    per_metre = taller @ deviation / (taller @ taller)
    rest = deviation - np.outer(taller, per_metre)
    _, scales, directions = np.linalg.svd(rest, full_matrices=False)
    count = NUM_BETAS - 1
    modes = directions[:count] * (scales[:count, None] / np.sqrt(len(people) - 1))
    # The sign of a component is arbitrary: make plus the wider body.
    girth = np.einsum("pbc,bc->p", modes.reshape(count, -1, 3)[..., [0, 2]], (mean - mean.mean(0))[:, [0, 2]])
    modes *= np.where(girth < 0, -1, 1)[:, None]
    modes = np.concatenate([STATURE_SD * per_metre[None], modes])
    return mean, modes.reshape(NUM_BETAS, -1, 3).transpose(1, 2, 0)
