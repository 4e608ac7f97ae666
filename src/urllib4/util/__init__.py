"""Values, policies and helpers that programs use beside pools and managers."""

from __future__ import annotations

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
