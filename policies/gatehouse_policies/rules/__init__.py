"""Rules, one module per AWS service."""
