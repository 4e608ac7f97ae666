"""The version, under every name that other programs look for.

The build reads it from here.  It has three integers: requests and others split it at the dots.
"""

from __future__ import annotations

#: The version as text.
__version__ = "4.0.0"
version = __version__

#: The version as integers, for comparisons.
__version_tuple__ = (4, 0, 0)
version_tuple = __version_tuple__

#: The commit a development build was made from; None in a release.
commit_id: str | None = None
