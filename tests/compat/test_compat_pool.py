"""Pools and managers behave as in urllib3 2.8.0, scenario by scenario, or as listed here.

Each scenario is played to both packages by a raw server.  Compared are results and errors with
their texts, what was sent, counts, what is left in the pool, warnings, and log records.
"""

from __future__ import annotations

import io
import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

pytest.importorskip("urllib3")

import urllib3

import urllib4
from dummyserver.certs import Certificates
from dummyserver.script import Conversation, ScriptedServer
from dummyserver.tls import TLSEnd

PACKAGES = (urllib3, urllib4)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answer(status: str, *fields: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def redirect(target: str, status: str = "302 Found", *fields: str) -> bytes:
    return answer(status, f"Location: {target}", *fields, body=b"moved")


BUSY = answer("503 Service Unavailable", body=b"busy")


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def _gist(message: Warning | str) -> str:
    """Return the text without the release that removes something, and without a link."""
    return re.split(r" in urllib|\. See", str(message))[0]


def _without_length(record: logging.LogRecord) -> str:
    """Return the text; of an answer without the length, in which all records differ (below)."""
    if record.args and len(record.args) == 8:
        record.args = (*tuple(record.args)[:7], "LENGTH")
    return record.getMessage()


class Stage:
    """One scenario on one package: a raw server, and a notebook of what happens."""

    def __init__(self, package: ModuleType, certs: Certificates, stack: ExitStack) -> None:
        self.package = package
        self.exceptions = package.exceptions
        self.certs = certs
        self.seen: list[tuple[str, Any]] = []
        self.slept: list[float] = []
        self.servers: list[ScriptedServer] = []
        self._stack = stack
        self.script = self.server()
        self._pools: list[Any] = []

    def server(self, **options: Any) -> ScriptedServer:
        server = self._stack.enter_context(ScriptedServer(**options))
        self.servers.append(server)
        return server

    def accept(self) -> Conversation:
        return self.script.accept()

    def pool(self, **options: Any) -> Any:
        options.setdefault("timeout", 5)
        pool = self.package.HTTPConnectionPool("127.0.0.1", self.script.port, **options)
        self._pools.append(self._stack.enter_context(pool))
        return pool

    def manager(self, **options: Any) -> Any:
        options.setdefault("timeout", 5)
        return self._stack.enter_context(self.package.PoolManager(**options))

    def retry(self, *args: Any, **options: Any) -> Any:
        return self.package.Retry(*args, **options)

    def note(self, what: str, value: Any) -> None:
        self.seen.append((what, self.told(value)))

    def told(self, value: Any) -> Any:
        """Return `value` as plain data that does not name the package or our ports."""
        if isinstance(value, BaseException):
            reason = getattr(value, "reason", None)
            told = [type(value).__name__, self.text(str(value))]
            return [*told, type(reason).__name__] if isinstance(reason, Exception) else told
        if hasattr(value, "drain_conn"):
            return self._response(value)
        if isinstance(value, (list, tuple)):
            return [self.told(one) for one in value]
        if isinstance(value, bytes):
            return self.text(value.decode("latin-1"))
        if isinstance(value, str):
            return self.text(value)
        return value

    def _response(self, response: Any) -> Any:
        history = [] if response.retries is None else response.retries.history
        return {
            "status": response.status,
            "reason": response.reason,
            "data": response.data,
            "headers": list(response.headers.iteritems()),
            "version": (response.version, response.version_string),
            "url": self.text(str(response.url)),
            "retries": self.text(repr(response.retries)),
            "history": [self.told(list(entry)) for entry in history],
            "connection": response.connection is None,
        }

    def text(self, text: str) -> str:
        for number, server in enumerate(self.servers):
            text = text.replace(str(server.port), f"PORT{number}")
        name = self.package.__name__
        text = text.replace(f"{name}/{self.package.__version__}", "P/V").replace(name, "P")
        text = re.sub(r"0x[0-9a-f]+", "0x", text)
        # Ours name the host in errors about certificates (``tests/integration/test_https.py``).
        text = text.replace(" (host 'localhost')", "").replace('"', "'")
        return re.sub(r"line \d+|_ssl\.c:\d+", "line", text)

    def try_(self, function: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        """Call it and note what it returns or raises; return that."""
        try:
            result = function(*args, **kw)
        except Exception as error:
            result = error
        self.note("result", result)
        return result

    def finish(self, records: list[logging.LogRecord], caught: list[Any]) -> None:
        for pool in self._pools:
            entries = [] if pool.pool is None else list(pool.pool.queue)
            self.note("counts", [pool.num_connections, pool.num_requests])
            self.note("pool", None if pool.pool is None else [e is not None for e in entries])
        self.note("slept", self.slept)
        self.note("warnings", [(one.category.__name__, _gist(one.message)) for one in caught])
        self.note("log", [(r.name, r.levelname, _without_length(r)) for r in records])


Scenario = Callable[[Stage], object]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


def play(package: ModuleType, function: Scenario, certs: Certificates) -> dict[str, list[Any]]:
    """Play a scenario and return what was seen, by kind."""
    handler = _Records()
    logger = logging.getLogger(package.__name__)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        with ExitStack() as stack, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            stage = Stage(package, certs, stack)
            with mock.patch("time.sleep", stage.slept.append):
                function(stage)
            stage.finish(handler.records, caught)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    for server in stage.servers:
        server.assert_finished()
        stage.note("requests", server.requests)
    seen: dict[str, list[Any]] = {}
    for kind, value in stage.seen:
        seen.setdefault(kind, []).append(value)
    return seen


# -- one request, and what is left behind -----------------------------------------------------


@scenario
def two_requests_on_one_connection(stage: Stage) -> None:
    stage.accept().expect(b"GET /a").send(OK).expect(b"POST /b").send(OK)
    pool = stage.pool()
    stage.try_(pool.request, "GET", "/a")
    stage.try_(pool.request, "POST", "/b", body=b"x")


@scenario
def a_response_read_by_and_by(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(OK).expect(b"GET").send(OK)
    pool = stage.pool()
    response = pool.request("GET", "/", preload_content=False)
    stage.note("queue", pool.pool.qsize())
    stage.note("pieces", [response.read(1), response.read(1), response.read(1)])
    stage.note("queue", pool.pool.qsize())
    response.release_conn()
    stage.note("queue", [entry is None for entry in pool.pool.queue])
    stage.try_(pool.request, "GET", "/")


@scenario
def a_closed_response_takes_its_connection_with_it(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(OK[:-1]).expect_eof()
    stage.accept().expect(b"GET").send(OK)
    pool = stage.pool()
    pool.request("GET", "/", preload_content=False).close()
    stage.try_(pool.request, "GET", "/")


@scenario
def a_connection_that_the_server_closed_while_idle(stage: Stage) -> None:
    gone = threading.Event()
    stage.accept().expect(b"GET").send(OK).close().notify(gone)
    stage.accept().expect(b"GET").send(OK)
    pool = stage.pool()
    stage.try_(pool.request, "GET", "/1")
    gone.wait(5)
    stage.try_(pool.request, "GET", "/2")


@scenario
def an_answer_that_ends_the_connection(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(answer("200 OK", "Connection: close", body=b"x")).close()
    stage.accept().expect(b"GET").send(b"HTTP/1.0 200 OK\r\n\r\nold").close()
    pool = stage.pool()
    stage.try_(pool.request, "GET", "/1")
    stage.try_(pool.request, "GET", "/2")


@scenario
def head_and_statuses_without_a_body(stage: Stage) -> None:
    stage.accept().expect(b"HEAD").send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").expect(
        b"GET"
    ).send(b"HTTP/1.1 204 No Content\r\n\r\n").expect(b"GET").send(
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"
    )
    pool = stage.pool()
    for method in ("HEAD", "GET", "GET"):
        stage.try_(pool.request, method, "/")


@scenario
def interim_answers_are_skipped(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    stage.try_(stage.pool().request, "GET", "/")


@scenario
def a_method_in_lower_case(stage: Stage) -> None:
    stage.accept().expect(b"GET ").send(OK).expect(b"get ").send(OK)
    pool = stage.pool()
    stage.try_(pool.request, "get", "/")
    stage.try_(pool.urlopen, "get", "/")


@scenario
def an_absolute_url_on_a_pool(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(OK)
    pool = stage.pool()
    stage.try_(pool.request, "GET", stage.script.url + "/x#fragment")
    stage.try_(pool.request, "GET", "http://elsewhere.example/")
    stage.try_(pool.request, "GET", "https://127.0.0.1/")
    stage.try_(pool.request, "GET", "no/slash")


@scenario
def a_foreign_url_without_the_check(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(OK)
    stage.try_(stage.pool().urlopen, "GET", "http://elsewhere.example:81/y", assert_same_host=False)


# -- pools that are full, empty, or closed ----------------------------------------------------


@scenario
def an_empty_pool_that_blocks(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(OK)
    pool = stage.pool(maxsize=1, block=True)
    response = pool.request("GET", "/", preload_content=False)
    stage.try_(pool.request, "GET", "/", pool_timeout=0.001)
    stage.try_(pool.request, "GET", "/", pool_timeout=0.001, retries=5)
    response.drain_conn()
    stage.note("queue", pool.pool.qsize())


@scenario
def more_connections_than_fit(stage: Stage) -> None:
    for _ in range(3):
        stage.accept().expect(b"GET").send(OK)
    pool = stage.pool(maxsize=2)
    responses = [pool.request("GET", "/", preload_content=False) for _ in range(3)]
    for response in responses:
        response.drain_conn()
        response.release_conn()


@scenario
def one_connection_too_many_put_back(stage: Stage) -> None:
    connection = stage.package.connection.HTTPConnection
    pool = stage.pool(maxsize=1, block=True)
    pool._get_conn()
    pool._put_conn(connection("a"))
    stage.try_(pool._put_conn, connection("b"))
    pool = stage.pool(maxsize=1)
    pool._put_conn(connection("a"))
    pool._get_conn()


@scenario
def a_closed_pool(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(OK)
    pool = stage.pool()
    stage.try_(pool.request, "GET", "/")
    pool.close()
    pool.close()
    stage.try_(pool.request, "GET", "/")
    stage.try_(pool.request, "GET", "/", retries=3)
    stage.try_(pool._get_conn)
    stage.try_(pool._put_conn, None)


@scenario
def a_pool_closed_while_a_connection_is_out(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(OK).expect_eof()
    pool = stage.pool()
    response = pool.request("GET", "/", preload_content=False)
    pool.close()
    stage.note("data", response.read())
    response.release_conn()


# -- retries ----------------------------------------------------------------------------------


def _refused(stage: Stage) -> Any:
    """A pool for a port where nobody listens any more."""
    gone = ScriptedServer()
    stage.servers.append(gone)
    gone.close()
    return stage.package.HTTPConnectionPool("127.0.0.1", gone.port, timeout=5)


@scenario
def nobody_listens(stage: Stage) -> None:
    pool = _refused(stage)
    for retries in (False, 0, 1, 2, stage.retry(connect=1), stage.retry(total=False)):
        stage.try_(pool.request, "GET", "/path", retries=retries)
    stage.try_(pool.request, "POST", "/path", body=b"x", retries=1)
    stage.note("counts", [pool.num_connections, pool.num_requests])


@scenario
def back_off_grows(stage: Stage) -> None:
    pool = _refused(stage)
    stage.try_(pool.request, "GET", "/", retries=stage.retry(5, backoff_factor=0.1))


@scenario
def the_server_hangs_up(stage: Stage) -> None:
    for _ in range(3):
        stage.accept().expect(b"GET").close()
    stage.accept().expect(b"GET").send(OK)
    stage.try_(stage.pool().request, "GET", "/", retries=3)


@scenario
def the_server_hangs_up_too_often(stage: Stage) -> None:
    for _ in range(2):
        stage.accept().expect(b"GET").close()
    stage.try_(stage.pool().request, "GET", "/", retries=stage.retry(read=1))


@scenario
def the_server_hangs_up_on_post(stage: Stage) -> None:
    stage.accept().expect(b"POST").close()
    stage.try_(stage.pool().request, "POST", "/", body=b"x", retries=3)


@scenario
def the_server_hangs_up_on_an_allowed_post(stage: Stage) -> None:
    stage.accept().expect(b"POST").close()
    stage.accept().expect(re.compile(rb"\r\n\r\nbody$")).send(OK)
    retries = stage.retry(3, allowed_methods={"POST"})
    stage.try_(stage.pool().request, "POST", "/", body=b"body", retries=retries)


@scenario
def the_server_resets(stage: Stage) -> None:
    stage.accept().expect(b"GET").reset()
    stage.try_(stage.pool().request, "GET", "/", retries=False)


@scenario
def no_retry_at_all(stage: Stage) -> None:
    stage.accept().expect(b"GET").close()
    stage.accept().expect(b"GET").close()
    pool = stage.pool()
    stage.try_(pool.request, "GET", "/", retries=False)
    stage.try_(pool.request, "GET", "/", retries=0)


@scenario
def garbage_instead_of_an_answer(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(b"SSH-2.0-OpenSSH\r\n").close()
    stage.try_(stage.pool().request, "GET", "/", retries=False)


@scenario
def a_status_to_retry(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(BUSY).expect(b"GET").send(BUSY).expect(b"GET").send(OK)
    retries = stage.retry(3, status_forcelist=[503], backoff_factor=1)
    stage.try_(stage.pool().request, "GET", "/", retries=retries)


@scenario
def a_status_retried_in_vain(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(BUSY).expect(b"GET").send(BUSY)
    stage.try_(stage.pool().request, "GET", "/", retries=stage.retry(1, status_forcelist=[503]))


@scenario
def a_status_retried_in_vain_without_an_error(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(BUSY).expect(b"GET").send(BUSY)
    retries = stage.retry(1, status_forcelist=[503], raise_on_status=False)
    stage.try_(stage.pool().request, "GET", "/", retries=retries)


@scenario
def a_status_retried_in_vain_without_preloading(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(BUSY).expect(b"GET").send(BUSY)
    retries = stage.retry(status=1, status_forcelist=[503], raise_on_status=False)
    stage.try_(stage.pool().request, "GET", "/", retries=retries, preload_content=False)


@scenario
def a_status_of_a_method_that_is_not_retried(stage: Stage) -> None:
    stage.accept().expect(b"POST").send(BUSY)
    stage.try_(stage.pool().request, "POST", "/", retries=stage.retry(3, status_forcelist=[503]))


@scenario
def retry_after_in_seconds(stage: Stage) -> None:
    later = answer("429 Too Many Requests", "Retry-After: 7")
    stage.accept().expect(b"GET").send(later).expect(b"GET").send(OK)
    stage.try_(stage.pool().request, "GET", "/", retries=2)


@scenario
def retry_after_not_respected(stage: Stage) -> None:
    later = answer("429 Too Many Requests", "Retry-After: 7")
    stage.accept().expect(b"GET").send(later)
    retries = stage.retry(2, respect_retry_after_header=False)
    stage.try_(stage.pool().request, "GET", "/", retries=retries)


@scenario
def retry_after_without_retries(stage: Stage) -> None:
    later = answer("503 Busy", "Retry-After: 7", body=b"x")
    stage.accept().expect(b"GET").send(later).expect(b"GET").send(later)
    pool = stage.pool()
    stage.try_(pool.request, "GET", "/", retries=False)
    stage.try_(pool.request, "GET", "/", retries=0)


@scenario
def retry_after_beyond_the_limit(stage: Stage) -> None:
    later = answer("503 Busy", "Retry-After: 99999999")
    stage.accept().expect(b"GET").send(later).expect(b"GET").send(OK)
    stage.try_(stage.pool().request, "GET", "/", retries=1)


@scenario
def a_file_is_sent_again_from_where_it_stood(stage: Stage) -> None:
    body = io.BytesIO(b"--file")
    body.seek(2)
    stage.accept().expect(re.compile(rb"\r\n4\r\nfile\r\n0\r\n\r\n$")).close()
    stage.accept().expect(re.compile(rb"\r\n4\r\nfile\r\n0\r\n\r\n$")).send(OK)
    stage.try_(stage.pool().request, "PUT", "/", body=body, retries=1)


@scenario
def a_file_without_seek_cannot_be_sent_again(stage: Stage) -> None:
    body = io.BytesIO(b"file")
    body.seek = mock.Mock(side_effect=OSError("no seek"))  # type: ignore[method-assign]
    stage.accept().expect(b"PUT").close()
    stage.try_(stage.pool().request, "PUT", "/", body=body, retries=1)


@scenario
def a_file_without_a_position_cannot_be_sent_again(stage: Stage) -> None:
    body = io.BytesIO(b"file")
    body.tell = mock.Mock(side_effect=OSError("no tell"))  # type: ignore[method-assign]
    stage.accept().expect(b"PUT").close()
    stage.try_(stage.pool().request, "PUT", "/", body=body, retries=1)


@scenario
def a_body_that_fails_while_it_is_sent(stage: Stage) -> None:
    def body() -> Iterator[bytes]:
        yield b"a"
        raise RuntimeError("no more")

    stage.accept().expect(b"PUT", body=False).read_until(b"a\r\n").expect_eof()
    stage.try_(stage.pool().request, "PUT", "/", body=body(), retries=3)


@scenario
def an_early_answer_to_an_upload(stage: Stage) -> None:
    refusal = answer("413 Too Large", "Connection: close", body=b"no")
    stage.accept().expect(b"POST", body=False).send(refusal).shutdown_write().run(_read_all)
    stage.try_(stage.pool().request, "POST", "/", body=b"x" * 8_000_000, retries=False)


def _read_all(sock: Any) -> None:
    with suppress(OSError):
        while sock.recv(65536):
            pass


@scenario
def nonsense_as_retries_or_timeout(stage: Stage) -> None:
    pool = stage.pool()
    for timeout in (0, -1, "1x", True, object):
        result = stage.try_(pool.request, "GET", "/", timeout=timeout)
        assert isinstance(result, ValueError)


# -- redirects --------------------------------------------------------------------------------


@scenario
def a_redirect_on_a_pool(stage: Stage) -> None:
    stage.accept().expect(b"GET /a").send(redirect("/b?c#d")).expect(b"GET /b?c ").send(OK)
    stage.try_(stage.pool().request, "GET", "/a")


@scenario
def a_redirect_not_followed(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(redirect("/b")).expect(b"GET").send(redirect("/b"))
    pool = stage.pool()
    stage.try_(pool.request, "GET", "/a", redirect=False)
    stage.try_(pool.request, "GET", "/a", retries=False)


@scenario
def a_redirect_to_another_host_on_a_pool(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(redirect("http://elsewhere.example/"))
    stage.try_(stage.pool().request, "GET", "/a")


@scenario
def too_many_redirects_on_a_pool(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(redirect("/b")).expect(b"GET").send(redirect("/c"))
    stage.try_(stage.pool().request, "GET", "/a", retries=1)


@scenario
def too_many_redirects_returned(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(redirect("/b")).expect(b"GET").send(redirect("/c"))
    retries = stage.retry(redirect=1, raise_on_redirect=False)
    stage.try_(stage.pool().request, "GET", "/a", retries=retries)


def _every_status(stage: Stage, sender: Any, base: str) -> None:
    for status in ("301 M", "302 F", "303 S", "307 T", "308 P"):
        for method in ("GET", "POST", "DELETE", "PUT"):
            stage.accept().expect(b"").send(redirect("/b", status, "Connection: close")).close()
            stage.accept().expect(b"").send(answer("200 OK", "Connection: close")).close()
            stage.try_(
                sender.request,
                method,
                base + "/a",
                body=b"body",
                headers={"Content-Type": "x/y", "Digest": "z", "X-Own": "1", "Cookie": "c=1"},
            )


@scenario
def methods_and_bodies_after_a_redirect_on_a_pool(stage: Stage) -> None:
    _every_status(stage, stage.pool(), "")


@scenario
def methods_and_bodies_after_a_redirect_on_a_manager(stage: Stage) -> None:
    _every_status(stage, stage.manager(), stage.script.url)


@scenario
def statuses_that_are_no_redirects(stage: Stage) -> None:
    pool = stage.pool()
    for status in ("200 OK", "201 C", "300 M", "304 N", "305 U", "306 X", "404 N"):
        stage.accept().expect(b"").send(redirect("/b", status, "Connection: close")).close()
        stage.try_(pool.request, "GET", "/a")
    stage.accept().expect(b"").send(answer("302 Found", body=b"where?"))
    stage.try_(pool.request, "GET", "/a")


@scenario
def retry_after_of_a_redirect(stage: Stage) -> None:
    moved = redirect("/b", "302 Found", "Retry-After: 3")
    stage.accept().expect(b"GET").send(moved).expect(b"GET").send(OK)
    stage.accept().expect(b"GET").send(moved).expect(b"GET").send(OK)
    stage.try_(stage.pool().request, "GET", "/a")
    stage.try_(stage.manager().request, "GET", stage.script.url + "/a")


@scenario
def a_manager_follows_to_another_origin(stage: Stage) -> None:
    other = stage.server()
    stage.accept().expect(b"GET").send(redirect(other.url + "/b"))
    other.accept().expect(b"GET /b").send(OK)
    headers = {
        "Authorization": "a", "Cookie": "b", "Proxy-Authorization": "c", "AUTHORIZATIONs": "d",
        "X-Own": "e",
    }  # fmt: skip
    stage.try_(stage.manager().request, "GET", stage.script.url + "/a", headers=headers)


@scenario
def a_manager_keeps_what_it_is_told_to_keep(stage: Stage) -> None:
    other = stage.server()
    stage.accept().expect(b"GET").send(redirect(other.url + "/b"))
    other.accept().expect(b"GET /b").send(OK)
    stage.try_(
        stage.manager().request,
        "GET",
        stage.script.url,
        headers={"Authorization": "a", "x-SECRET": "b"},
        retries=stage.retry(3, remove_headers_on_redirect=["X-Secret"]),
    )


@scenario
def a_manager_and_relative_locations(stage: Stage) -> None:
    manager = stage.manager()
    for location in ("b", "../b", "?q", "./b/../c", "b c", "//127.0.0.1:{}/x", ";p"):
        location = location.format(stage.script.port)
        stage.accept().expect(b"").send(redirect(location, "302 F", "Connection: close")).close()
        stage.accept().expect(b"").send(answer("200 OK", "Connection: close")).close()
        stage.try_(manager.request, "GET", stage.script.url + "/a/b/c?d")


@scenario
def a_manager_redirected_too_often(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(redirect("/b")).expect(b"GET").send(redirect("/c"))
    stage.try_(stage.manager().request, "GET", stage.script.url + "/a", retries=1)


@scenario
def a_manager_redirected_too_often_by_its_own_policy(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(redirect("/b")).expect(b"GET").send(redirect("/c"))
    stage.try_(stage.manager(retries=1).request, "GET", stage.script.url + "/a")


@scenario
def a_manager_that_returns_the_redirect(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(redirect("/b")).expect(b"GET").send(redirect("/c")).expect(
        b"GET"
    ).send(redirect("/d"))
    manager = stage.manager()
    stage.try_(manager.request, "GET", stage.script.url + "/a", redirect=False)
    stage.try_(manager.request, "GET", stage.script.url + "/a", retries=False)
    retries = stage.retry(0, raise_on_redirect=False)
    stage.try_(manager.request, "GET", stage.script.url + "/a", retries=retries)


@scenario
def a_manager_without_retries_of_its_own(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(redirect("/b"))
    stage.try_(stage.manager(retries=False).request, "GET", stage.script.url + "/a")


@scenario
def redirects_and_statuses_counted_together(stage: Stage) -> None:
    stage.accept().expect(b"GET /a").send(redirect("/b")).expect(b"GET /b").send(BUSY).expect(
        b"GET /b"
    ).send(redirect("/c")).expect(b"GET /c").send(OK)
    retries = stage.retry(5, status_forcelist=[503], backoff_factor=1)
    stage.try_(stage.manager().request, "GET", stage.script.url + "/a", retries=retries)


# -- time -------------------------------------------------------------------------------------


@scenario
def no_answer_in_time(stage: Stage) -> None:
    pool = stage.pool()
    for timeout in (0.01, stage.package.Timeout(read=0.01), stage.package.Timeout(5, read=0.01)):
        stage.accept().expect(b"GET").expect_eof()
        stage.try_(pool.request, "GET", "/x", timeout=timeout, retries=False)


@scenario
def no_answer_in_time_again_and_again(stage: Stage) -> None:
    stage.accept().expect(b"GET").expect_eof()
    stage.accept().expect(b"GET").expect_eof()
    stage.try_(stage.pool().request, "GET", "/x", timeout=0.02, retries=1)


@scenario
def no_answer_to_post_in_time(stage: Stage) -> None:
    stage.accept().expect(b"POST").expect_eof()
    stage.try_(stage.pool().request, "POST", "/x", timeout=0.02, retries=3)


@scenario
def a_body_that_stops(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(OK[:-1]).expect_eof()
    stage.accept().expect(b"GET").send(OK[:-1]).expect_eof()
    pool = stage.pool()
    stage.try_(pool.request, "GET", "/x", timeout=0.02, retries=False)
    response = pool.request("GET", "/x", timeout=0.02, preload_content=False)
    stage.try_(response.read)


@scenario
def a_body_that_ends_early(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(OK[:-1]).close()
    stage.accept().expect(b"GET").send(OK[:-1]).close()
    pool = stage.pool()
    stage.try_(pool.request, "GET", "/x", retries=False)
    response = pool.request("GET", "/x", preload_content=False)
    stage.try_(response.read)


@scenario
def a_body_that_ends_early_is_asked_for_again(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(OK[:-1]).close()
    stage.accept().expect(b"GET").send(OK)
    stage.try_(stage.pool().request, "GET", "/x", retries=1)


# -- managers ---------------------------------------------------------------------------------


@scenario
def urls_that_lead_nowhere(stage: Stage) -> None:
    manager = stage.manager()
    for url in (
        "http://",
        "http:///x",
        "",
        "/x",
        "ftp://host/",
        "http://[::1",
        "http://a:b",
        "h_t://x/",
    ):
        stage.try_(manager.request, "GET", url)
    for scheme in ("ftp", "HTTP", None, ""):
        stage.note("kind", str(_or_error(manager.connection_from_host, "h", 1, scheme)))


def _or_error(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except Exception as error:
        return repr(error)


@scenario
def a_url_without_a_scheme(stage: Stage) -> None:
    stage.accept().expect(b"GET").send(OK)
    result = stage.manager().request("GET", f"127.0.0.1:{stage.script.port}/x")
    stage.note("status", result.status)


@scenario
def pools_of_a_manager(stage: Stage) -> None:
    manager = stage.manager(num_pools=2, maxsize=3)
    one = manager.connection_from_url("http://a.example/x")
    stage.note("same", manager.connection_from_host("A.example", 80) is one)
    stage.note("same", manager.connection_from_host("a.example", scheme="https") is one)
    stage.note("same", manager.connection_from_host("a.example", pool_kwargs={"maxsize": 4}) is one)
    stage.note("pools", len(manager.pools))
    stage.note("again", manager.connection_from_url("http://a.example/x") is one)
    stage.note("names", [str(manager.connection_from_url(f"https://{n}.example")) for n in "ab"])
    none = manager.connection_from_host("a.example", pool_kwargs={"maxsize": None})
    stage.note("maxsize", none.pool.maxsize)
    manager.clear()
    stage.note("pools", len(manager.pools))


@scenario
def top_level_connection_from_url(stage: Stage) -> None:
    connection_from_url = stage.package.connection_from_url
    for url in ("http://a", "https://a:1", "//a", "a", "http://[::1]:0", "ftp://a", "http://:80"):
        stage.note("pool", str(_or_error(connection_from_url, url)))


@scenario
def hosts_that_are_the_same(stage: Stage) -> None:
    for host, port in (("a", None), ("A", 80), ("a", 81), ("[::1]", None), ("ü.example", 80)):
        pool = stage.package.HTTPConnectionPool(host, port)
        stage.note("pool", str(pool))
        for url in ("/x", "//a", "http://a", "http://A:80", "https://a", "a:81", "http://[::1]:80",
                    "http://xn--tda.example", "http://Ü.example/", "http://a."):  # fmt: skip
            stage.note(url, pool.is_same_host(url))


@scenario
def a_pool_without_a_host(stage: Stage) -> None:
    for host in ("", None):
        stage.try_(stage.package.HTTPConnectionPool, host)
    stage.try_(stage.package.connection_from_url, "http://")


# -- TLS --------------------------------------------------------------------------------------


def _secure(stage: Stage, certificate: str, **options: Any) -> tuple[ScriptedServer, Any]:
    context = stage.certs.server_context(getattr(stage.certs, certificate))
    server = stage.server(tls=context)
    options.setdefault("ca_certs", stage.certs.ca_file)
    pool = stage.package.HTTPSConnectionPool("localhost", server.port, timeout=5, **options)
    stage._pools.append(stage._stack.enter_context(pool))
    return server, pool


@scenario
def https(stage: Stage) -> None:
    server, pool = _secure(stage, "server")
    server.accept().expect(b"GET").send(OK).expect(b"GET").send(OK)
    stage.try_(pool.request, "GET", "/1")
    stage.try_(pool.request, "GET", "/2")


@scenario
def an_unverified_https_request(stage: Stage) -> None:
    server, pool = _secure(stage, "untrusted", cert_reqs="CERT_NONE", ca_certs=None)
    server.accept().expect(b"GET").send(OK).expect(b"GET").send(OK)
    pool.request("GET", "/1")
    pool.request("GET", "/2")


@pytest.fixture(scope="module")
def authorities() -> Iterator[Certificates]:
    with Certificates() as certificates:
        yield certificates


for _certificate in ("wrong_host", "expired", "no_san", "untrusted"):

    def _refused_certificate(stage: Stage, certificate: str = _certificate) -> None:
        server, pool = _secure(stage, certificate)
        server.accept(handshake_fails=True)
        stage.try_(pool.request, "GET", "/", retries=False)
        server.accept(handshake_fails=True)
        server.accept(handshake_fails=True)
        stage.try_(pool.request, "GET", "/", retries=1)

    SCENARIOS[f"a_certificate_that_is_{_certificate}"] = _refused_certificate


@scenario
def a_name_that_is_asserted(stage: Stage) -> None:
    server, pool = _secure(stage, "wrong_host", assert_hostname="other.example")
    server.accept().expect(b"GET").send(OK)
    stage.try_(pool.request, "GET", "/")
    server, pool = _secure(stage, "wrong_host", assert_hostname=False)
    server.accept().expect(b"GET").send(OK)
    stage.try_(pool.request, "GET", "/")
    server, pool = _secure(stage, "wrong_host", server_hostname="other.example")
    server.accept().expect(b"GET").send(OK)
    stage.try_(pool.request, "GET", "/")


@scenario
def a_fingerprint_that_does_not_match(stage: Stage) -> None:
    context = stage.certs.server_context()

    def greet(sock: Any) -> None:
        with suppress(OSError):  # the client leaves when it likes
            tls = TLSEnd(sock, context)
            tls.do_handshake()
            tls.recv(1)

    for fingerprint in ("AA" * 32, "AA:AA", "zz"):
        stage.accept().run(greet)
        pool = stage.package.HTTPSConnectionPool(
            "localhost",
            stage.script.port,
            assert_fingerprint=fingerprint,
            ca_certs=stage.certs.ca_file,
            timeout=5,
        )
        result = _caught(pool.request, "GET", "/", retries=False)
        stage.note(
            "error", [type(result).__name__, re.sub("[0-9a-f]{64}", "F", stage.text(str(result)))]
        )


def _caught(function: Callable[..., Any], *args: Any, **kw: Any) -> Any:
    try:
        return function(*args, **kw)
    except Exception as error:
        return error


@scenario
def plain_http_on_the_port(stage: Stage) -> None:
    plain = stage.server()
    plain.accept().read_exactly(5).send(b"HTTP/1.1 400 Bad Request\r\n\r\n").run(_read_all)
    pool = stage.package.HTTPSConnectionPool("localhost", plain.port, timeout=5)
    result = _caught(pool.request, "GET", "/", retries=False)
    stage.note("error", type(result).__name__)


@scenario
def files_that_are_missing(stage: Stage) -> None:
    for option in ("ca_certs", "cert_file"):
        server, pool = _secure(stage, "server", **{option: "/nowhere/x.pem"})
        server.accept(handshake_fails=True)
        result = _caught(pool.request, "GET", "/", retries=False)
        stage.note("error", [type(result).__name__, type(result.args[0]).__name__])


def differences(theirs: Any, ours: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield where two results differ: the path, and what is there in each."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted(theirs.keys() | ours.keys()):
            yield from differences(theirs.get(key), ours.get(key), f"{path}.{key}")
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for index, pair in enumerate(zip(theirs, ours, strict=True)):
            yield from differences(*pair, f"{path}[{index}]")
    elif theirs != ours:
        if isinstance(theirs, list) and isinstance(ours, list):
            # Of a shorter and a longer list: what only one of the two has.
            yield path, [x for x in theirs if x not in ours], [x for x in ours if x not in theirs]
        else:
            yield path, theirs, ours


_SERVERS_VERSION = "urllib3 names the version of the request, not of the answer"
_REDIRECTED = "the history holds the request that was redirected, not the one that followed"
_LOGGED_FIRST = "an answer is logged when its head is here, even if its body breaks off"
_SLOT_ONLY = "after an error a slot goes back, not the closed connection; nothing depends on it"
_TLS_FILES = "a TLS file that cannot be read is an SSLError whichever it is, and names the option"
_TAKES_THE_PLACE = "a connection that is put back takes the place of an empty slot"

#: scenario: where something differs, what is there in theirs and in ours, and why.
DELIBERATE_DIFFERENCES: dict[str, list[tuple[str, Any, Any, str]]] = {
    "an_answer_that_ends_the_connection": [
        (
            ".log[0][3][2]",
            "http://127.0.0.1:PORT0 'GET /2 HTTP/1.1' 200 LENGTH",
            "http://127.0.0.1:PORT0 'GET /2 HTTP/1.0' 200 LENGTH",
            _SERVERS_VERSION,
        ),
        (".result[1].version", (10, "HTTP/1.1"), (10, "HTTP/1.0"), _SERVERS_VERSION),
    ],
    "one_connection_too_many_put_back": [
        (".counts[1][0]", 1, 0, _TAKES_THE_PLACE),
        (
            ".log[0]",
            [
                [
                    "P.connectionpool",
                    "WARNING",
                    "Connection pool is full, discarding connection: 127.0.0.1. "
                    "Connection pool size: 1",
                ]
            ],
            [["P.connectionpool", "DEBUG", "Resetting dropped connection: 127.0.0.1"]],
            _TAKES_THE_PLACE,
        ),
    ],
    "garbage_instead_of_an_answer": [
        (
            ".result[0][1]",
            "('Connection aborted.', BadStatusLine('SSH-2.0-OpenSSH\\r\\n'))",
            "('Connection aborted.', BadStatusLine('b'SSH-2.0-OpenSSH''))",
            "the line is shown as what it is, bytes",
        ),
    ],
    **{
        f"methods_and_bodies_after_a_redirect_on_a_{sender}": [
            (f".result[{number}].history[0][0]", "GET", method, _REDIRECTED)
            for number, method in ((9, "POST"), (10, "DELETE"), (11, "PUT"))
        ]
        for sender in ("pool", "manager")
    },
    "a_body_that_stops": [
        (".log[0]", [], [], _LOGGED_FIRST),
        (".pool[0][0]", True, False, _SLOT_ONLY),
        (
            ".result[0][1]",
            "None: Read timed out.",
            "HTTPConnectionPool(host='127.0.0.1', port=PORT0): Read timed out.",
            "the error says which pool it is about, also while preloading",
        ),
    ],
    "a_body_that_ends_early": [
        (".log[0]", [], [], _LOGGED_FIRST),
        (".pool[0][0]", True, False, _SLOT_ONLY),
    ],
    "a_body_that_ends_early_is_asked_for_again": [(".log[0]", [], [], _LOGGED_FIRST)],
    "a_fingerprint_that_does_not_match": [
        (
            ".error[1][1]",
            "Fingerprint of invalid length: aaaa",
            "Fingerprint of invalid length: AA:AA",
            "it is shown as it was given",
        ),
    ],
    "files_that_are_missing": [
        (".error[0][1]", "FileNotFoundError", "str", _TLS_FILES),
        (".error[1][0]", "ProtocolError", "SSLError", _TLS_FILES),
    ],
}


def _listed(name: str) -> list[tuple[str, Any, Any]]:
    return [row[:3] for row in DELIBERATE_DIFFERENCES.get(name, [])]


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_happens_but_for_what_is_listed(name: str, authorities: Certificates) -> None:
    theirs, ours = (play(package, SCENARIOS[name], authorities) for package in PACKAGES)
    assert list(differences(theirs, ours)) == _listed(name)


def test_each_difference_has_a_scenario_and_a_reason() -> None:
    assert DELIBERATE_DIFFERENCES.keys() <= SCENARIOS.keys()
    assert all(row[3] for rows in DELIBERATE_DIFFERENCES.values() for row in rows)


def test_the_log_tells_the_length_of_the_answer(authorities: Certificates) -> None:
    """urllib3 tells what is left to be read, which is nothing after preloading."""
    lengths = []
    for package in PACKAGES:
        handler = _Records()
        logger = logging.getLogger(f"{package.__name__}.connectionpool")
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        try:
            with ExitStack() as stack:
                stage = Stage(package, authorities, stack)
                stage.accept().expect(b"GET").send(OK).expect(b"GET").send(OK)
                pool = stage.pool()
                pool.request("GET", "/")
                pool.request("GET", "/", preload_content=False).drain_conn()
        finally:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
        texts = [record.getMessage() for record in handler.records]
        lengths.append([text[-2:] for text in texts if '"GET / HTTP/1.1" 200' in text])
    assert lengths == [[" 0", " 2"], [" 2", " 2"]]
