"""The engine: a plan, compiled to a graph of steps that is fed elements and returns effects.  Pure."""
