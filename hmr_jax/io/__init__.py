"""Reading and writing files: images, JSON, pickles without running them, arrays of Orbax, atomic writes."""
