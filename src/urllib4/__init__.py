"""A synchronous, thread-safe HTTP client library: the front door."""

from __future__ import annotations

import logging
import warnings
from logging import NullHandler
from typing import TYPE_CHECKING, Any

from ._lazy import lazy
from ._version import __version__ as __version__
from ._warnings import (
    HTTPWarning,
    InsecurePlatformWarning,
    NotOpenSSLWarning,
    SecurityWarning,
)

if TYPE_CHECKING:  # what _HOMES and _MODULES say, for type checkers
    from . import _base_connection as _base_connection
    from . import _collections as _collections
    from . import _request_methods as _request_methods
    from . import address_filters as address_filters
    from . import connection as connection
    from . import connectionpool as connectionpool
    from . import exceptions as exceptions
    from . import fields as fields
    from . import filepost as filepost
    from . import multipart as multipart
    from . import poolmanager as poolmanager
    from . import proxies as proxies
    from . import resolvers as resolvers
    from . import response as response
    from . import util as util
    from ._cancel import CancelToken
    from ._collections import HTTPHeaderDict
    from ._shared import _DEFAULT_POOL as _DEFAULT_POOL
    from ._shared import request
    from .connectionpool import HTTPConnectionPool, HTTPSConnectionPool, connection_from_url
    from .filepost import encode_multipart_formdata
    from .poolmanager import PoolManager, ProxyManager, proxy_from_url
    from .response import BaseHTTPResponse, HTTPResponse
    from .util.request import make_headers
    from .util.retry import Retry
    from .util.timeout import Timeout

__author__ = "urllib4 contributors"
__license__ = "MIT"

__all__ = (
    "BaseHTTPResponse",
    "CancelToken",
    "HTTPConnectionPool",
    "HTTPHeaderDict",
    "HTTPResponse",
    "HTTPSConnectionPool",
    "PoolManager",
    "ProxyManager",
    "Retry",
    "Timeout",
    "add_stderr_logger",
    "connection_from_url",
    "disable_warnings",
    "encode_multipart_formdata",
    "make_headers",
    "proxy_from_url",
    "request",
)

#: Where the names are that load their module on first use.
_HOMES = {
    "BaseHTTPResponse": "response",
    "CancelToken": "_cancel",
    "HTTPConnectionPool": "connectionpool",
    "HTTPHeaderDict": "_collections",
    "HTTPResponse": "response",
    "HTTPSConnectionPool": "connectionpool",
    "PoolManager": "poolmanager",
    "ProxyManager": "poolmanager",
    "Retry": "util.retry",
    "Timeout": "util.timeout",
    "_DEFAULT_POOL": "_shared",
    "connection_from_url": "connectionpool",
    "encode_multipart_formdata": "filepost",
    "make_headers": "util.request",
    "proxy_from_url": "poolmanager",
    "request": "_shared",
}

#: Sub-modules that programs use without importing them.
_MODULES = (
    "_base_connection",
    "_collections",
    "_request_methods",
    "address_filters",
    "connection",
    "connectionpool",
    "exceptions",
    "fields",
    "filepost",
    "multipart",
    "poolmanager",
    "proxies",
    "resolvers",
    "response",
    "util",
)

if not TYPE_CHECKING:  # else they would take any name
    __getattr__, __dir__ = lazy(globals(), _HOMES, _MODULES)

try:
    import ssl as _ssl
except ImportError:  # a Python without TLS: plain HTTP works
    pass
else:
    if not _ssl.OPENSSL_VERSION.startswith("OpenSSL "):
        warnings.warn(
            "urllib4 only supports OpenSSL 1.1.1+, currently the 'ssl' module is compiled with "
            f"{_ssl.OPENSSL_VERSION!r}.",
            NotOpenSSLWarning,
            stacklevel=2,
        )
    elif _ssl.OPENSSL_VERSION_INFO < (1, 1, 1):
        raise ImportError(
            "urllib4 only supports OpenSSL 1.1.1+, currently the 'ssl' module is compiled with "
            f"{_ssl.OPENSSL_VERSION!r}."
        )

logging.getLogger(__name__).addHandler(NullHandler())
for _name in ("connection", "connectionpool", "poolmanager", "response", "util.retry"):
    # Before their modules are loaded: a program that configures logging after the import decides
    # about the loggers that exist by then (``disable_existing_loggers``).
    logging.getLogger(f"{__name__}.{_name}")

# At the end of the list of filters: what the program asks for goes first.
warnings.simplefilter("always", SecurityWarning, append=True)
warnings.simplefilter("default", InsecurePlatformWarning, append=True)


def add_stderr_logger(level: int = logging.DEBUG) -> logging.StreamHandler[Any]:
    """Log what the library does to standard error; a help for debugging.

    :param level: of the package's logger and thus of everything below it.
    :returns: the handler, to be removed again.
    """
    logger = logging.getLogger(__name__)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.debug("Added a stderr logging handler to logger: %s", __name__)
    return handler


def disable_warnings(category: type[Warning] = HTTPWarning) -> None:
    """Switch off all warnings of `category`, by default all of this library."""
    warnings.simplefilter("ignore", category)
