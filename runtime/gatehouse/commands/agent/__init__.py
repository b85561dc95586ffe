"""The Core agent: serves one directory to the gateway only and renews the lease of the Core."""
