"""The Core agent: serves one directory to the gateway, and nobody else, under a lease that it keeps alive."""
