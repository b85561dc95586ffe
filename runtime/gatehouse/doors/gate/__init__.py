"""The gate: verifies keys, hands requests to Cores, takes registrations."""
