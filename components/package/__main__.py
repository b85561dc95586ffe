"""Serves the package. The Pulumi engine runs this file and passes its address."""

import sys
from pathlib import Path

# The engine runs the folder of the package, which is not the root of the project.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pulumi.provider import main

from components.package.provider import provider

main(provider(), sys.argv[1:])
