"""Values, policies and helpers that programs use beside pools and managers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy

if TYPE_CHECKING:  # what _HOMES and _MODULES say, for type checkers
    from . import connection as connection
    from . import proxy as proxy
    from . import request as request
    from . import response as response
    from . import retry as retry
    from . import ssl_ as ssl_
    from . import ssl_match_hostname as ssl_match_hostname
    from . import ssltransport as ssltransport
    from . import timeout as timeout
    from . import url as url
    from . import util as util
    from . import wait as wait
    from .connection import is_connection_dropped
    from .request import SKIP_HEADER, SKIPPABLE_HEADERS, make_headers
    from .response import is_fp_closed
    from .retry import Retry
    from .ssl_ import (
        ALPN_PROTOCOLS,
        IS_PYOPENSSL,
        SSLContext,
        assert_fingerprint,
        create_urllib3_context,
        resolve_cert_reqs,
        resolve_ssl_version,
        ssl_wrap_socket,
    )
    from .timeout import Timeout
    from .url import Url, parse_url
    from .wait import wait_for_read, wait_for_write

__all__ = (
    "ALPN_PROTOCOLS",
    "IS_PYOPENSSL",
    "SKIPPABLE_HEADERS",
    "SKIP_HEADER",
    "Retry",
    "SSLContext",
    "Timeout",
    "Url",
    "assert_fingerprint",
    "create_urllib3_context",
    "is_connection_dropped",
    "is_fp_closed",
    "make_headers",
    "parse_url",
    "resolve_cert_reqs",
    "resolve_ssl_version",
    "ssl_wrap_socket",
    "wait_for_read",
    "wait_for_write",
)

#: Where the names are, each loaded on first use.
_HOMES = {
    "ALPN_PROTOCOLS": "ssl_",
    "IS_PYOPENSSL": "ssl_",
    "SKIPPABLE_HEADERS": "request",
    "SKIP_HEADER": "request",
    "Retry": "retry",
    "SSLContext": "ssl_",
    "Timeout": "timeout",
    "Url": "url",
    "assert_fingerprint": "ssl_",
    "create_urllib3_context": "ssl_",
    "is_connection_dropped": "connection",
    "is_fp_closed": "response",
    "make_headers": "request",
    "parse_url": "url",
    "resolve_cert_reqs": "ssl_",
    "resolve_ssl_version": "ssl_",
    "ssl_wrap_socket": "ssl_",
    "wait_for_read": "wait",
    "wait_for_write": "wait",
}

#: Sub-modules that programs use without importing them.
_MODULES = (
    "connection",
    "proxy",
    "request",
    "response",
    "retry",
    "ssl_",
    "ssl_match_hostname",
    "ssltransport",
    "timeout",
    "url",
    "util",
    "wait",
)

if not TYPE_CHECKING:  # else they would take any name
    __getattr__, __dir__ = lazy(globals(), _HOMES, _MODULES)
