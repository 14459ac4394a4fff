"""Pure values and laws: nothing here awaits, reads a clock or does I/O."""
