"""Sources and sinks.  They know ``core`` only, never each other."""
