"""Servers that Maven downloads into .gatehouse/references."""

import socket
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".gatehouse/references"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"


def maven(goal: str, *options: str) -> None:
    pom = str(Path(__file__).with_name("pom.xml"))
    command = ("mvn", "-q", "-B", "-f", pom, f"{_PLUGIN}:{goal}", *options)
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
