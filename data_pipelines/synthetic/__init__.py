"""Synthetic people: rendered on the fly with exact labels, by NumPy, SciPy, Numba and Pillow alone.

`people.SyntheticPeople` draws them; `source.synthetic_source` feeds them to training. Numba's compiled kernels are
cached beside the sources and not refreshed when a module they call changes: after an edit here, remove __pycache__.
"""
