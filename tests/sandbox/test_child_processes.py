"""Processes on other systems, and the limit of open files."""

import os
import sys

import pytest

from sandbox.child_processes import ProcessRecord
from tests import processes, requires


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


def test_file_limit_of_macos_is_raised() -> None:
    code = """
import resource
from sandbox.child_processes import raise_file_limit
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
raise_file_limit()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] in (10_240, hard))
"""
    result = processes.run([sys.executable, "-c", code], check=True)
    assert result.stdout.strip() == "True"
