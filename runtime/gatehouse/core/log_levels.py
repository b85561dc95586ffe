"""The levels of log lines."""

from typing import Literal

Level = Literal["debug", "info", "warning", "error"]
