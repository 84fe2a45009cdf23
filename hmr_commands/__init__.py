"""The commands: the program `hmr`, and what train.py, eval.py and predict.py call."""
