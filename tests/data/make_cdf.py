"""Makes tests/data/cdf/*.cdf with cdflib 1.3.16, an implementation that is not ours: python tests/data/make_cdf.py

Each holds the variable "Pose" of one record (4, 6) float64, sin(0..23), as Human3.6M's files hold (1, F, 96).
"""

from pathlib import Path

import numpy as np
from cdflib.cdfwrite import CDF

FOLDER = Path(__file__).parent / "cdf"


def write(name: str, majority: str, encoding: int, compress_file: bool, compress: int) -> None:
    path = FOLDER / f"{name}.cdf"
    path.unlink(missing_ok=True)
    spec = {"Majority": majority, "Encoding": encoding, "Compressed": 6 if compress_file else 0, "Checksum": False}
    cdf = CDF(path, cdf_spec=spec, delete=True)
    other = {"Variable": "Other", "Data_Type": 4, "Num_Elements": 1, "Rec_Vary": True, "Dim_Sizes": [], "Compress": 0}
    cdf.write_var(other, var_data=np.arange(3, dtype=np.int32))
    pose = {
        "Variable": "Pose", "Data_Type": 45, "Num_Elements": 1, "Rec_Vary": True, "Dim_Sizes": [4, 6],
        "Compress": compress,
    }  # fmt: skip
    values = np.sin(np.arange(24.0)).reshape(4, 6)
    if majority == "column_major":  # cdflib writes the bytes as they come
        values = values.T.reshape(4, 6)
    cdf.write_var(pose, var_data=values[None])
    cdf.close()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    write("plain", "row_major", 6, False, 0)
    write("column_major", "column_major", 6, False, 0)
    write("big_endian", "row_major", 1, False, 0)
    write("compressed_file", "row_major", 6, True, 0)
    write("compressed_blocks", "row_major", 6, False, 6)
