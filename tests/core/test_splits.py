from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from streamflow.core.splits import only_position, takes_start
from streamflow.errors import DefinitionError, SourceError


def test_a_source_starts_at_row_0_and_goes_on_where_it_was() -> None:
    assert only_position("s", {}) == 0
    assert only_position("s", {"0": 12}) == 12


@pytest.mark.parametrize("positions", [{"1": 0}, {"0": 0, "a": 1}, {"0": -1}, {"0": "3"}, {"0": True}, {"0": None}])
def test_a_position_of_another_source_is_an_error_that_says_what_to_do(positions: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match="source 's'") as raised:
        only_position("s", positions)
    assert "--new-generation" in str(raised.value.remedy)


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        (lambda: None, False),
        (lambda start: None, True),
        (lambda first_row: None, True),
        (lambda start=0: None, True),
        (lambda symbol="BTC": None, False),
        (lambda *args, **options: None, False),
        (partial(lambda symbol, start: None, "BTC"), True),
        (partial(lambda symbol: None, "BTC"), False),
    ],
)
def test_a_function_is_given_the_start_if_it_asks_for_it(factory: Callable[..., Any], expected: bool) -> None:
    assert takes_start(factory) is expected


@pytest.mark.parametrize("factory", [lambda a, b: None, lambda *, start: None])
def test_a_function_that_asks_for_more_is_refused(factory: Callable[..., Any]) -> None:
    with pytest.raises(DefinitionError):
        takes_start(factory)
