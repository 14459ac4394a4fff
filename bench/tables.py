"""Frames of other shapes than the twelve workloads' for the laws of growth, and numpy's answers to them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from bench import data
from bench.answers import Answer

I64 = npt.NDArray[np.int64]


def of_keys(rows: int, keys: int, *, seed: int = 1) -> pl.DataFrame:
    """Return rows in order of time, 5,000 a second, spread evenly over so many users."""
    random = np.random.default_rng(seed)
    user = pl.Series("user", random.integers(0, keys, rows))
    amount = np.round(random.gamma(2.0, 20.0, rows) + 0.01, 2)
    time = data.T0 + np.arange(rows, dtype=np.int64) * 1_000 // data.RATE
    names = pl.format("user{}", user.cast(pl.String).str.zfill(8)).alias("user")
    return pl.DataFrame({"ts": time, "amount": amount}).with_columns(names)


def sliding_counts(frame: pl.DataFrame, slide: int, panes: int) -> Answer:
    """Return what the counts of all sliding windows come to.

    Args:
        frame: Rows with ``ts`` and ``user``.
        slide: Milliseconds.
        panes: How many slides a window has.
    """
    pane, key = _panes(frame, slide), _keys(frame)
    counts = np.zeros((int(pane.max()) + 2 * panes, int(key.max()) + 1), dtype=np.int64)
    np.add.at(counts, (pane + panes, key), 1)
    total = np.vstack([np.zeros_like(counts[:1]), np.cumsum(counts, axis=0)])
    windows = total[panes:] - total[:-panes]
    return {
        "rows": float(np.count_nonzero(windows)),
        "cnt": float(windows.sum()),
        "sq": float((windows * windows).sum()),
    }


def each_counts(frame: pl.DataFrame, slide: int, panes: int) -> Answer:
    """Return what the counts after each row come to, of the window that ends next; rows in order of time."""
    pane, key = _panes(frame, slide), _keys(frame)
    place = np.argsort(key, kind="stable")
    width = np.int64(pane.max() + panes + 2)
    order = key[place] * width + pane[place] + panes
    first = np.searchsorted(order, key[place] * width + pane[place] + 1)
    counts = np.arange(1, len(order) + 1) - first
    return {"rows": float(len(counts)), "cnt": float(counts.sum()), "sq": float((counts * counts).sum())}


def of_counts(counts: pl.Series) -> Answer:
    """Return what the counts of windows come to."""
    n = counts.cast(pl.Int64)
    return {"rows": float(len(n)), "cnt": float(n.sum()), "sq": float((n**2).sum())}


def _panes(frame: pl.DataFrame, slide: int) -> I64:
    pane: I64 = frame["ts"].to_numpy() // slide
    return pane - pane.min()


def _keys(frame: pl.DataFrame) -> I64:
    keys: I64 = frame["user"].rank("dense").to_numpy().astype(np.int64) - 1
    return keys
