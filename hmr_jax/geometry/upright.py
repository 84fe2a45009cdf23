"""How far a person leans in the image, and crops that are turned so that the person is upright.

Networks see most people upright, and err more on others. Angles are degrees, clockwise in the image; x right, y down.

Shapes: B people.
"""

import numpy as np


def tilt(hips: np.ndarray, shoulders: np.ndarray) -> np.ndarray:
    """(B,) degrees from the image's vertical to the line from the hips to the shoulders; 0: upright.

    Args:
        hips: (B, 2, 2 or more) left and right, x and y first.
        shoulders: likewise.
    """
    trunk = shoulders[..., :2].mean(1) - hips[..., :2].mean(1)
    return np.degrees(np.arctan2(trunk[:, 0], -trunk[:, 1]))


def rotation_z(degrees: np.ndarray) -> np.ndarray:
    """(B,) degrees -> (B, 3, 3) rotations about the z axis, clockwise in the image."""
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    matrix = np.tile(np.eye(3), (len(degrees), 1, 1))
    matrix[:, 0, 0], matrix[:, 0, 1] = cosine, -sine
    matrix[:, 1, 0], matrix[:, 1, 1] = sine, cosine
    return matrix
