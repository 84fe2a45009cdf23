"""Statistics of errors: bootstrap over sequences, sign-flip test of paired differences, rank correlation, groups.

Frames of a sequence are similar, so sequences are resampled, not frames; the statistic is still the mean over frames.

Shapes: N samples, G groups (sequences), R resamples.
"""

import re
from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95


def group_names(keys: Sequence[str], pattern: str) -> np.ndarray:
    """(N,) group 1 of the pattern's match in each key; the key itself where it does not match, or without pattern."""
    if not pattern:
        return np.array(keys)
    compiled = re.compile(pattern)
    return np.array([found.group(1) if (found := compiled.search(key)) else key for key in keys])


def group_means(values: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """Weighted mean of each group, in the order of the names; groups without weight are left out."""
    names, number = np.unique(groups, return_inverse=True)
    total = np.bincount(number, weights * values, len(names))
    share = np.bincount(number, weights, len(names))
    return {str(name): float(t / s) for name, t, s in zip(names, total, share, strict=True) if s > 0}


def bootstrap_interval(
    values: np.ndarray, weights: np.ndarray, groups: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """95 % percentile interval of the weighted mean when whole groups are drawn with replacement.

    Args:
        values: (N,).
        weights: (N,).
        groups: (N,) name of each sample's group.
        resamples: R.
        seed: of the draws.

    Returns:
        Low and high; None for fewer than two groups.
    """
    totals, shares = _group_sums(values, weights, groups)
    if len(totals) < 2:
        return None
    means = _resampled(totals, shares, resamples, seed)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def paired_test(
    differences: np.ndarray, weights: np.ndarray, groups: np.ndarray, resamples: int = 10_000, seed: int = 0
) -> float | None:
    """Two-sided p-value of a mean difference: the sign of each group's difference is flipped at random.

    For up to 12 groups all sign patterns are tried, so the smallest possible p-value is 2 / 2^G.

    Args:
        differences: (N,) paired, sample by sample.
        weights: (N,).
        groups: (N,).
        resamples: R, for more than 12 groups.
        seed: of the flips.

    Returns:
        The p-value; None for fewer than two groups.
    """
    totals, _ = _group_sums(differences, weights, groups)
    count = len(totals)
    if count < 2:
        return None
    observed = abs(totals.sum()) * (1 - 1e-12)  # ties count despite rounding errors of the sums
    if count <= 12:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return float((np.abs(signs @ totals) >= observed).mean())
    rng = np.random.default_rng(seed)
    hits = 0
    for start in range(0, resamples, 500):
        signs = 1 - 2 * rng.integers(0, 2, (min(500, resamples - start), count), np.int8)
        hits += int((np.abs(signs @ totals) >= observed).sum())
    return (hits + 1) / (resamples + 1)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's correlation of two (N,) arrays; NaN if one is constant or has fewer than three values."""
    from scipy.stats import rankdata

    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def _group_sums(values: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(G,) sums of weight * value and of weight, for groups with weight."""
    _, number = np.unique(groups, return_inverse=True)
    weights = np.asarray(weights, np.float64)
    totals, shares = np.bincount(number, weights * values), np.bincount(number, weights)
    return totals[shares > 0], shares[shares > 0]


def _resampled(totals: np.ndarray, shares: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """(R,) means of the resamples."""
    rng = np.random.default_rng(seed)
    count = len(totals)
    means = np.empty(resamples)
    chunk = max(1, 2**18 // count)  # all R x G draws of a large set would not fit into memory
    for start in range(0, resamples, chunk):
        drawn = rng.integers(0, count, (min(chunk, resamples - start), count))
        means[start : start + chunk] = totals[drawn].sum(1) / shares[drawn].sum(1)
    return means
