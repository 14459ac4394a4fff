"""The cases that are not run, by name, each with its reason.  A case leaves this table when its operator comes."""

from __future__ import annotations

_INTERVAL_JOIN = "there is no interval join yet"
_WINDOW_JOIN = "there is no join of two windowed streams yet"
_DEDUPLICATION = "there is no de-duplication yet"

NOT_COVERED: dict[str, str] = {
    "flink/interval-join/testNegativeInclusiveAndPositiveInclusive/left_first": _INTERVAL_JOIN,
    "flink/interval-join/testPositiveExclusiveAndPositiveExlusive/left_first": _INTERVAL_JOIN,
    "flink/sql-interval-join/testRowTimeInnerJoinWithNegativeBounds": _INTERVAL_JOIN,
    "flink/sql-interval-join/testRowTimeInnerJoinRealtimeCleanUp": _INTERVAL_JOIN,
    "kafka/KStreamKStreamLeftJoinTest/testLeftJoinDuplicates": _INTERVAL_JOIN,
    "quix/interval-join/1": _INTERVAL_JOIN,
    "quix/interval-join/2": _INTERVAL_JOIN,
    "spark/StreamingJoinSuite/left outer with watermark range condition": _INTERVAL_JOIN,
    "spark/StreamingJoinSuite/stream stream inner join on windows - with watermark": _WINDOW_JOIN,
    "flink-docs/window-join-full": _WINDOW_JOIN,
    "spark/StreamingDeduplicationSuite/deduplicate with watermark": _DEDUPLICATION,
}
