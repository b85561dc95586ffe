"""Processes on other systems, and the limit of open files."""

import os
import sys

import pytest

from sandbox.child_processes import ProcessRecord
from tests import requires


@requires.program("ps")
@pytest.mark.parametrize(
    "variable", [("TZ", "Asia/Tokyo"), ("LC_ALL", "de_DE.UTF-8"), ("LC_TIME", "ja_JP.UTF-8")]
)
def test_process_is_identified_in_another_time_zone_and_locale(
    monkeypatch: pytest.MonkeyPatch, variable: tuple[str, str]
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")  # /bin/ps reports the start time
    record = ProcessRecord.of("tests", os.getpid())
    assert record.alive()
    monkeypatch.setenv(*variable)
    assert record.alive()
