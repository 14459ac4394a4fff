"""A sink that writes a table of an SQLite database, rows and token in one transaction."""

from streamflow.connectors.sqlite.sink import SqliteSink as SqliteSink
