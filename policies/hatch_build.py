"""Generates the examples of controls, and adds the package `pulumi_local` to the wheel, because no
index has its distribution.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_REPOSITORY = Path(__file__).resolve().parents[1]


class Generated(BuildHookInterface):  # type: ignore[type-arg]  # the type of its configuration
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        _write_examples()
        # An editable installation finds the package in `dev-mode-dirs`: a copy would be outdated.
        if version == "standard":
            build_data["force_include"]["../pulumi_local/pulumi_local"] = "pulumi_local"


def _write_examples() -> None:
    """From the cases of the tests, which the clone contains, with the standard library."""
    environ = {**os.environ, "PYTHONPATH": str(_REPOSITORY / "pulumi_local")}
    command = [sys.executable, "-m", "tests.policies.rules.control_examples"]
    subprocess.run(command, cwd=_REPOSITORY, env=environ, check=True)
