"""The Core agent: serves one directory to the gate, and nobody else, under a lease that it keeps alive."""
