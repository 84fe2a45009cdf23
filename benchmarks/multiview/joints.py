"""The twelve joints of the truth: shoulders, elbows, wrists, hips, knees and ankles, and where landmarks have them."""

from hmr_jax.body.joints import BLAZEPOSE_33

JOINTS = tuple(
    f"{side}_{part}" for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for side in ("left", "right")
)
"""Names of the joints, in their order."""
LANDMARKS = tuple(BLAZEPOSE_33.index(name) for name in JOINTS)
"""Numbers of the joints among BlazePose's landmarks."""
