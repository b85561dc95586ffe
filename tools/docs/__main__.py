"""Writes the generated documents: `make docs`."""

from tools.docs import pages

pages.write()
print("docs: wrote docs/")
