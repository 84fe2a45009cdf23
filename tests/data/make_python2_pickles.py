"""Writes python2_smpl_protocol{0,2}.pkl with a real Python 2.7 (`python2.7 tests/data/make_python2_pickles.py`).

A tiny model in the form of SMPL's official files: cPickle, byte strings, chumpy objects, an old scipy.sparse matrix.
None of these libraries is needed: classes of their names that pickle in the same way are made here. Array number k
holds ((i + k) % 17) / 16 at its flat index i, unless a value is given.
"""

import os
import struct
import sys
import types

import cPickle

V, J = 8, 24
PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]


def define(module, thing):
    """Files a class or function under a foreign module's name."""
    thing.__module__ = module
    words = module.split(".")
    for end in range(1, len(words) + 1):  # Python imports the parents first
        name = ".".join(words[:end])
        sys.modules.setdefault(name, types.ModuleType(name))
    setattr(sys.modules[module], thing.__name__, thing)


class dtype(object):  # noqa: UP004
    def __init__(self, code, align=0, copy=1):
        self.code = code

    def __reduce__(self):
        return dtype, (self.code, 0, 1), (3, "<", None, None, None, -1, -1, 0)


class ndarray(object):  # noqa: UP004
    def __init__(self, code, shape, values):
        letter = {"f8": "d", "f4": "f", "u4": "I", "i4": "i"}[code]
        self.parts = code, shape, struct.pack("<%d%s" % (len(values), letter), *values)  # noqa: UP031

    def __reduce__(self):
        code, shape, data = self.parts
        return _reconstruct, (ndarray, (0,), "b"), (1, shape, dtype(code), False, data)


def _reconstruct(kind, shape, code):
    pass


class Ch(object):  # noqa: UP004
    def __init__(self, **state):
        self.__dict__.update(state)


class Select(Ch):
    pass


class add(Ch):
    pass


class csc_matrix(Ch):
    pass


for module, things in {
    "numpy": [dtype, ndarray], "numpy.core.multiarray": [_reconstruct], "chumpy.ch": [Ch],
    "chumpy.reordering": [Select], "chumpy.ch_ops": [add], "scipy.sparse.csc": [csc_matrix],
}.items():  # fmt: skip
    for thing in things:
        define(module, thing)


def array(number, *shape, **options):
    code, count = options.get("code", "f8"), 1
    for size in shape:
        count *= size
    return ndarray(code, shape, [((i + number) % 17) / 16.0 for i in range(count)])


model = {
    "v_template": Ch(x=array(0, V, 3), _dirty_vars=set(), _itr=None),
    "shapedirs": Select(
        a=Ch(x=array(1, V, 3, 12)), idxs=ndarray("i4", (V * 36,), range(V * 36)), preferred_shape=(V, 3, 12)
    ),
    "posedirs": array(2, V, 3, 207, code="f4"),
    "J_regressor": csc_matrix(
        _shape=(J, V), format="csc", maxprint=50, data=array(3, V), indices=ndarray("i4", (V,), range(V)),
        indptr=ndarray("i4", (V + 1,), range(V + 1)),
    ),
    "weights": array(4, V, J),
    "kintree_table": ndarray("u4", (2, J), [p % 2**32 for p in PARENTS] + list(range(J))),
    "f": ndarray("u4", (3, 3), [0, 1, 2, 2, 3, 4, 5, 6, 7]),
    "v_posed": add(),
    "bs_style": "lbs",
    "pose_training_info": {"name": "\xe9"},
}  # fmt: skip
for protocol in (0, 2):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "python2_smpl_protocol%d.pkl" % protocol)  # noqa: UP031
    with open(path, "wb") as out:
        cPickle.dump(model, out, protocol)
