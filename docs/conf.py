"""How the documentation is built: ``nox -s docs``."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]  # the server of the examples is dummyserver

import urllib4  # noqa: E402  # the path is complete only now

project = "urllib4"
author = urllib4.__author__
copyright = f"2026, {author}"
version = release = urllib4.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.doctest", "example_server"]
exclude_patterns = ["_build"]
default_role = "code"
# urllib4.HTTPResponse and urllib4.response.HTTPResponse are one class with one place.
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
# Defaults as they are written: DEFAULT_ALLOWED_METHODS says more than a set of strings.
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = f"urllib4 {release}"

# Each page starts afresh; `server` answers for example.com (see example_server).
doctest_global_setup = """
import urllib4
from example_server import certificates, server
"""
doctest_global_cleanup = """
urllib4._DEFAULT_POOL.clear()
"""
