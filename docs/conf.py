"""How Sphinx builds the docs: ``scripts/docs``.

Its root is the repository, so that links lead to where they lead there.
"""

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.typing import ExtensionMetadata

ROOT = Path(__file__).parents[1]

project = "Llamagate"
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["docs/**.md", "deploy/README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
# Not looked into: there may be some hundred thousand files in an environment.
exclude_patterns = [".*", "**/__pycache__", "build", "dist", "node_modules", "docs/_build", "tests", "proxy"]
nitpicky = True
# Examples leave things out with "…", which is JSON to people and to nobody's lexer.
suppress_warnings = ["misc.highlighting_failure"]

myst_enable_extensions = ["colon_fence"]
# As GitHub makes them, whose readers follow the same links.
myst_heading_anchors = 4

html_theme = "furo"
html_title = "Llamagate"
html_copy_source = False
html_show_sphinx = False
html_permalinks_icon = "#"


class LinksIntoTheRepository(SphinxPostTransform):
    """What a link to a folder says, without the link: a folder is no page. One that leads nowhere stays a mistake."""

    default_priority = 1  # Before the references are looked up.

    def run(self, **kwargs: object) -> None:
        """Of one page."""
        here = ROOT / Path(self.env.docname).parent
        for link in list(self.document.findall(lambda node: node.tagname in ("pending_xref", "reference"))):
            target = link.get("reftarget", link.get("refuri", ""))
            if target and "://" not in target and (here / target).is_dir():
                link.replace_self(nodes.inline("", "", *link.children))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_post_transform(LinksIntoTheRepository)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
