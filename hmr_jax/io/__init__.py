"""Files in and out: images, JSON, pickles that run nothing, arrays of Orbax; written whole or not at all."""
