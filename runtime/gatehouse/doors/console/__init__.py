"""The console door: the management API that operators and their programs use."""

from gatehouse.doors.console.app import create
from gatehouse.doors.console.parts import Parts

__all__ = ["Parts", "create"]
