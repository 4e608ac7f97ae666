"""URLs of servers on Unix domain sockets: ``http+unix://%2Frun%2Fx.sock/path``.

The host is the percent-encoded path of the socket.  What is sent is a request for
``http://localhost/path``.  Loaded when such a URL is used.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote

from ._dialing import checked
from ._follow_up import same_origin
from .exceptions import LocationValueError
from .util.url import Url, parse_url


class UnixURL(NamedTuple):
    """Where a URL leads.

    :ivar socket_path: the path of the socket.
    :ivar plain: the URL as its server sees it.
    :ivar base: what stands before the path in the URL.
    """

    socket_path: str
    plain: Url
    base: str

    def rejoined(self, url: str) -> str:
        """Return a URL, such as that of a redirect, as one of this socket if it is the server's."""
        if not same_origin(self.plain.url, url):
            return url
        parsed = parse_url(url)
        return f"{self.base}{parsed.request_uri}"


def split(url: Url, scheme: str) -> UnixURL:
    """Take a URL apart.

    :param scheme: that of the request.
    :raises LocationValueError: it names no socket, one that cannot be, or a port.
    """
    if not url.host:
        raise LocationValueError(
            f"No socket specified: it follows {url.scheme}://, with %2F for each slash"
        )
    if url.port is not None:
        raise LocationValueError(f"a Unix socket has no port: {url.port}")
    try:
        path = checked({"socket_path": unquote(url.host)}).socket_path
    except ValueError as error:
        raise LocationValueError(str(error)) from None
    assert path is not None
    plain = parse_url(f"{scheme}://localhost{url.request_uri}")
    return UnixURL(path, plain, f"{url.scheme}://{url.host}")
