"""The statements that write a table, and the table as the database describes it.

Names are quoted and values are bound, whatever they are; every column is named with its table, since SQLite takes a
quoted name that is no column for a text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from streamflow.connectors.sqlite.columns import column, folded, quoted
from streamflow.connectors.sqlite.table import Run, Staged, Table


def creation(name: str, staged: Staged) -> str:
    """Return the statement that makes the table."""
    key = {folded(k) for k in staged.key}
    columns = [f"{quoted(c)} {declared}{' NOT NULL' if folded(c) in key else ''}" for c, declared in staged.create]
    if key:
        columns.append(f"PRIMARY KEY ({_listed(staged.key)})")
    return f"CREATE TABLE IF NOT EXISTS main.{quoted(name)} ({', '.join(columns)})"


def insertion(name: str, table: Table, key: Sequence[str], run: Run) -> str:
    """Return the statement that adds a row, or replaces all of the row that has its key.

    A column that the run does not give gets its default in either case (``excluded`` is the row that would have been
    added), but for the table's own primary key, which stays.
    """
    marks = ", ".join("?" * len(run.columns))
    sql = f"INSERT INTO main.{quoted(name)} ({_listed(run.columns)}) VALUES ({marks})"  # noqa: S608  # quoted and bound
    if not key:
        return sql
    given, keys = {folded(c) for c in run.columns}, {folded(k) for k in key}
    replaced = [c.name for n, c in table.columns.items() if n not in keys and (n in given or n not in table.primary)]
    update = (
        f"UPDATE SET {', '.join(f'{quoted(c)} = excluded.{quoted(c)}' for c in replaced)}" if replaced else "NOTHING"
    )
    return f"{sql} ON CONFLICT ({_listed(key)}) DO {update}"


def deletion(name: str, run: Run) -> str:
    """Return the statement that deletes the row of a key."""
    table = quoted(name)
    where = " AND ".join(f"{table}.{quoted(c)} = ?" for c in run.columns)
    return f"DELETE FROM main.{table} WHERE {where}"  # noqa: S608  # quoted and bound


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))


def read_table_of(connection: sqlite3.Connection, name: str) -> Table | None:
    """Return the table of this name as the database has it; None where it has none."""
    found = connection.execute(_KIND, (name,)).fetchone()
    if found is None:
        return None
    kind, is_strict = found
    rows = connection.execute(_COLUMNS, (name,)).fetchall()
    primary = frozenset(folded(c) for c, _, is_primary in rows if is_primary)
    columns = {}
    for c, declared, is_primary in rows:
        is_rowid = bool(is_primary) and len(primary) == 1 and declared.upper() == "INTEGER"
        columns[folded(c)] = column(c, declared, is_strict=bool(is_strict) or is_rowid)
    unique = {primary} - {frozenset()}
    for (index,) in connection.execute(_UNIQUE_INDEXES, (name,)).fetchall():
        parts = [part for (part,) in connection.execute(_INDEX_COLUMNS, (index,))]
        if None not in parts:  # None is an expression
            unique.add(frozenset(map(folded, parts)))
    return Table(columns, frozenset(unique), primary=primary, is_table=kind == "table")


_KIND = "SELECT type, strict FROM pragma_table_list(?) WHERE schema = 'main'"
_COLUMNS = "SELECT name, type, pk FROM pragma_table_xinfo(?, 'main') WHERE hidden = 0"
_UNIQUE_INDEXES = "SELECT name FROM pragma_index_list(?, 'main') WHERE \"unique\" AND NOT partial"
_INDEX_COLUMNS = "SELECT name FROM pragma_index_info(?, 'main')"
