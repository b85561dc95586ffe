"""Adapters to the outside world, one technology a file, behind the protocols of ports.py."""
