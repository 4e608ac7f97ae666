"""requests, the program that most others use urllib3 through, does all it can do on urllib4.

Every function runs in an interpreter of its own in which urllib3 is urllib4 (see conftest.py).
"""

from __future__ import annotations

import io
import json
import socket
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.proxy import Proxy
from dummyserver.script import ScriptedServer
from dummyserver.server import DummyServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _peer(response: Any) -> int:
    return int(response.json()["peer"][1])


def test_requests_imports_without_a_warning_and_uses_our_classes() -> None:
    """It checks the version at import and copies the modules below ``requests.packages``."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        import requests

    import urllib4.poolmanager

    assert requests.packages.urllib3.poolmanager is urllib4.poolmanager  # type: ignore[attr-defined]
    assert requests.adapters.PoolManager is urllib4.PoolManager
    assert requests.exceptions.HTTPError is not urllib4.exceptions.HTTPError


def test_get_shows_status_headers_and_text(http: str) -> None:
    import requests

    response = requests.get(f"{http}/echo", params={"a": ["1", "2"], "b": "ü"}, timeout=5)

    echoed = response.json()
    assert (response.status_code, response.reason, response.ok) == (200, "OK", True)
    assert response.headers["content-TYPE"] == "application/json"
    assert response.url == f"{http}/echo?a=1&a=2&b=%C3%BC"
    assert echoed["args"] == {"a": ["1", "2"], "b": ["ü"]}
    assert dict(echoed["headers"])["User-Agent"].startswith("python-requests/")


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_methods_arrive(http: str, method: str) -> None:
    import requests

    response = requests.request(method, f"{http}/echo", timeout=5)

    assert response.status_code == 200
    if method == "HEAD":
        assert response.content == b""
    else:
        assert response.json()["method"] == method


def test_post_sends_forms_json_bytes_text_files_and_iterators(http: str) -> None:
    import requests

    def post(**body: Any) -> Any:
        return requests.post(f"{http}/echo", timeout=5, **body).json()

    assert post(data={"a": "1", "b": "x y"})["body"] == "a=1&b=x+y"
    assert json.loads(post(json={"a": [1, None]})["body"]) == {"a": [1, None]}
    assert post(data=b"\0\xff")["body"] == "\0\xff"
    assert post(data="grün".encode())["body"].encode("latin-1").decode() == "grün"
    from_file = post(data=io.BytesIO(b"f" * 100_000))
    assert from_file["body"] == "f" * 100_000
    assert dict(from_file["headers"])["Content-Length"] == "100000"
    from_iterator = post(data=iter([b"one", b"", b"two"]))
    assert from_iterator["body"] == "onetwo"
    assert dict(from_iterator["headers"])["Transfer-Encoding"] == "chunked"


def test_post_of_nothing_has_a_length(http: str) -> None:
    import requests

    echoed = requests.post(f"{http}/echo", timeout=5).json()

    assert dict(echoed["headers"])["Content-Length"] == "0"


def test_multipart_upload_is_understood(http: str) -> None:
    import requests

    answer = requests.post(
        f"{http}/upload",
        data={"field": "värde"},
        files={"file": ("näme.txt", io.BytesIO(b"content"), "text/plain")},
        timeout=5,
    ).json()

    assert answer["fields"] == {"field": ["värde"]}
    (file,) = answer["files"]
    assert (file["filename"], file["content"]) == ("näme.txt", "content")


def test_session_uses_one_connection(http: str) -> None:
    import requests

    with requests.Session() as session:
        peers = {_peer(session.get(f"{http}/keepalive", timeout=5)) for _ in range(5)}
        session.post(f"{http}/echo", data=b"x" * 50_000, timeout=5)
        session.head(f"{http}/large?size=1000", timeout=5)
        peers.add(_peer(session.get(f"{http}/keepalive", timeout=5)))

    assert len(peers) == 1


def test_redirects_are_followed_with_history_and_on_one_connection(http: str) -> None:
    import requests

    with requests.Session() as session:
        before = _peer(session.get(f"{http}/keepalive", timeout=5))
        response = session.get(f"{http}/redirect?count=3&target=/keepalive", timeout=5)

    assert [each.status_code for each in response.history] == [303, 303, 303]
    assert response.url == f"{http}/keepalive"
    assert _peer(response) == before


@pytest.mark.parametrize(
    ("status", "method", "body"), [(302, "GET", ""), (303, "GET", ""), (307, "POST", "data")]
)
def test_redirect_after_post(http: str, status: int, method: str, body: str) -> None:
    import requests

    echoed = requests.post(
        f"{http}/redirect?target=/echo&status={status}", data=b"data", timeout=5
    ).json()

    assert (echoed["method"], echoed["body"]) == (method, body)


def test_redirects_can_be_left_alone_and_are_limited(http: str) -> None:
    import requests

    plain = requests.get(f"{http}/redirect", allow_redirects=False, timeout=5)
    assert (plain.status_code, plain.headers["location"], plain.text) == (303, "/", "elsewhere")

    session = requests.Session()
    session.max_redirects = 3
    with session, pytest.raises(requests.TooManyRedirects):
        session.get(f"{http}/redirect?count=9", timeout=5)


def test_authorization_does_not_follow_to_another_origin(
    http: str, https: str, ca_file: str
) -> None:
    import requests

    answer = requests.get(
        f"{http}/redirect?target={https}/echo", auth=("user", "secret"), verify=ca_file, timeout=5
    )

    assert answer.url == f"{https}/echo"
    assert "Authorization" not in dict(answer.json()["headers"])


def test_cookies_are_kept_sent_and_survive_a_redirect(http: str) -> None:
    """requests takes them from ``_original_response.msg``, an ``http.client.HTTPMessage``."""
    import requests

    with requests.Session() as session:
        first = session.get(f"{http}/set_cookie?one=1&two=2", timeout=5)
        assert first.cookies.get_dict() == {"one": "1", "two": "2"}
        assert session.get(f"{http}/cookies", timeout=5).json() == {"one": "1", "two": "2"}
        session.get(f"{http}/redirect?target=/set_cookie%3Fthree%3D3", timeout=5)
        assert session.cookies.get_dict() == {"one": "1", "two": "2", "three": "3"}


def test_basic_auth_from_argument_and_from_url(http: str) -> None:
    import requests

    def authorization(url: str, **options: Any) -> str:
        echoed = requests.get(url, timeout=5, **options).json()
        return str(dict(echoed["headers"])["Authorization"])

    assert authorization(f"{http}/echo", auth=("user", "pass")) == "Basic dXNlcjpwYXNz"
    with_credentials = f"{http}/echo".replace("://", "://user:pass@")
    assert authorization(with_credentials) == "Basic dXNlcjpwYXNz"


@pytest.fixture
def digest_site(script: ScriptedServer) -> str:
    """Asks for digest authentication once, on a connection that stays open."""
    challenge = b'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
    (
        script.accept()
        .expect(b"GET /secret ")
        .send(
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: %b\r\nContent-Length: 2\r\n\r\nno"
            % challenge
        )
        .expect(lambda request: b'Digest username="user"' in request)
        .send(OK)
    )
    return script.url


def test_digest_auth_answers_on_the_same_connection(digest_site: str) -> None:
    """It reads ``response.content``, releases the connection and sends again by hand."""
    import requests

    auth = requests.auth.HTTPDigestAuth("user", "pass")
    with requests.Session() as session:
        response = session.get(f"{digest_site}/secret", auth=auth, timeout=5)

    assert (response.text, [each.status_code for each in response.history]) == ("ok", [401])


@pytest.mark.parametrize(
    "coding",
    [
        "gzip",
        "deflate",
        "raw_deflate",
        "gzip,deflate",
        pytest.param("br", marks=pytest.mark.needs("brotli")),
    ],
)
def test_content_is_decoded(http: str, coding: str) -> None:
    import requests

    whole = requests.get(f"{http}/encoded?coding={coding}&size=300000", timeout=5)
    with requests.get(
        f"{http}/encoded?coding={coding}&size=300000", timeout=5, stream=True
    ) as streamed:
        pieces = list(streamed.iter_content(1000))

    assert whole.content == b"".join(pieces) == (b"0123456789abcdef" * 18750)
    assert all(0 < len(piece) <= 1000 for piece in pieces)


def test_streaming_yields_pieces_lines_and_chunks(http: str) -> None:
    import requests

    with requests.Session() as session:
        with session.get(f"{http}/large?size=100000", stream=True, timeout=5) as response:
            sizes = [len(piece) for piece in response.iter_content(4096)]
        assert (sum(sizes), sizes[:24], sizes[24:]) == (100_000, [4096] * 24, [1696])

        with session.get(f"{http}/chunked?count=5&size=7", stream=True, timeout=5) as response:
            assert list(response.iter_content(None)) == [b"1234567"] * 5
        with session.get(f"{http}/chunked?count=5&size=7", stream=True, timeout=5) as response:
            assert list(response.iter_lines(3)) == [b"1234567" * 5]
        with session.get(f"{http}/large?size=90", stream=True, timeout=5) as response:
            assert response.raw.read(16, decode_content=True) == b"0123456789abcdef"
            assert response.raw.tell() == 16


def test_raw_is_a_file_that_others_can_copy_from(http: str) -> None:
    """``shutil.copyfileobj(response.raw, file)`` with ``decode_content`` set is in many scripts."""
    import shutil

    import requests

    with requests.get(f"{http}/encoded?coding=gzip&size=50000", stream=True, timeout=5) as response:
        response.raw.decode_content = True
        target = io.BytesIO()
        shutil.copyfileobj(response.raw, target)

    assert target.getvalue() == (b"0123456789abcdef" * 3125)


def test_a_response_that_was_streamed_to_its_end_frees_its_connection(http: str) -> None:
    import requests

    with requests.Session() as session:
        before = _peer(session.get(f"{http}/keepalive", timeout=5))
        with session.get(f"{http}/large?size=300000", stream=True, timeout=5) as response:
            for _ in response.iter_content(65536):
                pass
            assert _peer(session.get(f"{http}/keepalive", timeout=5)) == before


def test_timeouts_are_those_of_requests(http: str) -> None:
    import requests

    with pytest.raises(requests.ReadTimeout) as caught:
        requests.get(f"{http}/slow?seconds=5", timeout=0.05)
    assert isinstance(caught.value, requests.Timeout)
    assert requests.get(f"{http}/slow?seconds=0.05", timeout=(5, 5)).text == "at last"
    timeout = sys_modules_urllib3().Timeout(connect=5, read=0.05)
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{http}/slow?seconds=5", timeout=timeout)


def sys_modules_urllib3() -> Any:
    """Return what a program gets when it says ``import urllib3``."""
    import urllib3

    return urllib3


@pytest.fixture
def half_a_body(script: ScriptedServer) -> str:
    """Three answers: one that stalls, one that is cut, one with a broken chunk."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    script.accept().expect(b"GET /stalls ").send(head + b"half")
    script.accept().expect(b"GET /cut ").send(head + b"half").close()
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    script.accept().expect(b"GET /chunk ").send(chunked + b"zz\r\n")
    script.accept().expect(b"GET /coding ").send(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope"
    )
    script.accept().expect(b"GET /nothing ").close()
    return script.url


def test_errors_of_a_body_are_those_of_requests(half_a_body: str) -> None:
    import requests

    with pytest.raises(requests.ConnectionError, match="Read timed out"):
        requests.get(f"{half_a_body}/stalls", timeout=0.2)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(f"{half_a_body}/cut", timeout=5)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(f"{half_a_body}/chunk", timeout=5)
    with pytest.raises(requests.exceptions.ContentDecodingError):
        requests.get(f"{half_a_body}/coding", timeout=5)
    with pytest.raises(requests.ConnectionError, match="Connection aborted"):
        requests.get(f"{half_a_body}/nothing", timeout=5)


def test_refused_connections_and_bad_urls_are_errors_of_requests() -> None:
    import requests

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(requests.ConnectionError, match="Max retries exceeded") as caught:
        requests.get(f"http://127.0.0.1:{port}/", timeout=5)
    assert type(caught.value.args[0].reason).__name__ == "NewConnectionError"
    for url in ("http://[::1/", "http://a:b/", "http://.example.com", "http://*"):
        with pytest.raises(requests.exceptions.InvalidURL):
            requests.get(url, timeout=5)
    with pytest.raises(requests.exceptions.MissingSchema):
        requests.get("/path", timeout=5)
    with pytest.raises(requests.exceptions.InvalidHeader):
        requests.get(f"http://127.0.0.1:{port}/", headers={"X": "a\r\nb"}, timeout=5)


def test_connect_timeout_is_one_of_requests() -> None:
    """A listener whose queue is full answers nobody."""
    import requests

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = []
        try:
            for _ in range(4):
                waiting.append(client := socket.socket())
                client.setblocking(False)
                client.connect_ex(address)
            with pytest.raises(requests.ConnectTimeout):
                requests.get(f"http://127.0.0.1:{address[1]}/", timeout=(0.2, 5))
        finally:
            for client in waiting:
                client.close()


def test_an_adapter_with_retry_counts_sleeps_and_gives_up(http: str) -> None:
    import requests
    from urllib3.util.retry import Retry

    slept: list[Any] = []

    class Policy(Retry):
        """A policy as programs write it: an argument of its own, and every hook used."""

        def __init__(self, *args: Any, tag: str = "", **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.tag = tag

        def new(self, **kwargs: Any) -> Any:
            return super().new(tag=self.tag, **kwargs)

        def sleep(self, response: Any = None) -> None:
            slept.append((self.tag, response.status))

    policy = Policy(total=3, status_forcelist=[503], backoff_factor=1, tag="mine")
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=policy))
        response = session.get(f"{http}/successful_retry?key=requests&fail=2", timeout=5)
        assert response.json() == {"attempts": 3}
        assert [each.status for each in response.raw.retries.history] == [503, 503]
        assert slept == [("mine", 503)] * 2
        with pytest.raises(requests.exceptions.RetryError, match="too many 503 error responses"):
            session.get(f"{http}/status?status=503", timeout=5)
        assert session.post(f"{http}/status?status=503", timeout=5).status_code == 503


def test_retry_after_a_broken_connection(broken_once: str) -> None:
    import requests

    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=1))
        response = session.get(f"{broken_once}/", timeout=5)

    assert response.text == "ok"
    assert len(response.raw.retries.history) == 1


@pytest.fixture
def broken_once(script: ScriptedServer) -> str:
    """Closes the first connection without an answer."""
    script.accept().expect(b"GET / ").close()
    script.accept().expect(b"GET / ").send(OK)
    return script.url


def test_server_that_closes_after_each_answer(http: str) -> None:
    import requests

    with requests.Session() as session:
        peers = {_peer(session.get(f"{http}/keepalive?close=1", timeout=5)) for _ in range(3)}

    assert len(peers) == 3


def test_verify_takes_a_path_and_refuses_strangers(
    https: str, wrong_host: str, ca_file: str
) -> None:
    import requests

    with requests.Session() as session:
        session.verify = ca_file
        assert session.get(f"{https}/", timeout=5).text == "Dummy server!"
        with pytest.raises(requests.exceptions.SSLError, match=r"doesn't match|mismatch"):
            session.get(f"{wrong_host}/", timeout=5)
    with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        requests.get(f"{https}/", timeout=5)
    with pytest.raises(OSError, match="invalid path"):
        requests.get(f"{https}/", verify="/no/such/file", timeout=5)


def test_verify_false_warns_and_does_not_share_a_verified_connection(
    https: str, ca_file: str
) -> None:
    import requests
    from urllib3.exceptions import InsecureRequestWarning

    with requests.Session() as session:
        verified = session.get(f"{https}/keepalive", verify=ca_file, timeout=5)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trusting = session.get(f"{https}/keepalive", verify=False, timeout=5)
        assert [each.category for each in caught] == [InsecureRequestWarning]
        assert _peer(trusting) != _peer(verified)
        again = session.get(f"{https}/keepalive", verify=ca_file, timeout=5)
        assert _peer(again) == _peer(verified)

        requests.packages.urllib3.disable_warnings()  # type: ignore[attr-defined]
        with warnings.catch_warnings(record=True) as caught:
            session.get(f"{https}/keepalive", verify=False, timeout=5)
        assert len(caught) <= 1


def test_a_client_certificate_is_shown(picky: str, ca_file: str, client_cert: list[str]) -> None:
    import requests

    response = requests.get(f"{picky}/", verify=ca_file, cert=tuple(client_cert), timeout=5)
    assert response.text == "Dummy server!"
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{picky}/", verify=ca_file, timeout=5)


def test_an_adapter_may_bring_its_own_context_and_pool_options(https: str, ca_file: str) -> None:
    """The recipe of most answers on the web about TLS and requests."""
    import requests
    from urllib3.util.ssl_ import create_urllib3_context

    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> Any:
            context = create_urllib3_context(ciphers="ECDHE+AESGCM")
            context.load_verify_locations(ca_file)
            kwargs["ssl_context"] = context
            kwargs["assert_hostname"] = "localhost"
            return super().init_poolmanager(*args, **kwargs)

    with requests.Session() as session:
        session.mount("https://", Adapter(pool_connections=2, pool_maxsize=3, pool_block=True))
        url = https.replace("localhost", "127.0.0.1")
        assert session.get(f"{url}/", verify=ca_file, timeout=5).text == "Dummy server!"


def test_a_blocking_adapter_lets_threads_take_turns(http: str) -> None:
    import requests

    peers = []
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=2, pool_block=True))

        def work() -> None:
            peers.extend(_peer(session.get(f"{http}/keepalive", timeout=9)) for _ in range(4))

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(peers) == 24
    assert len(set(peers)) <= 2


@pytest.fixture
def proxy(server: DummyServer) -> Iterator[str]:
    """A proxy that wants credentials and knows two names that exist nowhere else."""
    http_address, https_address = ("127.0.0.1", server.http_port), ("127.0.0.1", server.https_port)
    names = {("plain.test", 80): http_address, ("localhost", 443): https_address}
    with Proxy(credentials="user:pass", resolve=names) as running:
        yield running.url.replace("://", "://user:pass@")


def test_a_forwarding_proxy_gets_whole_urls_on_one_connection(proxy: str) -> None:
    import requests

    with requests.Session() as session:
        session.proxies = {"http": proxy}
        echoed = session.get("http://plain.test/echo?x=1#fragment", timeout=5).json()
        session.get("http://plain.test/keepalive", timeout=5)
        manager = session.adapters["http://"].proxy_manager[proxy]
        (key,) = manager.pools.keys()
        pool = manager.pools[key]
        assert (pool.num_connections, pool.num_requests) == (1, 2)

    assert (echoed["target"], dict(echoed["headers"])["Host"]) == ("/echo?x=1", "plain.test")


def test_a_tunnel_is_kept_and_verified(proxy: str, ca_file: str) -> None:
    import requests

    with requests.Session() as session:
        session.proxies = {"https": proxy}
        with pytest.raises(requests.exceptions.SSLError):
            session.get("https://localhost/keepalive", timeout=5)
        session.verify = ca_file
        peers = {_peer(session.get("https://localhost/keepalive", timeout=5)) for _ in range(3)}
        assert len(peers) == 1
        echoed = session.get("https://localhost/echo", timeout=5).json()
        assert "Proxy-Authorization" not in dict(echoed["headers"])


def test_proxies_that_refuse_or_are_gone_are_proxy_errors(proxy: str) -> None:
    import requests

    anonymous = proxy.replace("user:pass@", "")
    with pytest.raises(requests.exceptions.ProxyError, match="407 Proxy Authentication Required"):
        requests.get("https://localhost/", proxies={"https": anonymous}, timeout=5)
    plain = requests.get("http://plain.test/", proxies={"http": anonymous}, timeout=5)
    assert plain.status_code == 407
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = f"http://127.0.0.1:{listener.getsockname()[1]}"
    for scheme in ("http", "https"):
        with pytest.raises(requests.exceptions.ProxyError, match="Unable to connect to proxy"):
            requests.get(f"{scheme}://plain.test/", proxies={scheme: gone}, timeout=5)


def test_sessions_and_responses_can_be_pickled(http: str) -> None:
    """Programs send both to their worker processes; the response keeps its content only."""
    import pickle

    import requests

    with requests.Session() as session:
        response = session.get(f"{http}/echo", timeout=5)
        copied = pickle.loads(pickle.dumps(response))
        with pickle.loads(pickle.dumps(session)) as other:
            assert other.get(f"{http}/", timeout=5).text == "Dummy server!"

    assert copied.json() == response.json()


def test_hooks_and_prepared_requests_see_the_response(http: str) -> None:
    import requests

    seen = []

    def note(response: Any, **kwargs: Any) -> None:
        seen.append((response.status_code, response.raw.version, sorted(kwargs)))

    with requests.Session() as session:
        prepared = requests.Request("PUT", f"{http}/echo", data=b"x", headers={"A": "b"}).prepare()
        assert session.send(prepared, timeout=5).json()["method"] == "PUT"
        session.get(f"{http}/", hooks={"response": note}, timeout=5)

    assert seen == [(200, 11, ["cert", "proxies", "stream", "timeout", "verify"])]


@pytest.fixture
def certificate_of_the_server(certs: Certificates) -> str:
    """Its certificate as PEM text."""
    with open(certs.server.cert, encoding="ascii") as file:
        return file.read()


def test_the_socket_below_a_response_can_be_reached(
    https: str, ca_file: str, certificate_of_the_server: str
) -> None:
    """requests-ntlm takes the peer's certificate there, others its address."""
    import ssl

    import requests

    with requests.get(f"{https}/large", stream=True, verify=ca_file, timeout=5) as response:
        sock = response.raw._fp.fp.raw._sock
        der = sock.getpeercert(True)
        assert response.raw._connection.sock is sock
        assert response.raw._original_response.isclosed() is False

    assert ssl.DER_cert_to_PEM_cert(der) == certificate_of_the_server
