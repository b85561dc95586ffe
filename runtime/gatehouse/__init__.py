"""The Gatehouse runtime: a key gateway, one-time secret sharing, an audit trail and a console, in
one container.
"""

from importlib.metadata import version

__version__ = version("gatehouse-runtime")
