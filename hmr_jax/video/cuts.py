"""Shot cuts: frames whose colours differ from those of the frame before much more than its neighbours' do.

Shapes: F frames, H and W an image.
"""

from collections.abc import Sequence

import numpy as np

_CELLS = 4  # of the image along each side
_BINS = 4  # of red, green and blue each
COLORS = _BINS**3
"""That histograms tell apart."""
_SIDE = 64  # px to which an image is thinned out
CUT = 0.35
"""Share of pixels of another colour, on the mean over cells, below which there is no cut."""
_STANDS_OUT = 3.0  # times the median of the neighbours
_NEIGHBOURS = 6  # frames on each side


def signature(image: np.ndarray) -> np.ndarray:
    """Histograms of colours of the cells of an image (H, W, 3) uint8: (16, 64), each sums to 1."""
    rows = np.linspace(0, image.shape[0] - 1, _SIDE).astype(int)
    columns = np.linspace(0, image.shape[1] - 1, _SIDE).astype(int)
    side = _SIDE // _CELLS
    cells = (
        color_codes(image[rows][:, columns]).reshape(_CELLS, side, _CELLS, side).swapaxes(1, 2).reshape(_CELLS**2, -1)
    )
    offsets = COLORS * np.arange(len(cells))[:, None]
    counts = np.bincount((cells + offsets).ravel(), minlength=len(cells) * COLORS)
    return counts.reshape(len(cells), -1) / cells.shape[1]


def color_codes(pixels: np.ndarray) -> np.ndarray:
    """Of (..., 3) uint8: (...) numbers of their colours, below `COLORS`."""
    bins = pixels.astype(np.int64) * _BINS // 256
    return (bins[..., 0] * _BINS + bins[..., 1]) * _BINS + bins[..., 2]


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """Of two signatures: the share of pixels, in [0, 1], that have another colour, on the mean over cells."""
    return float(np.abs(first - second).sum(1).mean() / 2)


def find_cuts(differences: Sequence[float] | np.ndarray) -> np.ndarray:
    """Which frames begin a shot.

    Args:
        differences: (F,) of each frame's signature to that of the frame before; that of the first is not looked at.

    Returns:
        (F,) bool; that of the first is False.
    """
    values = np.asarray(differences, np.float64)
    cuts = np.zeros(len(values), bool)
    for frame in np.flatnonzero(values > CUT).tolist():
        if frame == 0:
            continue
        low = max(frame - _NEIGHBOURS, 1)
        around = np.delete(values[low : frame + _NEIGHBOURS + 1], frame - low)
        cuts[frame] = not len(around) or values[frame] > _STANDS_OUT * np.median(around)
    return cuts
