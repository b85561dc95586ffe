"""Pure decisions: no I/O, no clock, no randomness; time and random bytes arrive as arguments."""
