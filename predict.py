"""Predicts bodies in images: python predict.py IMAGE... [--boxes boxes.json] [--output predictions]

It is `hmr predict`, for those who work in a checkout.
"""

from hmr_commands import predict
from hmr_jax import cli

if __name__ == "__main__":
    cli.run(predict.main, "predict.py")
