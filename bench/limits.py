"""The limit: the same answers as one batch query over everything, by polars and by DuckDB, in the same process.

Each function returns seconds, after its answer was found right.  The ratio of a run is to the fastest of them.

Origin: ``bench_raw.py`` of the peers' benchmark of 2026-11-22; the queries are the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import polars as pl

from bench import answers, data
from bench.answers import Answer, oracle

Limit = Callable[[str], float]
TYPES = "{id:'BIGINT', ts:'BIGINT', user:'VARCHAR', type:'VARCHAR', amount:'DOUBLE'}"
PANES = 'select ts//10000*10000 as w, "user", sum(amount) s, count(*) c from {events} group by all'
SLIDES = f"""with p as ({PANES})
    select p.w-k.k*10000 as w, "user", sum(s) s, sum(c)::bigint c from p, range(30) k(k) group by all"""


def _polars(
    query: str, plan: Callable[[pl.LazyFrame], pl.LazyFrame], check: Callable[[pl.DataFrame], Answer], *, is_json: bool
) -> Limit:
    def limit(size: str) -> float:
        frame = None if is_json else data.frame(size)
        started = time.perf_counter()
        events = pl.scan_ndjson(data.lines(size), schema=data.COLUMNS) if frame is None else frame.lazy()
        result = plan(events).collect()
        return _right(query, size, check(result), time.perf_counter() - started)

    return limit


def _duckdb(query: str, sql: str, check: Callable[[pl.DataFrame], Answer], *, is_json: bool) -> Limit:
    def limit(size: str) -> float:
        import duckdb

        with duckdb.connect() as connection:
            events = f"read_json('{data.lines(size)}', format='newline_delimited', columns={TYPES})"
            if not is_json:
                connection.execute(f"create table e as select * from '{data.parquet(size)}'")
                events = "e"
            data.users()
            connection.execute(f"create table u as select * from '{data.folder() / 'users.parquet'}'")
            started = time.perf_counter()
            result = connection.sql(sql.format(events=events)).to_arrow_table()
            seconds = time.perf_counter() - started
        return _right(query, size, check(pl.DataFrame(result)), seconds)

    return limit


def _right(query: str, size: str, got: Answer, seconds: float) -> float:
    if not answers.agrees(got, want := oracle(query, size)):
        raise AssertionError(f"the limit of {query} is wrong: got {got}, expected {want}")
    return seconds


def _both(
    query: str,
    plan: Callable[[pl.LazyFrame], pl.LazyFrame],
    sql: str,
    check: Callable[[pl.DataFrame], Answer],
    *,
    is_json: bool,
) -> dict[str, Limit]:
    return {
        "polars": _polars(query, plan, check, is_json=is_json),
        "duckdb": _duckdb(query, sql, check, is_json=is_json),
    }


def _panes(events: pl.LazyFrame) -> pl.LazyFrame:
    start = pl.col("ts") // 10_000 * 10_000
    return events.group_by(w=start, user="user").agg(s=pl.col("amount").sum(), c=pl.len())


def _slides(events: pl.LazyFrame) -> pl.LazyFrame:
    shifts = pl.lit(list(range(30)), dtype=pl.List(pl.Int64))
    spread = _panes(events).with_columns(k=shifts).explode("k")
    return (
        spread.with_columns(w=pl.col("w") - pl.col("k") * 10_000)
        .group_by("w", "user")
        .agg(pl.col("s").sum(), pl.col("c").sum())
    )


def _projected(events: pl.LazyFrame) -> pl.LazyFrame:
    return events.filter(pl.col("type") != "test").select("user", a=pl.col("amount") * 1.1)


def _joined(events: pl.LazyFrame) -> pl.LazyFrame:
    known = events.join(data.users().lazy(), on="user").filter(pl.col("type") != "test")
    return known.group_by("segment").agg(c=pl.len())


def _totals(events: pl.LazyFrame) -> pl.LazyFrame:
    return events.select("user", a=pl.col("amount").cum_sum().over("user"))


def _amounts(result: pl.DataFrame) -> Answer:
    return answers.of_amounts(result["a"])


def _counts(result: pl.DataFrame) -> Answer:
    return answers.of_counts(result["c"])


PROJECT = "select \"user\", amount*1.1 a from {events} where type<>'test'"
JOIN = "select segment, count(*) c from {events} join u using(\"user\") where type<>'test' group by all"
TOTAL = 'select "user", sum(amount) over (partition by "user" order by id) a from {events}'

W1 = _both("W1", _projected, PROJECT, _amounts, is_json=True)
W2 = _both("W2", _panes, PANES, answers.of_windows, is_json=True)
W2C = _both("W2", _panes, PANES, answers.of_windows, is_json=False)
W3 = _both("W3", _slides, SLIDES, answers.of_windows, is_json=True)
W3C = _both("W3", _slides, SLIDES, answers.of_windows, is_json=False)
W5C = _both("W5", _joined, JOIN, _counts, is_json=False)
W6C = _both("W6", _totals, TOTAL, _amounts, is_json=False)
