"""The kinds of files that are written of a video."""

from typing import Literal, get_args

VideoKind = Literal["json", "npz", "glb", "bvh", "overlay", "usd", "pkl", "html", "rrd", "track"]
VIDEO_KINDS: tuple[VideoKind, ...] = get_args(VideoKind)
"""The summary, which is always written; arrays, an animated mesh and a skeleton of each person; the video with the
bodies; a USD file of each person, a pickle as VIBE writes it, a page with a time slider, a recording for Rerun's
viewer, and a JSON file of each person with all that the arrays have."""
DEFAULT_VIDEO_KINDS: tuple[VideoKind, ...] = VIDEO_KINDS[:5]
"""What is written if nothing else is asked for."""
