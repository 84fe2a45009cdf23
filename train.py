"""Trains a model: python train.py --config configs/quickstart.py [--FIELD VALUE ...]

The same command resumes an interrupted run. It is `hmr train`, for those who work in a checkout.
"""

from hmr_commands import train
from hmr_jax import cli

if __name__ == "__main__":
    cli.run(train.main, "train.py")
