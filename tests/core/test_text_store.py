"""Laws of ``core.text_store``: texts are found at the places at which they were stored, however many came since."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from streamflow.core.text_store import TextStore

TEXT = st.one_of(st.none(), st.text(max_size=20))


@given(
    columns=st.lists(st.lists(TEXT, min_size=1, max_size=8), max_size=8),
    asks=st.lists(st.booleans(), min_size=8, max_size=8),
    data=st.data(),
)
def test_texts_are_where_they_were_stored(
    columns: list[list[str | None]], asks: list[bool], data: st.DataObject
) -> None:
    store, model = TextStore(), list[str | None]()
    for column, ask in zip(columns, asks, strict=False):
        places = data.draw(st.lists(st.integers(0, len(column) - 1), unique=True))
        store.add(pl.Series("any", column, dtype=pl.String), np.array(places, dtype=np.int64))
        model += [column[place] for place in places]
        if ask and model:
            wanted = data.draw(st.lists(st.integers(0, len(model) - 1), max_size=10))
            assert store.take(np.array(wanted, dtype=np.int64)).to_list() == [model[place] for place in wanted]
    assert store.size == len(model)
    assert store.take(np.arange(len(model))).to_list() == model


def test_texts_of_many_pieces_come_out_in_the_order_asked_for() -> None:
    store, texts = TextStore(), pl.Series(np.arange(200_000)).cast(pl.String)
    start = 0
    for size in (100_000, 40_000, 1, 9, 59_990):
        store.add(texts.slice(start, size), np.arange(size))
        start += size
        store.take(np.arange(1))
    places = np.random.default_rng(3).permutation(200_000)
    assert store.take(places).equals(texts[places])
    assert store.take(np.array([199_999, 0])).to_list() == ["199999", "0"]
