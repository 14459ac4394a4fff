"""Conformance: does a source, a sink or an operator of your own keep to its contract?

Each check does what the runtime may do to it, and raises an ``AssertionError`` that names the clause that is broken::

    async def test_my_source_keeps_to_the_contract() -> None:
        await check_source(lambda: MySource("host"), rows=100)

The contracts themselves are ``streamflow.core.connector`` and ``streamflow.core.operator``.
"""

from __future__ import annotations

from streamflow.testing.conformance.operators import check_operator, stamped
from streamflow.testing.conformance.sinks import Place, check_sink
from streamflow.testing.conformance.sources import check_source

__all__ = ["Place", "check_operator", "check_sink", "check_source", "stamped"]
