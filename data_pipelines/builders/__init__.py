"""Data set builders: each makes records of the files that the owners of a data set publish.

A builder is a TFDS `GeneratorBasedBuilder` with the features of `records.features()` and a `report`
(`builders.report.Report`) through which its records pass. Importing this package imports no builder.
"""

import difflib
from importlib import import_module

BUILDERS = {
    "synthetic_people": "data_pipelines.builders.datasets.synthetic_people:SyntheticPeople",
    "three_dpw": "data_pipelines.builders.datasets.three_dpw:ThreeDpw",
    "hmr2_tars": "data_pipelines.builders.formats.hmr2_tars:Hmr2Tars",
    "human36m": "data_pipelines.builders.datasets.human36m:Human36m",
    "coco_pose": "data_pipelines.builders.datasets.coco_pose:CocoPose",
    "mpii": "data_pipelines.builders.datasets.mpii:Mpii",
    "hmr2_eval_npz": "data_pipelines.builders.formats.hmr2_eval_npz:Hmr2EvalNpz",
    "camerahmr_npz": "data_pipelines.builders.formats.camerahmr_npz:CamerahmrNpz",
    "bedlam": "data_pipelines.builders.datasets.bedlam:Bedlam",
    "emdb": "data_pipelines.builders.datasets.emdb:Emdb",
    "mlb_pitch": "data_pipelines.builders.datasets.mlb_pitch:MlbPitch",
    "mpi_inf_3dhp": "data_pipelines.builders.datasets.mpi_inf_3dhp:MpiInf3dhp",
    "rich_eval_npz": "data_pipelines.builders.formats.rich_eval_npz:RichEvalNpz",
    "rich": "data_pipelines.builders.datasets.rich:Rich",
}
"""Name of the data set: module and class of its builder."""


def load_builder(name: str) -> type:
    """The builder class of a data set; imports TensorFlow Datasets.

    Raises:
        ValueError: there is no such data set.
    """
    if name not in BUILDERS:
        near = difflib.get_close_matches(name, BUILDERS)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(BUILDERS)}."
        raise ValueError(f"No builder for a data set '{name}'. {hint}")
    module, _, builder = BUILDERS[name].partition(":")
    return getattr(import_module(module), builder)
