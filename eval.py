"""Evaluates checkpoints under named protocols: python eval.py --checkpoint runs/quickstart [--protocol synthetic]

It is `hmr eval`, for those who work in a checkout.
"""

from hmr_commands import evaluate
from hmr_jax import cli

if __name__ == "__main__":
    cli.run(evaluate.main, "eval.py")
