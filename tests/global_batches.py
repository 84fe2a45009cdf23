"""One of several processes: prints the checksum of each global batch as it is on the devices of all of them."""

import hashlib

import numpy as np

from data_pipelines.sources import make_source
from hmr_jax import distributed
from hmr_jax.config import Config, DataConfig

if __name__ == "__main__":
    distributed.initialize()
    config = Config(batch_size=8, data=DataConfig(source="synthetic", crop_size=32, workers=1))
    mesh = distributed.make_mesh(config.mesh)
    batches = make_source(config, "train")(0)
    for step in range(3):
        batch = distributed.to_host(distributed.to_global(next(batches), mesh), mesh)
        rows = b"".join(np.ascontiguousarray(batch[name]).tobytes() for name in sorted(batch))
        print(f"batch {step} {hashlib.sha256(rows).hexdigest()}", flush=True)
