"""Steps of `tools/build_default_body.py`, one module each, in the order in which they run."""
