from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np

from streamflow._runtime.trigger import once
from streamflow.demos import fraud
from streamflow.demos.cards import USERS, Transaction
from streamflow.demos.fraud_check import expected_alerts, quality, read_transactions, stored_alerts

ROWS, SPEED = 20_000, 18  # six minutes, so that windows are over before the end


def transactions(rows: int = ROWS) -> list[Transaction]:
    return asyncio.run(read_transactions(rows, SPEED))


def test_the_alerts_are_those_of_a_plain_loop_over_the_same_transactions(tmp_path: Path) -> None:
    said: list[fraud.Alert] = []
    fraud.build(tmp_path, rows=ROWS, speed=SPEED, say=said.append).run()
    expected = expected_alerts(transactions())
    assert expected
    assert stored_alerts(tmp_path) == expected
    assert said == expected


async def test_stopped_and_started_again_each_alert_is_there_once(tmp_path: Path) -> None:
    restored: list[int | None] = []
    is_finished = False
    while not is_finished:
        pipeline = fraud.build(tmp_path, rows=ROWS, speed=SPEED)
        pipeline.settings = replace(pipeline.settings, trigger=once())
        async with pipeline.start() as query:
            await query.wait()
            restored.append(query.restored)
            is_finished = query.progress().finished
    assert restored[0] is None
    assert len(restored) > 1
    assert None not in restored[1:]
    expected = expected_alerts(await read_transactions(ROWS, SPEED))
    assert stored_alerts(tmp_path) == expected


def test_transactions_are_the_same_each_time() -> None:
    assert transactions(5_000) == transactions(5_000)


def test_transactions_are_out_of_order_by_less_than_two_seconds() -> None:
    times = [transaction.time for transaction in transactions()]
    behind = [newest - time for newest, time in zip(itertools.accumulate(times, max), times, strict=True)]
    assert max(behind) > 1_000_000
    assert max(behind) < 2_000_000


def test_users_are_distributed_by_zipfs_law() -> None:
    users = np.array([transaction.user for transaction in transactions()])
    harmonic = float(np.sum(1 / np.arange(1, USERS + 1)))
    for rank in (1, 2, 4, 8):
        share = np.count_nonzero(users == rank - 1) / ROWS
        assert abs(share * harmonic * rank - 1) < 0.2


def test_the_model_finds_stolen_cards_and_leaves_honest_ones_alone() -> None:
    worth = quality(expected_alerts(transactions()), ROWS)
    assert worth.bursts == 2
    assert worth.found >= 1
    assert worth.others <= 1
