"""What is right: DuckDB's answers to the workloads, and what a system's output comes to beside them.

An answer is a few sums over all result rows, among them one weighted by the window and one of squares, so that a row
in the wrong window or under the wrong key shows.  Floats agree to a millionth: no order of addition is prescribed.

Origin: ``oracle.py`` and ``common.py`` of the peers' benchmark of 2026-11-22; the queries are the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import polars as pl

from bench import data

Answer = dict[str, float]

_SUMS = f"""
    select count(*) as rows, sum(s) as sum, sum(c) as cnt, sum(((w-{data.T0})//10000+100)*s) as wsum, sum(c*c) as sq
    from g
"""
_PANES = 'p as (select ts//10000*10000 as w, "user", sum(amount) s, count(*) c from e group by all)'
QUERIES = {
    "W1": "select count(*) as rows, sum(amount*1.1) as sum from e where type<>'test'",
    "W2": f"with {_PANES}, g as (from p) {_SUMS}",
    "W3": f"""with {_PANES},
        g as (select w - k*10000 as w, "user", sum(s) s, sum(c) c from p, range(30) k(k) group by all) {_SUMS}""",
    "W4": f"""with g as (
        select ts//10000*10000 as w, "user", sum(amount*1.1) s, count(*) c from e where type<>'test' group by all
        ) {_SUMS}""",
    "W5": """with g as (select segment, count(*) c from e join u using("user") where type<>'test' group by all)
        select count(*) as rows, sum(c) as cnt, sum(c*c) as sq from g""",
    "W6": """with g as (select sum(amount) over (partition by "user" order by id) rt from e)
        select count(*) as rows, sum(rt) as sum from g""",
}


def oracle(query: str, size: str) -> Answer:
    """Return DuckDB's answer to one of ``QUERIES``, computed once for a size and kept."""
    path = data.folder() / f"{size}.answers.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    if query not in known:
        known[query] = _ask(query, size)
        path.write_text(json.dumps(known, indent=1) + "\n")
    return {name: float(value) for name, value in known[query].items()}


def _ask(query: str, size: str) -> Answer:
    import duckdb

    data.users()
    with duckdb.connect() as connection:
        connection.execute(f"create view e as from '{data.parquet(size)}'")
        connection.execute(f"create view u as from '{data.folder() / 'users.parquet'}'")
        cursor = connection.execute(QUERIES[query])
        names = [column[0] for column in cursor.description]
        values = cursor.fetchone()
    assert values is not None
    return dict(zip(names, map(float, values), strict=True))


def agrees(got: Mapping[str, float], want: Mapping[str, float]) -> bool:
    """Return whether each number wanted was got, to a millionth."""
    return all(name in got and abs(got[name] - value) <= 1e-6 * max(1.0, abs(value)) for name, value in want.items())


def of_windows(windows: pl.DataFrame) -> Answer:
    """Return what windows come to.

    Args:
        windows: ``w`` (start, milliseconds), ``s`` (sum) and ``c`` (count), one row a key and window.
    """
    count, place = pl.col("c").cast(pl.Int64), (pl.col("w") - data.T0) // 10_000 + 100
    sums = windows.select(
        rows=pl.len(), sum=pl.col("s").sum(), cnt=count.sum(), wsum=(place * pl.col("s")).sum(), sq=(count**2).sum()
    )
    return {name: float(value) for name, value in sums.row(0, named=True).items()}


def of_counts(counts: Iterable[int]) -> Answer:
    """Return what counts by group come to."""
    known = list(counts)
    return {"rows": float(len(known)), "cnt": float(sum(known)), "sq": float(sum(n * n for n in known))}


def of_amounts(amounts: pl.Series) -> Answer:
    """Return what rows with an amount each come to."""
    return {"rows": float(len(amounts)), "sum": float(amounts.sum())}
