"""What ``import urllib4`` does and does not do, each in an interpreter of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import urllib4
from dummyserver.server import DummyServer

SOURCE = Path(urllib4.__file__).parents[1]


def run(code: str, *flags: str) -> str:
    """Run `code` and return what it prints; warnings are errors unless `flags` say otherwise."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    environment["PYTHONPATH"] = str(SOURCE)
    result = subprocess.run(
        [sys.executable, *(flags or ("-W", "error")), "-c", textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


OPTIONAL = (
    "idna", "certifi", "brotli", "brotlicffi", "zstandard", "backports.zstd", "compression.zstd",
    "h2", "hpack", "rich", "socks", "python_socks", "OpenSSL", "cryptography", "urllib3",
)  # fmt: skip


def test_nothing_heavy_and_nothing_optional_is_imported() -> None:
    """They cost time and memory, and most programs never need them."""
    loaded = run("import sys, urllib4; print(*sorted(sys.modules))").split()
    assert [name for name in OPTIONAL if name in loaded] == []
    assert [name for name in loaded if name.startswith("urllib4.contrib")] == []
    assert "urllib4._cli" not in loaded


def test_what_most_programs_do_not_need_is_loaded_when_it_is_asked_for() -> None:
    printed = run(
        """
        import sys, urllib4
        urllib4.PoolManager(), urllib4.ProxyManager("http://p:1")
        later = ("urllib4.proxies", "urllib4._routing", "urllib4._proxy_auth")
        print([name for name in later if name in sys.modules])
        print(urllib4.proxies.from_environment.__name__)
        print(hasattr(urllib4, "proxy"))
        """
    )
    assert printed.splitlines() == ["[]", "from_environment", "False"]


@pytest.mark.parametrize(
    "name",
    [
        "exceptions", "connection", "connectionpool", "poolmanager", "response", "fields",
        "filepost", "util", "util.connection", "util.proxy", "util.request", "util.response",
        "util.retry", "util.ssl_", "util.ssl_match_hostname", "util.ssltransport",
        "util.timeout", "util.url", "util.util", "util.wait", "_collections",
        "_base_connection", "_request_methods", "_version",
    ],
)  # fmt: skip
def test_submodules_are_there_without_an_import_of_their_own(name: str) -> None:
    """Programs write ``urllib4.util.retry.Retry`` after ``import urllib4`` alone."""
    assert run(f"import urllib4; print(urllib4.{name}.__name__)") == f"urllib4.{name}"


def test_no_ca_is_loaded_for_plain_http(server: DummyServer) -> None:
    """Loading them takes 20 to 90 ms: only who speaks TLS pays for it."""
    printed = run(
        f"""
        import ssl, sys
        made = []
        original = ssl.SSLContext.__new__
        def counted(cls, *args, **kw):
            made.append(cls)
            return original(cls, *args, **kw)
        ssl.SSLContext.__new__ = counted
        import urllib4
        manager = urllib4.PoolManager()
        print(manager.request("GET", {server.http_url!r}).status)
        print(urllib4.request("GET", {server.http_url!r}).status)
        print(len(made), "certifi" in sys.modules)
        """
    )
    assert printed.split() == ["200", "200", "0", "False"]


def test_http_works_without_the_ssl_module_and_https_says_what_is_missing(
    server: DummyServer,
) -> None:
    printed = run(
        f"""
        import sys
        sys.modules["ssl"] = sys.modules["_ssl"] = None
        import urllib4
        print(urllib4.PoolManager().request("GET", {server.http_url!r}).status)
        for ask in (
            lambda: urllib4.PoolManager().request("GET", "https://127.0.0.1/"),
            lambda: urllib4.HTTPSConnectionPool("127.0.0.1").request("GET", "/"),
        ):
            try:
                ask()
            except ImportError as error:
                print(error)
        print(urllib4.connection.HTTPSConnection is urllib4.connection.DummyConnection)
        """
    )
    message = "Can't connect to HTTPS URL because the SSL module is not available."
    assert printed.splitlines() == ["200", message, message, "True"]


def test_filters_of_warnings_go_to_the_end_so_that_the_programs_own_win() -> None:
    printed = run(
        """
        import warnings
        before = list(warnings.filters)
        import urllib4
        assert warnings.filters[: len(before)] == before, warnings.filters
        for action, _, category, _, _ in warnings.filters[len(before) :]:
            print(action, category.__name__)
        """,
        "-W",
        "ignore",
    )
    assert sorted(printed.splitlines()) == [
        "always SecurityWarning",
        "default InsecurePlatformWarning",
    ]


def test_logging_is_silent_until_the_program_wants_it() -> None:
    """A NullHandler on our logger, nothing on the root logger, no level set."""
    printed = run(
        """
        import logging, urllib4
        logger = logging.getLogger("urllib4")
        print(*[type(handler).__name__ for handler in logger.handlers], logger.level)
        print(logging.getLogger().handlers)
        """
    )
    assert printed.splitlines() == ["NullHandler 0", "[]"]


def test_another_tls_library_than_openssl_is_warned_about() -> None:
    printed = run(
        """
        import ssl, warnings
        ssl.OPENSSL_VERSION = "LibreSSL 3.8.2"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            import urllib4
        for one in caught:
            print(one.category.__name__, one.message)
        """
    )
    assert printed.startswith("NotOpenSSLWarning urllib4 only supports OpenSSL 1.1.1+")
    assert "LibreSSL 3.8.2" in printed


def test_an_openssl_that_is_too_old_is_refused() -> None:
    printed = run(
        """
        import ssl
        ssl.OPENSSL_VERSION = "OpenSSL 1.0.2u  20 Dec 2019"
        ssl.OPENSSL_VERSION_INFO = (1, 0, 2, 21, 15)
        try:
            import urllib4
        except ImportError as error:
            print(error)
        """
    )
    assert printed.startswith("urllib4 only supports OpenSSL 1.1.1+")
    assert "1.0.2u" in printed


def test_the_name_urllib3_is_never_touched(server: DummyServer) -> None:
    """Neither taken nor imported: a program may have both."""
    printed = run(
        f"""
        import sys
        import urllib4
        urllib4.PoolManager().request("GET", {server.http_url!r})
        print([name for name in sys.modules if name.partition(".")[0] == "urllib3"])
        sys.modules["urllib3"] = mine = object()
        urllib4.PoolManager().request("GET", {server.http_url!r})
        print(sys.modules["urllib3"] is mine)
        """
    )
    assert printed.splitlines() == ["[]", "True"]


def test_the_names_of_the_front_door() -> None:
    wanted = {
        "HTTPConnectionPool", "HTTPHeaderDict", "HTTPSConnectionPool", "PoolManager",
        "ProxyManager", "HTTPResponse", "Retry", "Timeout", "add_stderr_logger",
        "connection_from_url", "disable_warnings", "encode_multipart_formdata", "make_headers",
        "proxy_from_url", "request", "BaseHTTPResponse",
    }  # fmt: skip
    assert wanted <= set(urllib4.__all__)
    assert all(hasattr(urllib4, name) for name in urllib4.__all__)
    assert next(int(part) for part in urllib4.__version__.split(".")) >= 4
    assert isinstance(urllib4._DEFAULT_POOL, urllib4.PoolManager)


def test_the_stderr_logger_can_be_added_and_removed() -> None:
    printed = run(
        """
        import logging, sys, urllib4
        sys.stderr = sys.stdout
        handler = urllib4.add_stderr_logger()
        logger = logging.getLogger("urllib4")
        print(logger.level, handler in logger.handlers)
        logging.getLogger("urllib4.connectionpool").debug("told")
        logger.removeHandler(handler)
        logging.getLogger("urllib4.connectionpool").debug("not told")
        """
    )
    lines = printed.splitlines()
    assert lines[0].endswith("DEBUG Added a stderr logging handler to logger: urllib4")
    assert lines[1] == "10 True"
    assert lines[2].endswith("DEBUG told")
    assert len(lines) == 3


def test_warnings_can_be_switched_off() -> None:
    printed = run(
        """
        import warnings, urllib4
        urllib4.disable_warnings()
        warnings.warn("x", urllib4.exceptions.InsecureRequestWarning)
        print("quiet")
        """
    )
    assert printed == "quiet"
