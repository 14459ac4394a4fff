"""A sink that writes files, exactly once: one file of lines, or a directory of Parquet or Arrow files."""

from streamflow.connectors.file_sink.sink import FileSink as FileSink
from streamflow.connectors.file_sink.storage import committed_lines as committed_lines
from streamflow.connectors.file_sink.storage import committed_parts as committed_parts
