"""Files of lines, parquet and Arrow as sources: a given set, or a folder that grows."""

from streamflow.connectors.files.directory import DirectorySource as DirectorySource
from streamflow.connectors.files.source import FileSource as FileSource
