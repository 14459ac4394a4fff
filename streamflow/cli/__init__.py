"""The command ``streamflow``: run, explain, check and demo.

Here, and nowhere else, logging is configured and a process ends with an exit code::

    0    finished, or suspended and resumable
    1    the pipeline failed
    2    the command was not understood: no such file, no such option
    3    the check failed, or the checkpoint does not fit the pipeline
    130  a second Ctrl-C
"""

from __future__ import annotations


def main() -> None:
    """Run the command, and end the process with its exit code."""
    from streamflow.cli.commands import streamflow

    streamflow(prog_name="streamflow")
