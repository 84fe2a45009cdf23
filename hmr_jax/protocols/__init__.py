"""Evaluation protocols: one declarative table, the bodies they need, and what they compute."""

from hmr_jax.protocols.bodies import load_bodies
from hmr_jax.protocols.protocol import METRICS, MOTION, Metric, Protocol
from hmr_jax.protocols.scoring import CONFIDENT, Subject, body_subject, keypoint_subject, score
from hmr_jax.protocols.table import PROTOCOLS, for_dataset, get_protocol

__all__ = [
    "CONFIDENT",
    "METRICS",
    "MOTION",
    "PROTOCOLS",
    "Metric",
    "Protocol",
    "Subject",
    "body_subject",
    "for_dataset",
    "get_protocol",
    "keypoint_subject",
    "load_bodies",
    "score",
]
