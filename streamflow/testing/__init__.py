"""What tests of pipelines are made of: yours, and streamflow's own.

``drive`` puts a pipeline under the test's hand: rows in, rows out, crashes and time in between, and nothing to wait
for. ``run_virtual`` runs whatever uses asyncio, a whole query too, in virtual time.  Transcripts are windows as pages
of YAML. ``streamflow.testing.conformance`` holds sources, sinks and operators of your own to their contracts.

What is named here keeps to the version number like the rest of the public API.
"""

from __future__ import annotations

from streamflow.testing.clock import VirtualClock
from streamflow.testing.driving import Drive, DrivenSink, DrivenSource, drive
from streamflow.testing.recording import RecordingSink
from streamflow.testing.transcript import Transcript
from streamflow.testing.transcript import load as load_transcripts
from streamflow.testing.transcript_run import check as check_transcript
from streamflow.testing.transcript_run import run_transcript
from streamflow.testing.virtual_loop import VirtualLoop, run_virtual, start

__all__ = [
    "Drive",
    "DrivenSink",
    "DrivenSource",
    "RecordingSink",
    "Transcript",
    "VirtualClock",
    "VirtualLoop",
    "check_transcript",
    "drive",
    "load_transcripts",
    "run_transcript",
    "run_virtual",
    "start",
]
