"""The gateway: verifies keys, hands requests to Cores, takes registrations."""
