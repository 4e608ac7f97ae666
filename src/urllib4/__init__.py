"""A synchronous, thread-safe HTTP client library: the front door."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Mapping
from logging import NullHandler
from typing import Any

from . import _collections as _collections
from . import connection as connection
from . import connectionpool as connectionpool
from . import exceptions as exceptions
from . import fields as fields
from . import filepost as filepost
from . import poolmanager as poolmanager
from . import response as response
from . import util as util
from ._cancel import CancelToken
from ._collections import HTTPHeaderDict
from ._version import __version__ as __version__
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

try:
    import ssl as _ssl
except ImportError:  # a Python without TLS: plain HTTP works
    pass
else:
    if not _ssl.OPENSSL_VERSION.startswith("OpenSSL "):
        warnings.warn(
            "urllib4 only supports OpenSSL 1.1.1+, currently the 'ssl' module is compiled with "
            f"{_ssl.OPENSSL_VERSION!r}.",
            exceptions.NotOpenSSLWarning,
            stacklevel=2,
        )
    elif _ssl.OPENSSL_VERSION_INFO < (1, 1, 1):
        raise ImportError(
            "urllib4 only supports OpenSSL 1.1.1+, currently the 'ssl' module is compiled with "
            f"{_ssl.OPENSSL_VERSION!r}."
        )

logging.getLogger(__name__).addHandler(NullHandler())

# At the end of the list of filters: what the program asks for goes first.
warnings.simplefilter("always", exceptions.SecurityWarning, append=True)
warnings.simplefilter("default", exceptions.InsecurePlatformWarning, append=True)


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


def disable_warnings(category: type[Warning] = exceptions.HTTPWarning) -> None:
    """Switch off all warnings of `category`, by default all of this library."""
    warnings.simplefilter("ignore", category)


def __getattr__(name: str) -> Any:
    """Load what most programs do not need when it is first asked for."""
    if name == "proxies":
        # Not "from . import": that asks this function first.
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_DEFAULT_POOL = PoolManager()


def request(
    method: str,
    url: str,
    *,
    body: Any = None,
    fields: Any = None,
    headers: Mapping[str, str] | None = None,
    preload_content: bool = True,
    decode_content: bool = True,
    redirect: bool = True,
    retries: Retry | bool | int | None = None,
    timeout: Timeout | float | None = 3,
    json: Any = None,
) -> BaseHTTPResponse:
    """Send one request by a manager that the whole program shares.

    Convenient for scripts.  Libraries should make a :class:`PoolManager` of their own: this one
    is shared with everybody else in the process.

    :param timeout: a :class:`Timeout` or seconds; None: wait for ever.

    The others are those of :meth:`PoolManager.request`.  Safe to call from many threads.
    """
    return _DEFAULT_POOL.request(
        method,
        url,
        body=body,
        fields=fields,
        headers=headers,
        preload_content=preload_content,
        decode_content=decode_content,
        redirect=redirect,
        retries=retries,
        timeout=timeout,
        json=json,
    )
