"""Synthetic people: rendered on the fly with exact labels, by NumPy and Numba alone."""
