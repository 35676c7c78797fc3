"""Configuration of the documentation."""

import os
import re
import sys
import warnings
from pathlib import Path

from markdown_it import MarkdownIt

import skspecialist

os.environ.setdefault("MPLBACKEND", "Agg")
sys.path.append(str(Path(__file__).parent / "_ext"))

project = "skspecialist"
author = "skspecialist developers"
copyright = "2026, skspecialist developers"
version = release = skspecialist.__version__

extensions = [
    "results",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.extlinks",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "**/*.ipynb"]
default_role = "code"

extlinks = {"test": ("https://github.com/skspecialist/skspecialist/blob/main/tests/%s", "%s")}
autosummary_generate = True
autodoc_typehints = "none"  # docstrings are more precise
numpydoc_show_class_members = False  # the template of a class lists them
numpydoc_class_members_toctree = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "backreferences_dir": "generated/backreferences",
    "doc_module": "skspecialist",
    "reference_url": {"skspecialist": None},
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "abort_on_example_error": True,
    "show_memory": False,
    "remove_config_comments": True,
    "thumbnail_size": (560, 400),
    "capture_repr": ("_repr_html_",),  # displays are drawn, not printed
}
# References need not be cited in the text.
suppress_warnings = ["config.cache", "ref.citation"]

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["layout.css"]
html_theme = "pydata_sphinx_theme"
html_title = "skspecialist"
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "header_links_before_dropdown": 4,
    "navigation_with_keys": False,
    "github_url": "https://github.com/skspecialist/skspecialist",
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
# Read the Docs hosts several versions.
if "READTHEDOCS_VERSION" in os.environ:
    html_theme_options |= {
        "navbar_start": ["navbar-logo", "version-switcher"],
        "switcher": {
            "json_url": "https://skspecialist.readthedocs.io/en/latest/_static/switcher.json",
            "version_match": os.environ["READTHEDOCS_VERSION"],
        },
        "check_switcher": False,  # the file of a first version is not published yet
    }
WIDE_PAGES = ("index", "install", "comparison", "paper", "glossary", "changelog", "contributing")
html_sidebars = {page: [] for page in WIDE_PAGES}

# Warnings are hidden in the gallery; the tests turn ours into errors.
warnings.filterwarnings("ignore", category=DeprecationWarning)


def render_markdown(app):
    """Convert Markdown files, without their titles, to HTML that pages include."""
    folder = Path(app.srcdir) / "generated"
    folder.mkdir(exist_ok=True)
    for name in ("CHANGELOG", "CONTRIBUTING"):
        text = Path(app.srcdir, "..", f"{name}.md").read_text(encoding="utf-8").partition("\n")[2]
        (folder / f"{name.lower()}.html").write_text(
            MarkdownIt("commonmark").enable("table").render(text), encoding="utf-8"
        )


def escape_shapes(app, what, name, obj, options, lines):
    """Escape sizes such as n_features_in_ in shapes, which would be parsed as links."""
    lines[:] = [
        re.sub(r"_(?=[,)])", r"\\_", line) if " of shape (" in line else line for line in lines
    ]


def setup(app):
    app.connect("builder-inited", render_markdown)
    app.connect("autodoc-process-docstring", escape_shapes, priority=600)  # after numpydoc
