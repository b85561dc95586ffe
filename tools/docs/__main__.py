"""Writes the generated documents: `make docs`."""

from tools.docs import pages

pages.write()
print(f"docs: wrote docs/ and {pages.REQUIREMENTS.relative_to(pages.ROOT)}")
