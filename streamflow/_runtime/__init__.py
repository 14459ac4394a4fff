"""The runtime: decides when to call the engine.  With the connectors the only code that awaits."""
