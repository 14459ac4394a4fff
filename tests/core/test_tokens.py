"""Tokens: an epoch is written once, and only by the worker that owns the pipeline."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.core.connector import Token
from streamflow.core.tokens import is_new
from streamflow.errors import FencedError

TOKENS = st.builds(Token, *[st.integers(0, 3)] * 4)


def test_everything_is_new_to_a_sink_that_has_nothing() -> None:
    assert is_new(Token(0, 0), None, "s")


@given(TOKENS, TOKENS)
def test_an_epoch_is_written_if_it_is_later_and_its_worker_not_overtaken(token: Token, stored: Token) -> None:
    if token.generation < stored.generation or (token.generation == stored.generation and token.fence < stored.fence):
        with pytest.raises(FencedError):
            is_new(token, stored, "s")
    else:
        later = (token.generation, token.epoch, token.chunk) > (stored.generation, stored.epoch, stored.chunk)
        assert is_new(token, stored, "s") is later


def test_the_message_names_both_and_the_remedy() -> None:
    with pytest.raises(
        FencedError, match=r"sink 'alerts' was written by generation 1, fence 4; .* generation 1, fence 2"
    ) as e:
        is_new(Token(1, 9, 0, 2), Token(1, 8, 0, 4), "alerts")
    assert e.value.remedy == "another worker took over: stop this one"
