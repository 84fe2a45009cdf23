"""Records, one person each: the only contract between data sets and training. Their schema, reader and drawing."""

from data_pipelines.records.schema import (
    ADDED,
    DEPTH_STEP,
    FIELDS,
    Record,
    decode_depth,
    decode_mask,
    encode,
    encode_depth,
    features,
    nest,
)
from data_pipelines.records.validation import DOUBTS, MAX_OFFSET, problems

__all__ = [
    "ADDED",
    "DEPTH_STEP",
    "DOUBTS",
    "FIELDS",
    "MAX_OFFSET",
    "Record",
    "decode_depth",
    "decode_mask",
    "encode",
    "encode_depth",
    "features",
    "nest",
    "problems",
]
