from __future__ import annotations

import signal

import pytest

STUCK = """
    import asyncio

    from streamflow.worker import serve

    async def stuck(row):
        print("stuck", flush=True)
        await asyncio.Event().wait()

    pipeline = sf.Pipeline("stuck")
    pipeline.read("ticks", sf.generate(rate=100)).to(sf.CallbackSink(stuck), name="out")
    serve(pipeline, budget="200ms")
"""

BLOCKED = """
    import threading

    from streamflow.worker import serve

    def blocked(row):
        print("stuck", flush=True)
        threading.Event().wait()

    pipeline = sf.Pipeline("blocked")
    pipeline.read("ticks", sf.generate(rate=100)).map(blocked).show()
    serve(pipeline, budget="200ms")
"""

ENDLESS = """
    from streamflow.worker import serve

    pipeline = sf.Pipeline("ticks")
    pipeline.read("ticks", sf.generate(rate=100)).show()
    serve(pipeline)
"""


@pytest.mark.parametrize("text", [STUCK, BLOCKED], ids=["waits for ever", "blocks the loop"])
def test_a_worker_that_cannot_suspend_in_its_budget_says_where_it_hangs_and_ends_with_1(
    program, spawn, text: str
) -> None:
    worker = spawn(program(text))
    worker.until("stuck")
    worker.send(signal.SIGTERM)
    assert worker.end() == 1, worker.output
    assert "Timeout (0:00:00.200000)!" in worker.output
    assert "most recent call first" in worker.output


def test_sigusr1_writes_where_tasks_stand_and_changes_nothing(program, spawn) -> None:
    worker = spawn(program(ENDLESS))
    worker.until("n=3 ")
    worker.send(signal.SIGUSR1)
    worker.until("Task 'streamflow ticks'")
    worker.until("Task 'streamflow ticks: read ticks'")
    worker.until("in _pump")
    worker.until("n=", times=3)
    worker.send(signal.SIGTERM)
    assert worker.end() == 0, worker.output


def test_a_signal_while_the_pipeline_starts_suspends_it(program, spawn) -> None:
    text = """
        import os, signal

        from streamflow._runtime.query import Query

        enter = Query.__aenter__

        async def interrupted(query):
            os.kill(os.getpid(), signal.SIGTERM)
            return await enter(query)

        Query.__aenter__ = interrupted
        pipeline = sf.Pipeline("ticks")
        pipeline.read("ticks", sf.generate(rate=100)).show()
        pipeline.run()
        print("suspended")
    """
    worker = spawn(program(text))
    worker.until("suspended")
    assert worker.end() == 0, worker.output
