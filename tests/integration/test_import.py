"""What ``import urllib4`` does and does not do, each in an interpreter of its own."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

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
        "filepost", "multipart", "proxies", "resolvers", "address_filters", "util",
        "util.connection", "util.proxy", "util.request", "util.response",
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


# -- what is loaded, and when ----------------------------------------------------------------------


def test_the_import_loads_few_modules() -> None:
    """Programs that are started often, command lines above all, pay for each one every time."""
    loaded = run(
        """
        import sys
        before = set(sys.modules)
        import urllib4
        print(*sorted(set(sys.modules) - before))
        """
    ).split()
    assert [name for name in loaded if name.partition(".")[0] == "urllib4"] == [
        "urllib4", "urllib4._lazy", "urllib4._version", "urllib4._warnings",
    ]  # fmt: skip
    assert "http.client" not in loaded
    assert len(loaded) <= 85


# -- names that load their module ------------------------------------------------------------------


@pytest.mark.parametrize("package", [urllib4, urllib4.util])
def test_type_checkers_see_the_names_that_are_loaded_on_first_use(package: ModuleType) -> None:
    """They are written down twice: once to be loaded, once for who reads and does not run."""
    source = ast.parse(Path(str(package.__file__)).read_text(encoding="utf-8"))
    block = next(
        node
        for node in source.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    names, modules = {}, []
    for statement in block.body:
        assert isinstance(statement, ast.ImportFrom)
        for alias in statement.names:
            if statement.module is None:
                modules.append(alias.name)
            else:
                names[alias.name] = statement.module
    assert names == package._HOMES
    assert sorted(modules) == sorted(package._MODULES)
    assert set(package.__all__) <= {*names, *vars(package)}


@pytest.mark.parametrize("package", ["urllib4", "urllib4.util"])
def test_each_name_can_be_the_first_one_that_is_used(package: str) -> None:
    """No module depends on another one having been loaded before by chance."""
    names = run(f"import {package} as p; print(*p._HOMES, *p._MODULES)").split()
    run(
        f"""
        import importlib, sys
        before = set(sys.modules)
        for name in {names!r}:
            value = getattr(importlib.import_module({package!r}), name)
            assert getattr(sys.modules[{package!r}], name) is value, name
            for loaded in set(sys.modules) - before:
                if loaded.partition(".")[0] == "urllib4":
                    del sys.modules[loaded]
        """
    )


def test_a_name_is_looked_up_only_once() -> None:
    """Afterwards it is an attribute like any other, and costs as little."""
    printed = run(
        """
        import urllib4
        print("Retry" in vars(urllib4))
        urllib4.Retry
        print("Retry" in vars(urllib4), urllib4.Retry is urllib4.util.retry.Retry)
        """
    )
    assert printed.splitlines() == ["False", "True True"]


def test_threads_that_are_first_at_the_same_time_get_the_same_objects() -> None:
    printed = run(
        """
        import sys, threading, urllib4, urllib4.util
        sys.setswitchinterval(1e-6)
        names = [*urllib4._HOMES, *urllib4._MODULES]
        barrier = threading.Barrier(8)
        found, failed = [], []
        def use(start):
            barrier.wait()
            try:
                # Each begins elsewhere, so that modules are waited for in every order.
                for name in names[start:] + names[:start]:
                    found.append((name, id(getattr(urllib4, name))))
                for name in [*urllib4.util._HOMES, *urllib4.util._MODULES]:
                    found.append(("util." + name, id(getattr(urllib4.util, name))))
            except BaseException as error:
                failed.append(error)
        threads = [threading.Thread(target=use, args=(number * 4,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(failed, len(found) == 8 * len(set(found)), len(set(found)) == len(dict(found)))
        """
    )
    assert printed == "[] True True"


def test_an_unknown_name_is_an_error_that_suggests_the_right_one() -> None:
    printed = run(
        """
        import urllib4
        for name in ("PoolManger", "proxy", "__wrapped__"):
            try:
                getattr(urllib4, name)
            except AttributeError as error:
                print(error, error.name, error.obj is urllib4)
        try:
            from urllib4 import PoolManger
        except ImportError as error:
            print(str(error).startswith("cannot import name 'PoolManger' from 'urllib4'"))
        print("PoolManager" in dir(urllib4), "Retry" in dir(urllib4.util))
        """
    )
    assert printed.splitlines() == [
        "module 'urllib4' has no attribute 'PoolManger' PoolManger True",
        "module 'urllib4' has no attribute 'proxy' proxy True",
        "module 'urllib4' has no attribute '__wrapped__' __wrapped__ True",
        "True",
        "True True",
    ]


def test_importing_everything_and_looking_at_everything() -> None:
    """``import *``, and what debuggers and documentation tools do."""
    run(
        """
        from urllib4 import *
        from urllib4.util import *
        import inspect, urllib4, urllib4.util
        assert PoolManager is urllib4.PoolManager and parse_url is urllib4.util.parse_url
        assert set(urllib4.__all__) | set(urllib4.util.__all__) <= set(globals())
        for package in (urllib4, urllib4.util):
            names = set(dir(package))
            assert {*package.__all__, *package._HOMES, *package._MODULES} <= names
            assert names <= set(dict(inspect.getmembers(package)))
        """
    )


def test_a_double_is_put_in_place_of_a_name_that_was_not_used_yet() -> None:
    printed = run(
        """
        from unittest import mock
        import urllib4
        with mock.patch("urllib4.PoolManager") as double:
            print(urllib4.PoolManager is double, urllib4.poolmanager.PoolManager is double)
        print(urllib4.PoolManager is urllib4.poolmanager.PoolManager)
        with mock.patch("urllib4.PoolManager") as double:
            print(urllib4.PoolManager is double)
        print(urllib4.PoolManager is urllib4.poolmanager.PoolManager)
        with mock.patch("urllib4.connectionpool.HTTPConnectionPool.urlopen") as double:
            print(urllib4.HTTPConnectionPool("h").urlopen() is double())
        with mock.patch.object(urllib4, "_DEFAULT_POOL") as double:
            print(urllib4.request("GET", "http://h/") is double.request())
        print(type(urllib4._DEFAULT_POOL).__name__)
        """
    )
    assert printed.splitlines() == [
        "True False", "True", "True", "True", "True", "True", "PoolManager",
    ]  # fmt: skip


def test_reloading_gives_the_names_their_objects_back() -> None:
    printed = run(
        """
        import importlib, urllib4
        urllib4.PoolManager = urllib4.Retry = None
        importlib.reload(urllib4.util.retry)
        importlib.reload(urllib4)
        print(urllib4.PoolManager is urllib4.poolmanager.PoolManager)
        print(urllib4.Retry is urllib4.util.retry.Retry)
        """
    )
    assert printed.splitlines() == ["True", "True"]


def test_names_pickle_and_types_can_be_asked_for_before_anything_was_used() -> None:
    printed = run(
        """
        import pickle, subprocess, sys, typing, urllib4
        for name in urllib4.__all__:
            value = getattr(urllib4, name)
            assert pickle.loads(pickle.dumps(value)) is value
        print(typing.get_type_hints(urllib4.request)["return"] is urllib4.BaseHTTPResponse)
        retry = pickle.dumps(urllib4.Retry(3))
        code = f"import pickle; print(pickle.loads({retry!r}).total)"
        print(subprocess.check_output([sys.executable, "-c", code], text=True).strip())
        """
    )
    assert printed.splitlines() == ["True", "3"]


@pytest.mark.parametrize("order", ["before", "after"])
def test_gevent_may_patch_before_and_after_the_import(server: DummyServer, order: str) -> None:
    patch, load = "from gevent import monkey; monkey.patch_all()", "import urllib4"
    first, second = (patch, load) if order == "before" else (load, patch)
    printed = run(
        f"""
        {first}
        {second}
        import gevent
        jobs = [
            gevent.spawn(lambda: urllib4.PoolManager().request("GET", {server.http_url!r}).status)
            for _ in range(4)
        ]
        print([job.get(timeout=20) for job in jobs])
        import urllib4.connection, gevent.socket
        print(urllib4.connection.socket.socket is gevent.socket.socket)
        """,
        "-W",
        "default",
    )
    assert printed.splitlines()[-2:] == ["[200, 200, 200, 200]", "True"]


# -- logging ---------------------------------------------------------------------------------------


def test_a_logged_warning_is_not_printed_by_the_handler_of_last_resort() -> None:
    run(
        """
        import io, logging, sys
        sys.stderr = io.StringIO()
        import urllib4
        for name in ("urllib4", "urllib4.connectionpool", "urllib4.something"):
            logging.getLogger(name).error("nobody wants to know")
        assert sys.stderr.getvalue() == "", sys.stderr.getvalue()
        """
    )


def test_configuring_logging_after_the_import_decides_about_all_our_loggers() -> None:
    """``disable_existing_loggers`` means those that exist: ours do, though nothing was used yet."""
    printed = run(
        """
        import logging.config, urllib4
        logging.config.dictConfig({"version": 1})
        urllib4.PoolManager(), urllib4.Retry
        ours = {
            name: logger
            for name, logger in logging.root.manager.loggerDict.items()
            if name.startswith("urllib4") and isinstance(logger, logging.Logger)
        }
        print(*sorted(ours))
        print(all(logger.disabled for logger in ours.values()))
        """
    )
    assert printed.splitlines() == [
        "urllib4 urllib4.connection urllib4.connectionpool urllib4.poolmanager urllib4.response "
        "urllib4.util.retry",
        "True",
    ]


def test_filters_of_warnings_stay_when_the_first_use_is_between_two_others() -> None:
    """They are set by the import: set later, ``catch_warnings`` would take them away again."""
    printed = run(
        """
        import warnings, urllib4
        before = list(warnings.filters)
        with warnings.catch_warnings():
            urllib4.PoolManager(), urllib4.exceptions.SecurityWarning
            print(warnings.filters == before)
        print([one[2].__name__ for one in warnings.filters][-2:])
        """
    )
    assert printed.splitlines() == ["True", "['SecurityWarning', 'InsecurePlatformWarning']"]


def test_the_key_of_a_pool_is_made_without_compiling_its_annotations() -> None:
    """typing does that for each field that is text, and the key has over 40 of them."""
    printed = run(
        """
        import typing
        compiled = []
        original = typing.ForwardRef.__init__
        def counted(self, argument, *args, **kw):
            compiled.append(argument)
            original(self, argument, *args, **kw)
        typing.ForwardRef.__init__ = counted
        import urllib4.connectionpool
        before = len(compiled)
        import urllib4.poolmanager
        print(compiled[before:])
        """
    )
    assert printed == "['PoolManager']"  # the bound of a type variable


def test_requests_load_none_of_our_modules_half_way(server: DummyServer) -> None:
    """Whoever has run out of file descriptors, or of rights, cannot load anything any more."""
    printed = run(
        f"""
        import sys, urllib4.poolmanager
        ours = lambda: {{name for name in sys.modules if name.startswith("urllib4")}}
        before = ours()
        http = urllib4.PoolManager()
        url = {server.http_url!r}
        print(http.request("POST", url + "/echo_raw", body=iter([b"ab", b"c"])).status)
        print(http.request("PUT", url + "/echo_raw", body=bytes(300_000)).status)
        print(http.request("GET", url + "/redirect?target=/").status)
        print(http.request("GET", url + "/encoded?coding=gzip").data)
        print(http.request("GET", url + "/echo", fields={{"a": "b"}}).status)
        print(http.request("POST", url + "/echo", fields={{"a": "b"}}).status)
        print(sorted(ours() - before))
        """
    )
    assert printed.splitlines() == ["200"] * 3 + ["b'hello, world!'", "200", "200", "[]"]
