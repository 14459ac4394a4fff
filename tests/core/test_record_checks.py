from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.core.record_checks import has_long_number

text = st.text("abc,:{} ", max_size=9).map(str.encode)


@given(before=text, digits=st.integers(19, 40), after=text)
def test_a_number_of_19_digits_is_found_wherever_it_stands(before: bytes, digits: int, after: bytes) -> None:
    assert has_long_number(before + b"9" * digits + after)


@pytest.mark.parametrize("before", range(8))
def test_times_in_milliseconds_are_not_taken_for_long_numbers(before: int) -> None:
    assert not has_long_number(b"x" * before + b'"ts":1700000000000,"amount":12.34}')


@pytest.mark.parametrize("raw", [b"", b"1", b"123", b"1234", b"{}"])
def test_what_is_shorter_than_a_word_has_none(raw: bytes) -> None:
    assert not has_long_number(raw)
