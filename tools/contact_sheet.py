"""Draws a contact sheet of synthetic people: `python -m tools.contact_sheet`."""

from pathlib import Path

from PIL import Image

from data_pipelines.synthetic.people import SyntheticPeople
from hmr_jax import cli
from hmr_jax.config import AugmentConfig
from hmr_jax.rendering.contact_sheet import contact_sheet


def main(
    output: Path = Path("docs/images/synthetic_people.jpg"),
    count: int = 64,
    columns: int = 8,
    size: int = 144,
    seed: int = 7,
    augment: bool = False,
) -> None:
    """Draws a contact sheet of synthetic people.

    Args:
        output: the image.
        count: how many people; a multiple of the columns.
        columns: people in a row.
        size: side of each image, pixels.
        seed: of the people.
        augment: frame them as for training.
    """
    framing = AugmentConfig() if augment else AugmentConfig(scale=0.1, rotation=0, color=0)
    people = SyntheticPeople(size=size, seed=seed, margin=1.05, augment=framing)
    images = people.batch(range(count))["image"]
    output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(contact_sheet(images, columns, gap=0)).save(output, quality=85)


if __name__ == "__main__":
    cli.run(main, "python -m tools.contact_sheet")
