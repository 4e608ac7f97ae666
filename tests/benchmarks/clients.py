"""The clients that are compared, each behind the same few calls.

A client is used the way its documentation recommends for many requests: one manager, session or
handle, connections kept, certificates verified, no redirects or retries that would change the
count.  Nothing is imported here before a client is made, so that each worker process holds one.

Calls, as far as a client has them; each returns a number that the worker checks:

``get(url)``
    the length of the body, decoded, in memory;
``stream(url)``
    the length of the body, read in pieces of 64 KiB;
``upload(url, path)``
    how many bytes of a file the server says it got;
``multipart(url, path)``
    the same for a form with that file;
``lookup(urls)``
    how many pools were handed out;
``load()``
    what a fresh interpreter that imports the package returns;
``use()``
    what one returns that also makes a manager and looks at all public names.
"""

from __future__ import annotations

import http.client
import importlib
import os
import socket
import ssl
import subprocess
import sys
import threading
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from io import BytesIO
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

#: Bytes of a piece of a streamed body.
PIECE = 64 * 1024


@dataclass(frozen=True)
class Settings:
    """How a client is made; the same for all that are compared.

    :ivar ca_file: the authorities to trust.
    :ivar threads: how many threads share it.
    :ivar pools: how many origins it keeps connections to; None is its default.
    :ivar timeout: seconds to connect and to read; None is no bound.
    :ivar gzip: content may be compressed.
    :ivar addresses: name: the addresses it has, first one first.
    """

    ca_file: str
    threads: int = 1
    pools: int | None = None
    timeout: float | None = None
    gzip: bool = False
    addresses: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Client:
    """What the clients share.

    :ivar module: the module to import.
    """

    module = ""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @classmethod
    def version(cls) -> str:
        """Return the installed version.

        :raises ImportError: it is not installed.
        """
        return str(importlib.import_module(cls.module).__version__)

    def for_thread(self) -> Client:
        """Return what one more thread uses: this client, where threads may share it."""
        return self

    @classmethod
    def program(cls, call: str) -> str:
        """Return what a fresh interpreter executes for ``load`` or ``use``."""
        program = f"import {cls.module} as package"
        if call == "use":
            # What a package puts off until then counts here, whatever it is.
            program += "; package.PoolManager(); [getattr(package, n) for n in package.__all__]"
        return program

    def load(self) -> int:
        """Import the package in an interpreter of its own."""
        return self._run_fresh("load")

    def use(self) -> int:
        """Import it, make a manager, and look at each name."""
        return self._run_fresh("use")

    def _run_fresh(self, call: str) -> int:
        command = [sys.executable, "-c", self.program(call)]
        return subprocess.run(command, check=True).returncode

    def close(self) -> None:
        """Close all connections."""


class Urllib3(Client):
    """``PoolManager.request``."""

    module = "urllib3"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.package = importlib.import_module(self.module)
        self.manager = self.package.PoolManager(**self._options())

    def _options(self) -> dict[str, Any]:
        settings = self.settings
        options: dict[str, Any] = {"ca_certs": settings.ca_file}
        if settings.threads > 1:
            options["maxsize"] = settings.threads
        if settings.pools is not None:
            options["num_pools"] = settings.pools
        if settings.timeout is not None:
            options["timeout"] = settings.timeout
            options["retries"] = False
        return options

    def get(self, url: str) -> int:
        return len(self.manager.request("GET", url).data)

    def stream(self, url: str) -> int:
        response = self.manager.request("GET", url, preload_content=False)
        total = sum(map(len, response.stream(PIECE)))
        response.release_conn()
        return total

    def upload(self, url: str, path: str) -> int:
        headers = {"Content-Length": str(os.path.getsize(path))}
        with open(path, "rb") as file:
            response = self.manager.request("POST", url, body=file, headers=headers)
        return int(response.data)

    def multipart(self, url: str, path: str) -> int:
        with open(path, "rb") as file:
            fields = {"file": ("big.bin", self._part(file), "application/octet-stream")}
            return int(self.manager.request("POST", url, fields=fields).data)

    def _part(self, file: Any) -> Any:
        """Return the content of a part: urllib3 takes nothing but the whole of it."""
        return file.read()

    def lookup(self, urls: list[str]) -> int:
        look_up = self.manager.connection_from_url
        for url in urls:
            look_up(url)
        return len(urls)

    def close(self) -> None:
        self.manager.clear()


class Urllib4(Urllib3):
    """urllib4, by the calls that urllib3 has."""

    module = "urllib4"

    def _part(self, file: Any) -> Any:
        """Return the file itself, which is read while it is sent."""
        return file


class Urllib4Idle(Urllib4):
    """urllib4 whose idle connections are closed after a minute."""

    def _options(self) -> dict[str, Any]:
        return super()._options() | {"idle_timeout": 60}


class HttpClient(Client):
    """``http.client`` with a table of connections, as one writes it by hand."""

    module = "http.client"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._context: ssl.SSLContext | None = None
        self._connections: OrderedDict[tuple[str, str], http.client.HTTPConnection] = OrderedDict()
        self._split: dict[str, tuple[str, str, str]] = {}

    @classmethod
    def version(cls) -> str:
        return sys.version.partition(" ")[0]

    def for_thread(self) -> HttpClient:
        return HttpClient(self.settings)

    def get(self, url: str) -> int:
        body = self._send("GET", url).read()
        if self.settings.gzip:
            body = zlib.decompress(body, 31)
        return len(body)

    def stream(self, url: str) -> int:
        response = self._send("GET", url)
        total = 0
        while piece := response.read(PIECE):
            total += len(piece)
        return total

    def upload(self, url: str, path: str) -> int:
        headers = {"Content-Length": str(os.path.getsize(path))}
        with open(path, "rb") as file:
            return int(self._send("POST", url, file, headers).read())

    def _send(
        self, method: str, url: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        split = self._split.get(url)
        if split is None:
            parts = urlsplit(url)
            split = self._split[url] = (parts.scheme, parts.netloc, parts.path)
        connection = self._connection(split[0], split[1])
        connection.request(method, split[2], body, headers or {})
        return connection.getresponse()

    def _connection(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        key = (scheme, netloc)
        found = self._connections.get(key)
        if found is not None:
            if self.settings.pools is not None:
                self._connections.move_to_end(key)
            return found
        if len(self._connections) == self.settings.pools:
            self._connections.popitem(last=False)[1].close()
        connection = self._connections[key] = self._new(scheme, netloc)
        return connection

    def _new(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(netloc, timeout=self.settings.timeout)
        if self._context is None:
            self._context = ssl.create_default_context(cafile=self.settings.ca_file)
        return http.client.HTTPSConnection(netloc, context=self._context)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()


class Requests(Client):
    """A ``Session`` with adapters whose pools are large enough."""

    module = "requests"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        requests = importlib.import_module("requests")
        self.session = requests.Session()
        self.session.verify = settings.ca_file
        if settings.threads > 1 or settings.pools is not None:
            adapter = requests.adapters.HTTPAdapter(
                pool_connections=settings.pools or 10, pool_maxsize=settings.threads
            )
            self.session.mount("http://", adapter)
            self.session.mount("https://", adapter)

    def get(self, url: str) -> int:
        return len(self.session.get(url, timeout=self.settings.timeout).content)

    def stream(self, url: str) -> int:
        with self.session.get(url, stream=True) as response:
            return sum(map(len, response.iter_content(PIECE)))

    def upload(self, url: str, path: str) -> int:
        with open(path, "rb") as file:
            return int(self.session.post(url, data=file).content)

    def multipart(self, url: str, path: str) -> int:
        with open(path, "rb") as file:
            files = {"file": ("big.bin", file, "application/octet-stream")}
            return int(self.session.post(url, files=files).content)

    def close(self) -> None:
        self.session.close()


class Httpx(Client):
    """A ``Client``, HTTP/1.1."""

    module = "httpx"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        httpx = importlib.import_module("httpx")
        connections = max(settings.threads, settings.pools or 10)
        self.client = httpx.Client(
            verify=ssl.create_default_context(cafile=settings.ca_file),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            timeout=settings.timeout,
        )

    def get(self, url: str) -> int:
        return len(self.client.get(url).content)

    def stream(self, url: str) -> int:
        with self.client.stream("GET", url) as response:
            return sum(map(len, response.iter_bytes(PIECE)))

    def upload(self, url: str, path: str) -> int:
        headers = {"Content-Length": str(os.path.getsize(path))}
        with open(path, "rb") as file:
            return int(self.client.post(url, content=file, headers=headers).content)

    def multipart(self, url: str, path: str) -> int:
        with open(path, "rb") as file:
            files = {"file": ("big.bin", file, "application/octet-stream")}
            return int(self.client.post(url, files=files).content)

    def close(self) -> None:
        self.client.close()


class PyCurl(Client):
    """One easy handle per thread, kept and used again; it does not hand out header fields."""

    module = "pycurl"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.pycurl: ModuleType = importlib.import_module("pycurl")
        self.curl = self._handle()

    @classmethod
    def version(cls) -> str:
        words = str(importlib.import_module("pycurl").version).split()
        return " ".join(word.removeprefix("PycURL/") for word in words[:2])

    def _handle(self) -> Any:
        pycurl, settings = self.pycurl, self.settings
        curl = pycurl.Curl()
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.CAINFO, settings.ca_file)
        curl.setopt(pycurl.BUFFERSIZE, PIECE)
        if settings.pools is not None:
            curl.setopt(pycurl.MAXCONNECTS, settings.pools)
        if settings.gzip:
            curl.setopt(pycurl.ACCEPT_ENCODING, "gzip")
        if settings.timeout is not None:
            curl.setopt(pycurl.CONNECTTIMEOUT_MS, int(settings.timeout * 1000))
        for name, addresses in settings.addresses:
            listed = ",".join(f"[{a}]" if ":" in a else a for a in addresses)
            curl.setopt(pycurl.RESOLVE, [f"{name}:{listed}"])
        return curl

    def for_thread(self) -> PyCurl:
        return PyCurl(self.settings)

    def get(self, url: str) -> int:
        return len(self._perform(self.curl, url))

    def _perform(self, curl: Any, url: str) -> bytes:
        buffer = BytesIO()
        curl.setopt(self.pycurl.URL, url)
        curl.setopt(self.pycurl.WRITEFUNCTION, buffer.write)
        curl.perform()
        return buffer.getvalue()

    def stream(self, url: str) -> int:
        total = 0

        def write(piece: bytes) -> None:
            nonlocal total
            total += len(piece)

        self.curl.setopt(self.pycurl.URL, url)
        self.curl.setopt(self.pycurl.WRITEFUNCTION, write)
        self.curl.perform()
        return total

    def upload(self, url: str, path: str) -> int:
        pycurl = self.pycurl
        curl = self.curl
        curl.setopt(pycurl.POST, 1)
        curl.setopt(pycurl.POSTFIELDSIZE_LARGE, os.path.getsize(path))
        curl.setopt(pycurl.HTTPHEADER, ["Expect:"])
        curl.setopt(pycurl.UPLOAD_BUFFERSIZE, PIECE)
        with open(path, "rb") as file:
            curl.setopt(pycurl.READDATA, file)
            return int(self._perform(curl, url))

    def multipart(self, url: str, path: str) -> int:
        pycurl = self.pycurl
        part = (pycurl.FORM_FILE, path, pycurl.FORM_CONTENTTYPE, "application/octet-stream")
        self.curl.setopt(pycurl.HTTPPOST, [("file", part)])
        self.curl.setopt(pycurl.HTTPHEADER, ["Expect:"])
        self.curl.setopt(pycurl.UPLOAD_BUFFERSIZE, PIECE)
        return int(self._perform(self.curl, url))

    def close(self) -> None:
        self.curl.close()


class Raw(Client):
    """A bare socket and a search for the length: the least that Python can do."""

    module = "socket"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._context: ssl.SSLContext | None = None
        self._sockets: dict[str, socket.socket] = {}
        self._requests: dict[str, tuple[str, bytes]] = {}

    @classmethod
    def version(cls) -> str:
        return ""

    def for_thread(self) -> Raw:
        return Raw(self.settings)

    def get(self, url: str) -> int:
        origin, request = self._requests.get(url) or self._prepare(url)
        sock = self._sockets.get(origin) or self._connect(origin)
        sock.sendall(request)
        received = sock.recv(PIECE)
        if not received:
            raise ConnectionError("closed without an answer")
        body = received.index(b"\r\n\r\n") + 4
        at = received.index(b"Content-Length: ") + 16
        length = int(received[at : received.index(b"\r", at)])
        content: bytes | bytearray = received[body:]
        if len(content) != length:
            content = self._fill(sock, length, received[body:])
        if received.find(b"Connection: close", 0, body) >= 0:
            self._sockets.pop(origin).close()
        if self.settings.gzip:
            content = zlib.decompress(content, 31)
        return len(content)

    def stream(self, url: str) -> int:
        origin, request = self._requests.get(url) or self._prepare(url)
        sock = self._sockets.get(origin) or self._connect(origin)
        sock.sendall(request)
        received = sock.recv(PIECE)
        body = received.index(b"\r\n\r\n") + 4
        at = received.index(b"Content-Length: ") + 16
        length = int(received[at : received.index(b"\r", at)])
        total = len(received) - body
        while total < length:
            piece = sock.recv(PIECE)
            if not piece:
                raise ConnectionError(f"closed after {total} of {length} bytes")
            total += len(piece)
        return total

    def upload(self, url: str, path: str) -> int:
        origin, request = self._requests.get(url) or self._prepare(url)
        sock = self._sockets.get(origin) or self._connect(origin)
        head = request.replace(b"GET", b"POST", 1)[:-2]
        sock.sendall(head + b"Content-Length: %d\r\n\r\n" % os.path.getsize(path))
        with open(path, "rb") as file:
            sock.sendfile(file)
        return int(sock.recv(PIECE).partition(b"\r\n\r\n")[2])

    def _prepare(self, url: str) -> tuple[str, bytes]:
        parts = urlsplit(url)
        request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
        prepared = self._requests[url] = (f"{parts.scheme}://{parts.netloc}", request)
        return prepared

    def _connect(self, origin: str) -> socket.socket:
        parts = urlsplit(origin)
        assert parts.hostname is not None
        sock = socket.create_connection((parts.hostname, parts.port or 80))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if parts.scheme == "https":
            if self._context is None:
                self._context = ssl.create_default_context(cafile=self.settings.ca_file)
            sock = self._context.wrap_socket(sock, server_hostname=parts.hostname)
        self._sockets[origin] = sock
        return sock

    @staticmethod
    def _fill(sock: socket.socket, length: int, start: bytes) -> bytearray:
        content = bytearray(length)
        view = memoryview(content)
        view[: len(start)] = start
        at = len(start)
        while at < len(content):
            received = sock.recv_into(view[at:])
            if not received:
                raise ConnectionError(f"closed after {at} of {length} bytes")
            at += received
        return content

    def close(self) -> None:
        for sock in self._sockets.values():
            sock.close()


CLIENTS: dict[str, type[Client]] = {
    "urllib4": Urllib4,
    "urllib3": Urllib3,
    "http.client": HttpClient,
    "requests": Requests,
    "httpx": Httpx,
    "pycurl": PyCurl,
    "raw": Raw,
    "urllib4-idle": Urllib4Idle,
}


def run_threads(targets: list[Any]) -> None:
    """Run functions in a thread each, wait for all, and raise the first error of any."""
    errors: list[BaseException] = []

    def guarded(target: Any) -> None:
        try:
            target()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
