"""Envoy accepts the configuration of each combination of services and settings."""

from pathlib import Path

import pytest
from gatehouse.platform import settings
from gatehouse.platform.envoy import certificate, process
from gatehouse.platform.envoy.bootstrap import Service, class_of, document

from tests import processes
from tests.runtime.platform.test_settings import BASE

GATEWAY, CONSOLE, SHARING = (
    Service("gateway", 18080, workers=2),
    Service("console", 18081),
    Service("sharing", 18082),
)


def validated(folder: Path, configuration_file: str) -> str:
    """The errors of Envoy. Empty if it accepts a configuration."""
    process.write(folder / process.BOOTSTRAP, configuration_file.encode())
    configuration = str(folder / process.BOOTSTRAP)
    command = [process.program(), "--mode", "validate", "--config-path", configuration]
    done = processes.run(command, timeout=60)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    certificate.write(tmp_path)
    (tmp_path / process.CLUSTERS).mkdir()
    process.write_clusters(tmp_path, b'{"version_info":"0","resources":[]}')
    return tmp_path


@pytest.mark.parametrize(
    ("services", "variables"),
    [
        ([GATEWAY], {"GATEHOUSE_TLS": "self_signed", "GATEHOUSE_BIND": "::"}),
        ([GATEWAY], {"GATEHOUSE_CORES_DOMAIN": "localhost", "GATEHOUSE_FEATURES": "proxy=off"}),
        ([CONSOLE, SHARING], {"GATEHOUSE_TLS": "self_signed"}),
        ([GATEWAY, CONSOLE, SHARING], {"GATEHOUSE_CORES_DOMAIN": "cores.example.com:8443"}),
    ],
    ids=["TLS and IPv6", "without Cores", "console", "all, and domain of Cores"],
)
def test_envoy_accepts_the_configuration(
    folder: Path, services: list[Service], variables: dict[str, str]
) -> None:
    assert validated(folder, document(folder, services, settings.load(BASE | variables))) == ""


def test_envoy_rejects_an_unknown_field(folder: Path) -> None:
    configuration = document(folder, [CONSOLE], settings.load(BASE))
    assert "bind_to_port" in validated(folder, f"{configuration}bind_to_port: true\n")


@pytest.mark.parametrize(("timeout_s", "name"), [(60, "60s"), (3, "5s"), (3600, "3600s")])
def test_time_of_a_core_is_rounded_up(timeout_s: int, name: str) -> None:
    assert class_of(timeout_s) == name
