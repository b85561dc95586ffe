"""The share door: the page behind a secret link."""

from gatehouse.doors.sharing.app import create

__all__ = ["create"]
