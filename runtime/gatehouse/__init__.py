"""The Gatehouse runtime: a key gateway, one-time secret sharing, an audit trail and a console, in
one container.
"""

__version__ = "0.1.0"
