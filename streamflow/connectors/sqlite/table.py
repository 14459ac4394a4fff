"""The table that rows are written to, and rows as what is staged for it.

The table is there when the sink is opened, or it is made of the first row: its fields are the columns, its values say
their types.  Either way it is fixed then: a row with another field is refused.

Pure; knows no connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import msgspec

from streamflow.connectors.sqlite.columns import MOST_COLUMNS, Column, Stored, column, declared_for, folded
from streamflow.core.batch import Batch
from streamflow.core.connector import Encoded, Refused
from streamflow.core.records import Record, identity, read_table
from streamflow.core.stamps import DELETE, UPSERT
from streamflow.core.wire import UNFIT, reason_of
from streamflow.errors import DataError, SinkError


class Run(msgspec.Struct, array_like=True):
    """Rows one after another that do the same.

    Attributes:
        deletes: Whether they delete what has their key, instead of writing themselves.
        columns: The columns that they give; where they delete, those of the key.
        rows: Their values, each a ``Stored`` (a union of which msgspec cannot decode).
    """

    deletes: bool
    columns: list[str]
    rows: list[list[Any]]


class Staged(msgspec.Struct, array_like=True):
    """A batch as it is staged.

    Attributes:
        create: The columns and declared types to make the table of, where it was not there; else empty.
        key: The columns of the key; empty where rows are only added.
        runs: The rows.
    """

    create: list[tuple[str, str]]
    key: list[str]
    runs: list[Run]


@final
@dataclass(frozen=True, slots=True)
class Table:
    """What is known of the table.

    Attributes:
        columns: By folded name.
        unique: The sets of folded names of columns that no two rows share; an upsert needs one.
        create: As in ``Staged``.
        primary: The folded names of the columns of the primary key.
        is_table: Whether it is one, and not a view.
    """

    columns: Mapping[str, Column]
    unique: frozenset[frozenset[str]] = frozenset()
    create: Sequence[tuple[str, str]] = ()
    primary: frozenset[str] = frozenset()
    is_table: bool = True


@final
class Encoder:
    """Rows as ``Staged``; remembers the table that the first row made.

    Args:
        name: Of the sink, for messages.
        key: The columns of the key as the user gave them; None where an upsert edge says them.
    """

    def __init__(self, name: str, key: tuple[str, ...] | None) -> None:
        self._name, self._given = name, key
        self._key = key
        self._table: Table | None = None
        self._plans: dict[tuple[str, ...], _Plan] = {}

    @property
    def table(self) -> Table | None:
        """The table; None until it or a first row is there."""
        return self._table

    def use(self, table: Table) -> None:
        """Go on with the table as it is in the database.

        Raises:
            SinkError: If it has no unique index over the key.
        """
        self._table = table
        self._plans.clear()
        key = frozenset(folded(name) for name in self._key or ())
        if key and key not in table.unique:
            names = ", ".join(self._key or ())
            raise SinkError(
                self._name,
                f"the table has no primary key and no unique index over exactly ({names})",
                remedy=f"create one: CREATE UNIQUE INDEX ... ON ... ({names})",
            )

    def encode(self, batch: Batch) -> Encoded:
        """Return a batch as it is staged, and the rows that the table would not hold unchanged.

        Raises:
            SinkError: If rows replace others by a key that nobody said, or that the table does not have.
        """
        kinds = [UPSERT] * len(batch) if batch.stamps.kind is None else batch.stamps.kind.tolist()
        if self._key is None and batch.stamps.kind is not None and len(batch):
            self._take_key_of(batch)
        table = read_table(batch, self._given)
        runs: list[Run] = []
        refused = table.refused
        for row, record in zip(table.rows, table.records, strict=True):
            try:
                self._add(runs, record, deletes=kinds[row] == DELETE)
            except UNFIT as error:
                refused.append(Refused(row, reason_of(error), record))
        create = [] if self._table is None else list(self._table.create)
        data = msgspec.msgpack.encode(Staged(create, list(self._key or ()), runs))
        return Encoded(data, len(batch) - len(refused), sorted(refused, key=lambda r: r.row))

    def _take_key_of(self, batch: Batch) -> None:
        self._key = identity(batch)
        if not self._key:
            reason = "rows replace earlier rows, and do not say by which key"
            raise SinkError(self._name, reason, remedy="give key= to the sink")
        if self._table is not None:
            self.use(self._table)

    def _add(self, runs: list[Run], record: Record, *, deletes: bool) -> None:
        if self._table is None:
            if deletes:
                return  # there is nothing yet to delete from
            self._table = learned(record, self._key or ())
        if deletes:
            self._add_deletion(runs, record, self._table)
            return
        plan = self._plan_of(tuple(record), self._table)
        values = zip(plan.columns, record.values(), strict=True)
        stored = [(column.direct.get(type(v)) or column.store)(v) for column, v in values]
        for i in plan.key_at:
            if stored[i] is None:
                raise DataError(f"key column {plan.names[i]!r} must not be None")
        _put(runs, plan.names, stored, deletes=False)

    def _add_deletion(self, runs: list[Run], record: Record, table: Table) -> None:
        """Add the deletion of a key, which is all that is looked at: the row may say nothing else, or what it was."""
        names = {folded(name) for name in self._key or ()}
        key = {name: value for name, value in record.items() if folded(name) in names}
        plan = self._plan_of(tuple(key), table)
        values = list(key.values())
        _put(runs, plan.key, [plan.columns[i].store(values[i]) for i in plan.key_at], deletes=True)

    def _plan_of(self, names: tuple[str, ...], table: Table) -> _Plan:
        """Return where rows with these fields go; kept, since most rows have the same."""
        plan = self._plans.get(names)
        if plan is None:
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            plan = self._plans[names] = self._plan(names, table)
        return plan

    def _plan(self, names: tuple[str, ...], table: Table) -> _Plan:
        by_name = {folded(name): name for name in names}
        if not names or len(by_name) < len(names):
            raise DataError(f"expected fields whose names differ in more than case, got {sorted(names)}")
        if by_name.keys() - table.columns.keys():
            extra = sorted(by_name[name] for name in by_name.keys() - table.columns.keys())
            have = ", ".join(column.name for column in table.columns.values())
            raise DataError(f"unexpected field {extra[0]!r}: the table's columns are {have}")
        columns = [table.columns[name] for name in by_name]
        at = {name: i for i, name in enumerate(by_name)}
        key = [folded(name) for name in self._key or ()]
        if not at.keys() >= set(key):
            raise DataError(f"expected the fields of the key, {', '.join(self._key or ())}, got {', '.join(names)}")
        return _Plan(columns, [c.name for c in columns], [table.columns[n].name for n in key], [at[n] for n in key])


MOST_PLANS = 1_000
"""Sets of fields remembered; rows that each have others must not fill the memory."""


@final
@dataclass(frozen=True, slots=True)
class _Plan:
    """Where rows with certain fields go."""

    columns: list[Column]
    names: list[str]
    key: list[str]
    key_at: list[int]


def learned(record: Record, key: Sequence[str]) -> Table:
    """Return the table that a first row makes: its fields, and the types that its values say.

    Raises:
        DataError: If no table can be like that.
    """
    if not 0 < len(record) <= MOST_COLUMNS:
        raise DataError(f"expected a row of 1 to {MOST_COLUMNS:,} fields, got {len(record):,}")
    names = {folded(name): name for name in record}
    unique = frozenset(folded(name) for name in key)
    if len(names) < len(record) or not unique <= names.keys():
        wanted = f"the fields of the key, {', '.join(key)}, and " if key else ""
        raise DataError(f"expected {wanted}names that differ in more than case, got {', '.join(record)}")
    create = [(name, declared_for(value)) for name, value in record.items()]
    for name, declared in create:
        if not declared and folded(name) in unique:
            raise DataError(f"key column {name!r} must not be None")
    is_rowid = len(unique) == 1  # an integer primary key takes nothing else
    columns = {
        folded(name): column(name, declared, is_strict=is_rowid and folded(name) in unique and declared == "INTEGER")
        for name, declared in create
    }
    return Table(columns, frozenset({unique}) if unique else frozenset(), tuple(create), unique)


def _put(runs: list[Run], columns: list[str], values: list[Stored], *, deletes: bool) -> None:
    """Add a row to the last run if it does the same, else begin another."""
    if runs and runs[-1].deletes == deletes and runs[-1].columns == columns:
        runs[-1].rows.append(values)
    else:
        runs.append(Run(deletes, columns, [values]))
