"""Laws of ``core.code_table``: a dictionary from tokens to small numbers, whatever the tokens are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.core.code_table import CodeTable

LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1
near = st.integers(0, 40)
far = st.one_of(near, st.integers(LOWEST, HIGHEST), st.sampled_from([LOWEST, LOWEST + 1, -1, HIGHEST]))
batches = st.one_of(st.lists(st.lists(near, max_size=30), max_size=6), st.lists(st.lists(far, max_size=30), max_size=6))


def tokens(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


@given(batches=batches, span=st.sampled_from([0, 16, 1 << 16]))
def test_equal_tokens_have_one_code_and_others_another(batches: list[list[int]], span: int) -> None:
    table, model = CodeTable(span=span), dict[int, int]()
    for batch in batches:
        codes, places = table.encode(tokens(batch))
        fresh = [token for token in dict.fromkeys(batch) if token not in model]
        assert places.tolist() == [batch.index(token) for token in fresh]
        assert codes[places].tolist() == list(range(len(model), len(model) + len(fresh)))
        for token, code in zip(batch, codes.tolist(), strict=True):
            assert model.setdefault(token, code) == code
        table._check()
    assert sorted(model.values()) == list(range(len(model)))
    assert table.tokens(tokens(list(model.values()))).tolist() == list(model)


@given(
    batches=st.lists(
        st.tuples(st.lists(far, max_size=30), st.lists(st.booleans(), min_size=60, max_size=60)), max_size=6
    )
)
def test_codes_that_are_not_kept_are_given_again(batches: list[tuple[list[int], list[bool]]]) -> None:
    table, model = CodeTable(), dict[int, int]()
    for batch, wanted in batches:
        codes, _ = table.encode(tokens(batch))
        model |= dict(zip(batch, codes.tolist(), strict=True))
        assert len(set(model.values())) == len(model)
        model = {token: code for token, code in model.items() if wanted[code % 60]}
        live = np.zeros(table.size, dtype=np.bool_)
        live[tokens(list(model.values()))] = True
        table.keep(live)
        table._check()
        assert table.used == len(model)
        assert table.codes().tolist() == sorted(model.values())
        assert table.find(tokens(list(model))).tolist() == list(model.values())


def test_a_table_of_ever_new_tokens_stays_as_small_as_what_is_kept() -> None:
    table = CodeTable(span=1 << 16)
    for start in range(0, 1_000_000, 1_000):
        codes, _ = table.encode(np.arange(start, start + 1_000))
        live = np.zeros(table.size, dtype=np.bool_)
        live[codes] = True
        table.keep(live)
    assert table.size <= 2_000


@pytest.mark.parametrize("stride", [1, 1 << 20, 1 << 40, (1 << 32) + 1])
def test_tokens_at_any_stride_are_found(stride: int) -> None:
    table, many = CodeTable(), np.arange(5_000) * stride
    codes, places = table.encode(many)
    assert len(places) == 5_000
    assert table.encode(many)[0].tolist() == codes.tolist()
    assert table.find(many + 1)[many + 1 > many.max()].tolist() == [-1] * int((many + 1 > many.max()).sum())


@given(words=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=40))
def test_checked_tokens_are_one_only_if_both_words_agree(words: list[tuple[int, int]]) -> None:
    table, model = CodeTable(checked=True), dict[tuple[int, int], int]()
    for some in (words[:20], words[20:]):
        codes, _ = table.encode(tokens([a for a, _ in some]), tokens([b for _, b in some]))
        for pair, code in zip(some, codes.tolist(), strict=True):
            assert model.setdefault(pair, code) == code
        table._check()
    assert len(set(model.values())) == len(model)


def test_the_spare_code_stands_for_no_token_and_is_freed_like_others() -> None:
    table = CodeTable()
    spare = table.take_spare()
    codes, _ = table.encode(tokens([0, 5]))
    assert spare not in codes.tolist()
    assert table.take_spare() == spare
    table.keep(np.arange(table.size) != spare)
    assert table.spare == -1
    assert table.encode(tokens([0, 5, 9]))[0].tolist() == [*codes.tolist(), spare]


@given(chosen=st.dictionaries(far, st.integers(0, 60), max_size=20))
def test_assigned_codes_are_those_that_were_chosen(chosen: dict[int, int]) -> None:
    distinct = {code: token for token, code in chosen.items()}
    table = CodeTable()
    table.assign(tokens(list(distinct)), tokens(list(distinct.values())), None, spare=61)
    table._check()
    assert table.encode(tokens(list(distinct.values())))[0].tolist() == list(distinct)
    new = table.encode(tokens([123_456_789_012]))[0][0]
    assert distinct.get(int(new), 123_456_789_012) == 123_456_789_012
