"""Fixture `browser` for the tests of the web UI: one process for all files of a worker."""

from tests.runtime.features.sharing.chromium import browser

__all__ = ["browser"]
