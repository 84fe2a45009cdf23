"""How much predict.py costs beside what it cannot do without: `python -m benchmarks.prediction`.

- files: images with boxes, in images a second, beside the bare network: its jitted programs alone, on the same crops,
  cut out before, in the same batches and in the batches that are fastest. It looks at each person as often as upright
  crops need.
- video: a video of 1920x1080 px with one person, found, posed, smoothed and drawn, with the small encoder. The weights
  of its decoder are random, which changes no time but that of drawing bodies of another size.
- large: a JPEG of 4000x6000 px beside its decoding alone, with the shipped network and with the small encoder.

Parts beside each other take turns. Figures are medians over the rounds.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from hmr_jax import cli, runtime
from hmr_jax.batch import zeros
from hmr_jax.checkpoints.exported import load_shipped_encoder
from hmr_jax.inference import Predictor
from hmr_jax.inference.batches import batch_of_many
from hmr_jax.inference.files import predict_files
from hmr_jax.inference.results import DEFAULT_KINDS
from hmr_jax.inference.stages import Stages
from hmr_jax.io.images import read_image
from hmr_jax.models import build_model
from hmr_jax.video import predict_video
from hmr_jax.video.mp4 import writing_mp4

PHOTOS = Path(__file__).parent.parent / "examples" / "photos"
SIZE = 1920, 1080
BATCHES = 1, 4, 8


def main() -> None:
    """Prints the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=("files", "video", "large"))
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    runtime.set_up(inference=True)
    parts: dict[str, Callable[[Path, argparse.Namespace], None]] = {"files": files, "video": video, "large": large}
    for part in options.parts:
        with tempfile.TemporaryDirectory() as folder:
            print(f"\n{part}, load {os.getloadavg()[0]:.1f}", flush=True)
            parts[part](Path(folder), options)


def files(folder: Path, options: argparse.Namespace) -> None:
    """Images with boxes beside the bare network."""
    predictor = Predictor.from_checkpoint(batch_size=batch_of_many())
    paths = write_images(folder / "photos", options.images, SIZE)
    boxes = [predictor.find_boxes(read_image(path))[0][:1] for path in paths]
    looks, people = recorded_looks(predictor, paths[:10], boxes[:10])
    print(f"looks at a person: {sum(map(len, looks)) / people:.1f}")
    share = -(-len(paths) // options.rounds)
    bare: dict[int, list[float]] = {size: [] for size in BATCHES}
    ours: dict[str, list[float]] = {kinds: [] for kinds in ("json", "json,npz", ",".join(DEFAULT_KINDS))}
    for turn in range(options.rounds):
        now = slice(turn * share, (turn + 1) * share)
        for size in BATCHES:
            network = bare_network(predictor, looks, people, size)
            bare[size].append(people / seconds(network))
        for kinds in ours:
            target = folder / f"{turn}{len(kinds)}"
            stages = Stages()
            call = predict_files(predictor, paths[now], target, boxes[now], kinds=kinds.split(","), stages=stages)
            ours[kinds].append(len(paths[now]) / seconds(lambda call=call: list(call)))
    fastest = np.max([bare[size] for size in BATCHES], 0)
    for size in BATCHES:
        print(f"bare network, batches of {size}: {np.median(bare[size]):.2f} people/s")
    for kinds, rates in ours.items():
        same, best = np.median(np.array(rates) / bare[predictor.batch_size]), np.median(np.array(rates) / fastest)
        print(f"predict_files, {kinds}: {np.median(rates):.2f} images/s, {same:.2f} of the bare network in the same "
              f"batches, {best:.2f} of the fastest", flush=True)  # fmt: skip
    print(f"its last round: {stages.summary()}")


def recorded_looks(
    predictor: Predictor, paths: Sequence[Path], boxes: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], int]:
    """The crops (b, S, S, 3) that the encoder sees of each batch of these images, and the number of people."""
    looks: list[np.ndarray] = []
    encoded = predictor._encoded

    def record(crops: np.ndarray) -> dict[str, np.ndarray]:
        looks.append(crops)
        return encoded(crops)

    predictor._encoded = record  # type: ignore[method-assign]
    people = len(predictor([read_image(path) for path in paths], boxes))
    predictor._encoded = encoded  # type: ignore[method-assign]
    return looks, people


def bare_network(predictor: Predictor, looks: Sequence[np.ndarray], people: int, size: int) -> Callable[[], None]:
    """A call of the encoder on all crops and of the decoder on all people, compiled, in batches of `size`."""
    crops = np.concatenate(looks)
    whole = [np.resize(crops[start : start + size], (size, *crops.shape[1:])) for start in range(0, len(crops), size)]
    encode, decode, params = predictor._encode, predictor._step, predictor._params
    features = jax.device_get(encode(params, whole[0]))._asdict()
    pairs = [np.full((size, 2), 500, np.float32)] * 3
    camera = pairs[0], np.full(size, 500, np.float32), np.zeros(size, np.float32), *pairs[1:]

    def call() -> None:
        for batch in whole:
            jax.block_until_ready(encode(params, batch))
        for _ in range(0, people, size):
            jax.block_until_ready(decode(params, features, *camera))

    call()  # compiles
    return call


def video(folder: Path, options: argparse.Namespace) -> None:
    """A video, with the small encoder."""
    predictor = small_predictor()
    source, rate = folder / "walk.mp4", Fraction(30)
    with writing_mp4(source, SIZE, rate) as writer:
        for number in range(options.frames):
            writer.write(placed("photographer.jpg", SIZE, number / options.frames), float(number / rate))
    predict_video(predictor, source, folder / "first")  # compiles
    rates, processor = [], []
    for turn in range(options.rounds):
        start = time.process_time()
        rates.append(options.frames / seconds(lambda turn=turn: predict_video(predictor, source, folder / str(turn))))
        processor.append(1e3 * (time.process_time() - start) / options.frames)
    print(f"{np.median(rates):.2f} frames/s ({min(rates):.2f} to {max(rates):.2f}), required 8; "
          f"{np.median(processor):.0f} ms of processor a frame")  # fmt: skip


def small_predictor() -> Predictor:
    """With the small encoder, and a decoder of random weights."""
    config = cli.load_config("configs/quickstart.py")
    init = jax.jit(build_model(config.model).init)
    params = dict(init(jax.random.key(0), zeros(1, config.data.crop_size))["params"])
    return Predictor(config, params | load_shipped_encoder(config.model.encoder.name), batch_of_many())


def large(folder: Path, options: argparse.Namespace) -> None:
    """A large JPEG beside its decoding, with the shipped network and with the small encoder."""
    predictors = {"shipped": Predictor.from_checkpoint(batch_size=batch_of_many()), "small": small_predictor()}
    paths = write_images(folder / "photos", 8, (4000, 6000))
    boxes = [predictors["shipped"].find_boxes(read_image(path))[0][:1] for path in paths]
    ratios: dict[tuple[str, str], list[float]] = {
        (name, kinds): [] for name in predictors for kinds in ("json", "json,npz", ",".join(DEFAULT_KINDS))
    }
    decoding = []
    for turn in range(options.rounds):
        decoding.append(seconds(lambda: [read_image(path) for path in paths]) / len(paths))
        for name, kinds in ratios:
            target = folder / f"{turn}{name}{len(kinds)}"
            call = predict_files(predictors[name], paths, target, boxes, kinds=kinds.split(","))
            ratios[name, kinds].append(seconds(lambda call=call: list(call)) / len(paths) / decoding[-1])
    print(f"decoding: {1e3 * np.median(decoding):.0f} ms")
    for (name, kinds), values in ratios.items():
        print(f"predict_files, {name}, {kinds}: {np.median(values):.2f} x the decoding, required 1.5")


def write_images(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """JPEGs of the example photographs, somewhere in a grey image of a width and height."""
    folder.mkdir()
    names = ("astronaut.jpg", "beam.jpg", "photographer.jpg")
    grain = np.random.default_rng(0).normal(0, 4, (*size[::-1], 3))  # as cameras have it; without, decoding is quick
    paths = [folder / f"{number:03}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        image = np.clip(placed(names[number % 3], size, number / count) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(image).save(path, quality=92)
    return paths


def placed(name: str, size: tuple[int, int], share: float) -> np.ndarray:
    """A photograph that fills the shorter side of a grey image (H, W, 3), at a share of the way along the longer."""
    with Image.open(PHOTOS / name) as photo:
        side = min(size)
        square = photo.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
    image = Image.new("RGB", size, (128, 128, 128))
    image.paste(square, tuple(round(share * (length - side)) for length in size))
    return np.asarray(image)


def seconds(call: Callable) -> float:
    """Of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
