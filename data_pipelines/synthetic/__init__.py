"""Synthetic people: rendered on the fly with exact labels, by NumPy, SciPy, Numba and Pillow alone.

`people.SyntheticPeople` draws them; `source.synthetic_source` makes batches of them. Numba caches compiled kernels in
`__pycache__` and does not compile them again when a module that they call changes: after an edit here, remove it.
"""
