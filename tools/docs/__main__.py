"""Writes the generated pages of `docs/`: `make docs`."""

from tools.docs import pages

pages.write()
