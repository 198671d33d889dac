"""Configuration of Sphinx. `make docs` builds the site, and `make links` requests its external links."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

from sphinx.util.inspect import TypeAliasForwardRef

from rayspin import __version__

project = "rayspin"
author = "The rayspin developers"
copyright = author  # noqa: A001
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "from_source",
]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_extensions"]

# Docstrings mark code with single backticks.
default_role = "literal"
highlight_language = "none"
add_module_names = False
# The column "On this page" is too narrow for `Hamiltonian.external_field`.
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "exclude-members": "model_config, model_post_init"}
autodoc_preserve_defaults = True
# Without this alias, the type of an argument is the definition of `ArrayLike`, which is several lines long.
autodoc_type_aliases = {"npt.ArrayLike": "npt.ArrayLike"}
TypeAliasForwardRef.__repr__ = lambda alias: alias.name  # Sphinx shows the alias in `npt.ArrayLike | None` by its repr.
# Names of builtin types in signatures also match attributes of classes, such as `Catalog.bytes`.
suppress_warnings = ["ref.python"]
napoleon_numpy_docstring = False

html_theme = "pydata_sphinx_theme"
html_title = f"rayspin {release}"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_theme_options = {
    "github_url": "https://github.com/rayspin/rayspin",
    "navbar_align": "left",
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "default",
    "pygments_dark_style": "github-dark",
}
html_sidebars = {"index": []}
html_show_sourcelink = False

linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_ignore = [
    # The address of the repository is assumed until the repository is published. Unit tests check that the files which
    # these links name exist in the repository.
    r"https://github\.com/rayspin/rayspin(/.*)?$",
    r"https://raw\.githubusercontent\.com/rayspin/rayspin/.*",
]
