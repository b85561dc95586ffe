"""Configuration of Sphinx for the documentation site (build.py). Its menu: navigation.py."""

from typing import Any

from sphinx.application import Sphinx

from tools.distributions import version as _version

project = "Gatehouse"
version = release = _version()
html_title = f"Gatehouse {version}"
extensions = ["myst_parser"]
root_doc = "index"
language = "en"

html_theme = "furo"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("accessibility.js", {"defer": "defer"})]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_last_updated_fmt = None

# Anchors of headings as on GitHub.
myst_heading_anchors = 6
# Commands and outputs in `console` blocks are not always complete programs.
suppress_warnings = ["misc.highlighting_failure"]


def _with_diagrams(
    app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Loads Mermaid only on pages that have a diagram."""
    if 'class="mermaid"' in context.get("body", ""):
        app.add_js_file("mermaid.min.js", loading_method="defer")
        app.add_js_file("diagrams.js", loading_method="defer")


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", _with_diagrams)
