"""The verbs of the runtime: what happens, in which order, on the ports that are handed in."""
