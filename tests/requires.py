"""Conditions of tests that do not run on every machine."""

import sys

import pytest

LINUX_REASON = "requires Linux"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason=LINUX_REASON)
