"""Fixture `browser` for the tests of the web UI: one process for all files of a worker."""

from tests.runtime.services.sharing.chromium import browser

__all__ = ["browser"]
