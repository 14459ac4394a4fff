"""The runtime: decides when to call the engine.  With the connectors the only code that awaits."""

import logging

logging.getLogger("streamflow").addHandler(logging.NullHandler())  # what is logged goes where the application says
