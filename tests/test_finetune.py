"""The shipped model is trained on with ten pictures of a capture, as docs/howto/fine_tune.md says."""

import json
from dataclasses import replace

import pytest
import tiny
from formats import mlb_pitch

from data_pipelines.build import build
from data_pipelines.sources import make_source
from hmr_jax import checkpoints, cli
from hmr_jax.config import DatasetConfig, FeatureCacheConfig
from hmr_jax.training.loop import train

pytestmark = pytest.mark.slow


def test_the_shipped_model_learns_from_ten_pictures(tmp_path):
    mlb_pitch.write(tmp_path / "capture", count=10)
    build("mlb_pitch", tmp_path / "data", tmp_path / "capture")
    config = cli.load_config("finetune")
    data = replace(config.data, directory=str(tmp_path / "data"), datasets=(DatasetConfig("mlb_pitch"),))
    config = replace(
        config, output=str(tmp_path), steps=16, batch_size=8, log_every=1, data=data,
        optim=replace(config.optim, warmup_steps=1),
        cache=FeatureCacheConfig(8, str(tmp_path / "cache")),  # the same crops in every step
    )  # fmt: skip
    run = train(config, make_source(config, "train"))
    losses = [json.loads(line)["train/loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.8 * losses[0]
    _, params = checkpoints.load_for_inference(run)
    assert set(params) == {"encoder", "decoder", "head"}


def test_another_network_than_the_shipped_one_is_told_where_to_start(tmp_path):
    with pytest.raises(ValueError, match=r"start from configs/finetune\.py"):
        train(tiny.config(tmp_path, init_from="model"), tiny.source())
