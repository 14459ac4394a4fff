"""Row-wise expressions: what a table may compute outside ``agg``.

A batch ends where the runtime cuts it.  An expression that looks at other rows (``cum_sum``, ``shift``, ``over``,
``sum``, ``sort``) would give another answer for another cut, so it is refused where it is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from streamflow.errors import DefinitionError

IntoExpr = pl.Expr | str | int | float | bool | None


def require_row_wise(expression: pl.Expr, where: str) -> pl.Expr:
    """Return ``expression`` if each row's answer depends on that row alone.

    Raises:
        DefinitionError: If it does not, naming the part that looks at other rows.
    """
    if expression.meta.is_column_selection():
        return expression
    if "json_decode" in str(expression):
        raise DefinitionError(
            f"{where}: str.json_decode joins the texts of a batch, so one malformed row changes others",
            remedy="decode at the source with format=Json(Type), or row by row with as_stream().map(...)",
        )
    part = _looks_around(expression)
    if part is None and not (expression.meta.is_length_preserving() or expression.meta.is_literal()):
        part = expression
    if part is not None:
        raise DefinitionError(
            f"{where}: the expression {_short(expression)} is not row-wise: {_short(part)} looks at other rows of the"
            " batch, so its answer would depend on where the batch is cut",
            remedy="aggregate with group_by(...).window(...).agg(...), where such an answer is well defined",
        )
    return expression


def row_wise(given: Iterable[Any], named: dict[str, Any], where: str) -> list[pl.Expr]:
    """Return expressions made of what ``select`` and ``with_columns`` take, checked.

    Raises:
        DefinitionError: If one is not row-wise, or is none.
    """
    expressions: list[pl.Expr] = []
    for value in given:
        if isinstance(value, str):
            expressions.append(pl.col(value))
        elif isinstance(value, pl.Expr):
            expressions.append(value)
        else:
            raise DefinitionError(f"{where} takes column names and polars expressions, got {value!r}")
    for name, value in named.items():
        column = pl.col(value) if isinstance(value, str) else value
        expressions.append((column if isinstance(column, pl.Expr) else pl.lit(column)).alias(name))
    if not expressions:
        raise DefinitionError(f"{where} needs at least one column")
    return [require_row_wise(e, where) for e in expressions]


def _looks_around(expression: pl.Expr) -> pl.Expr | None:
    """Return a part of the expression that looks at other rows; None where each part is row-wise.

    A whole may be row-wise by polars' own account while a part is an aggregate spread over the rows (``a /
    a.max()``), so every part is asked.
    """
    try:
        if not expression.meta.is_row_separable():
            return expression
        parts = expression.meta.pop()
    except pl.exceptions.PolarsError:
        return expression
    for part in parts:
        if not part.meta.is_literal() and (found := _looks_around(part)) is not None:
            return found
    return None


def _short(expression: pl.Expr) -> str:
    text = str(expression)
    return text if len(text) <= 120 else f"{text[:117]}..."
