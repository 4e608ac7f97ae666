"""botocore's HTTP session, which overrides the steps of a connection, works on urllib4.

Every function runs in an interpreter of its own in which urllib3 is urllib4 (see conftest.py).
"""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from dummyserver.proxy import Proxy
from dummyserver.script import ScriptedServer
from dummyserver.server import DummyServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def _request(method: str, url: str, body: Any = None, **headers: bytes) -> Any:
    from botocore.awsrequest import AWSRequest

    request = AWSRequest(method=method, url=url, data=body, headers=headers)
    return request.prepare()


def _client(service: str, endpoint: str, **config: Any) -> Any:
    """Return a client that talks to `endpoint` instead of AWS."""
    import botocore.session
    from botocore.config import Config

    session = botocore.session.get_session()
    return session.create_client(
        service,
        region_name="eu-north-1",
        endpoint_url=endpoint,
        aws_access_key_id="id",
        aws_secret_access_key="secret",
        config=Config(
            s3={"addressing_style": "path"},
            retries={"max_attempts": 2, "mode": "standard"},
            connect_timeout=5,
            read_timeout=5,
            **config,
        ),
    )


def test_session_sends_and_receives_on_one_connection(http: str) -> None:
    import json

    from botocore.httpsession import URLLib3Session

    session = URLLib3Session()
    try:
        answers = [
            session.send(_request(method, f"{http}/echo", body))
            for method, body in [("GET", None), ("POST", b"x" * 100_000), ("PUT", io.BytesIO(b"f"))]
        ]
        session.send(_request("HEAD", f"{http}/echo"))
        answers.append(session.send(_request("DELETE", f"{http}/echo")))
    finally:
        session.close()

    echoed = [json.loads(answer.content) for answer in answers]
    assert [each["method"] for each in echoed] == ["GET", "POST", "PUT", "DELETE"]
    assert [each["body"] for each in echoed] == ["", "x" * 100_000, "f", ""]
    assert len({each["peer"][1] for each in echoed}) == 1
    assert answers[0].headers["content-type"] == "application/json"


def test_session_verifies_or_does_not(https: str, wrong_host: str, ca_file: str) -> None:
    import warnings

    from botocore.exceptions import SSLError
    from botocore.httpsession import URLLib3Session

    assert URLLib3Session(verify=ca_file).send(_request("GET", https)).status_code == 200
    with pytest.raises(SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        URLLib3Session().send(_request("GET", https))
    with pytest.raises(SSLError):
        URLLib3Session(verify=ca_file).send(_request("GET", wrong_host))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert URLLib3Session(verify=False).send(_request("GET", wrong_host)).status_code == 200


def test_session_shows_a_client_certificate(
    picky: str, ca_file: str, client_cert: list[str]
) -> None:
    from botocore.httpsession import URLLib3Session

    session = URLLib3Session(verify=ca_file, client_cert=tuple(client_cert))

    assert session.send(_request("GET", picky)).content == b"Dummy server!"


@pytest.fixture
def proxy(server: DummyServer) -> Iterator[str]:
    """A proxy with credentials that leads to the dummyserver."""
    names = {("localhost", 443): ("127.0.0.1", server.https_port)}
    with Proxy(credentials="user:pass", resolve=names) as running:
        yield running.url.replace("://", "://user:pass@")


def test_session_uses_proxies(http: str, proxy: str, ca_file: str) -> None:
    from botocore.exceptions import ProxyConnectionError
    from botocore.httpsession import URLLib3Session

    session = URLLib3Session(verify=ca_file, proxies={"http": proxy, "https": proxy})
    try:
        assert session.send(_request("GET", f"{http}/")).content == b"Dummy server!"
        assert session.send(_request("GET", "https://localhost/")).content == b"Dummy server!"
    finally:
        session.close()
    refused = URLLib3Session(verify=ca_file, proxies={"https": proxy.replace("user", "nobody")})
    with pytest.raises(ProxyConnectionError) as caught:
        refused.send(_request("GET", "https://localhost/"))
    assert "407 Proxy Authentication Required" in str(caught.value.kwargs["error"])


@pytest.fixture
def hostile(script: ScriptedServer) -> str:
    """Closes without an answer, stalls, and cuts a body short."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    script.accept().expect(b"GET /closes ").close()
    script.accept().expect(b"GET /stalls ")
    script.accept().expect(b"GET /cut ").send(chunked + b"9\r\nhalf").close()
    return script.url


def test_errors_are_those_of_botocore(hostile: str) -> None:
    from botocore import exceptions
    from botocore.httpsession import URLLib3Session

    session = URLLib3Session(timeout=(5, 0.2))
    with pytest.raises(exceptions.ConnectionClosedError):
        session.send(_request("GET", f"{hostile}/closes"))
    with pytest.raises(exceptions.ReadTimeoutError):
        session.send(_request("GET", f"{hostile}/stalls"))
    with pytest.raises(exceptions.ConnectionClosedError):
        session.send(_request("GET", f"{hostile}/cut"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    with pytest.raises(exceptions.EndpointConnectionError):
        session.send(_request("GET", gone))
    session.close()


def test_a_streamed_response_is_read_piece_by_piece(http: str) -> None:
    from botocore.httpsession import URLLib3Session

    session = URLLib3Session()
    request = _request("GET", f"{http}/large?size=100000")
    request.stream_output = True
    response = session.send(request)

    pieces = list(response.raw.stream(4096))

    assert [len(piece) for piece in pieces] == [4096] * 24 + [1696]
    session.close()


# -- Expect: 100-continue ------------------------------------------------------------------------


def _head_only(request: bytes) -> bool:
    return b"\r\nExpect: 100-continue\r\n" in request and request.endswith(b"\r\n\r\n")


@pytest.fixture
def continuing(script: ScriptedServer) -> str:
    """Sends 100 before it reads a body, and answers twice on one connection."""
    exchange = script.accept()
    for size in (10, 70_000):
        exchange.expect(_head_only, body=False).send(CONTINUE)
        exchange.read_exactly(size).send(OK)
    exchange.expect(b"GET / ").send(OK)
    return script.url


def test_a_body_waits_for_100_continue(continuing: str) -> None:
    """The head leaves through ``_send_output``, the body through ``send`` after the 100."""
    import botocore.awsrequest
    from botocore.httpsession import URLLib3Session

    class Witness(botocore.awsrequest.AWSHTTPConnection):
        steps: list[str] = []

        def send(self, data: Any) -> None:
            self.steps.append("head" if data.startswith((b"PUT", b"GET")) else "body")
            super().send(data)

        def _handle_expect_response(self, message_body: Any) -> None:
            super()._handle_expect_response(message_body)
            self.steps.append("100" if not self._response_received else "final")

    botocore.awsrequest.AWSHTTPConnectionPool.ConnectionCls = Witness
    session = URLLib3Session()
    for body in (b"first body", io.BytesIO(b"s" * 70_000)):
        request = _request("PUT", f"{continuing}/", body, Expect=b"100-continue")
        assert session.send(request).content == b"ok"
    assert session.send(_request("GET", f"{continuing}/")).content == b"ok"
    session.close()

    first, second = Witness.steps[:3], Witness.steps[3:]
    assert first == ["head", "100", "body"]
    assert second == ["head", "100", *["body"] * (len(second) - 3), "head"]
    assert len(second) > 3


@pytest.fixture
def refusing(script: ScriptedServer) -> str:
    """Answers 307 and 403 instead of 100, and never reads a body."""
    script.accept().expect(_head_only, body=False).send(
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /x\r\nContent-Length: 4\r\n\r\nover"
    ).expect(b"GET / ").send(OK)
    return script.url


def test_a_final_answer_instead_of_100_keeps_the_body_back(refusing: str) -> None:
    """The status line is read from ``sock.makefile``; ``response_class`` gets it as a tuple."""
    from botocore.httpsession import URLLib3Session

    session = URLLib3Session()
    response = session.send(_request("PUT", f"{refusing}/", b"body", Expect=b"100-continue"))
    assert (response.status_code, response.content) == (307, b"over")
    assert session.send(_request("GET", f"{refusing}/")).content == b"ok"
    session.close()


@pytest.fixture
def silent(script: ScriptedServer) -> str:
    """Knows nothing of 100-continue and waits for the body."""
    script.accept().expect(lambda request: request.endswith(b"\r\n\r\nbody")).send(OK)
    return script.url


def test_a_body_goes_out_after_a_second_without_100(silent: str) -> None:
    from botocore.httpsession import URLLib3Session

    session = URLLib3Session()
    response = session.send(_request("PUT", f"{silent}/", b"body", Expect=b"100-continue"))

    assert response.content == b"ok"
    session.close()


# -- clients of services -------------------------------------------------------------------------


@pytest.fixture
def bucket(script: ScriptedServer) -> str:
    """A bucket for one object: put, get, get in pieces, fail once, not found."""
    object_head = (
        b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\n'
    )
    fault = b"<Error><Code>%b</Code><Message>m</Message></Error>"
    slow_down, missing = fault % b"SlowDown", fault % b"NoSuchKey"
    exchange = script.accept()
    exchange.expect(_head_only, body=False).send(CONTINUE)
    exchange.read_exactly(len(b"hello, world"))
    exchange.send(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n')
    exchange.expect(b"GET /bucket/key HTTP/1.1\r\n").send(object_head + b"hello, world")
    exchange.expect(b"GET /bucket/key HTTP/1.1\r\n").send(object_head + b"hello, world")
    exchange.expect(b"GET /bucket/busy HTTP/1.1\r\n").send(
        b"HTTP/1.1 503 Slow Down\r\nContent-Length: %d\r\n\r\n%b" % (len(slow_down), slow_down)
    )
    exchange.expect(b"GET /bucket/busy HTTP/1.1\r\n").send(object_head + b"hello, again")
    exchange.expect(b"GET /bucket/none HTTP/1.1\r\n").send(
        b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%b" % (len(missing), missing)
    )
    exchange.expect(b"HEAD /bucket/key HTTP/1.1\r\n").send(object_head)
    exchange.expect(b"DELETE /bucket/key HTTP/1.1\r\n").send(b"HTTP/1.1 204 No Content\r\n\r\n")
    return script.url


def test_s3_client_puts_gets_retries_and_reports(bucket: str) -> None:
    """Everything passes on one connection, the retry after 503 too."""
    client = _client("s3", bucket)
    key = {"Bucket": "bucket", "Key": "key"}

    assert client.put_object(Body=b"hello, world", **key)["ETag"] == '"e"'
    assert client.get_object(**key)["Body"].read() == b"hello, world"
    body = client.get_object(**key)["Body"]
    assert list(body.iter_chunks(5)) == [b"hello", b", wor", b"ld"]
    busy = client.get_object(Bucket="bucket", Key="busy")
    assert busy["ResponseMetadata"]["RetryAttempts"] == 1
    assert list(busy["Body"].iter_lines()) == [b"hello, again"]
    with pytest.raises(client.exceptions.NoSuchKey):
        client.get_object(Bucket="bucket", Key="none")
    assert client.head_object(**key)["ContentLength"] == 12
    client.delete_object(**key)
    client.close()


@pytest.fixture
def table(script: ScriptedServer) -> str:
    """A table with one item; the first attempt is cut off."""
    script.accept().expect(b"POST / ").close()
    answer = b'{"Item": {"id": {"S": "1"}}}'
    script.accept().expect(
        lambda request: (
            b"\r\nX-Amz-Target: DynamoDB_20120810.GetItem\r\n" in request
            and b"\r\nAuthorization: AWS4-HMAC-SHA256 Credential=id/" in request
            and request.endswith(b'"Key": {"id": {"S": "1"}}}')
        )
    ).send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
    return script.url


def test_dynamodb_client_survives_a_connection_that_is_cut(table: str) -> None:
    client = _client("dynamodb", table)

    answer = client.get_item(TableName="t", Key={"id": {"S": "1"}})

    assert answer["Item"] == {"id": {"S": "1"}}
    assert answer["ResponseMetadata"]["RetryAttempts"] == 1
    client.close()


@pytest.mark.needs("boto3")
def test_boto3_resource_uploads_and_downloads_files(http: str, tmp_path: str) -> None:
    """Its transfer manager reads with threads; dummyserver stands in for a bucket."""
    from pathlib import Path

    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        region_name="eu-north-1",
        endpoint_url=http,
        aws_access_key_id="id",
        aws_secret_access_key="secret",
        config=Config(s3={"addressing_style": "path"}),
    )
    source = Path(tmp_path) / "source"
    source.write_bytes(b"x" * 300_000)
    target = Path(tmp_path) / "target"

    client.meta.events.register("before-sign.s3.*", _lead_to_endpoint)
    client.upload_file(str(source), "bucket", "put")
    client.download_file("bucket", "get", str(target))

    assert target.stat().st_size == 1 << 20


def _lead_to_endpoint(request: Any, **kwargs: Any) -> None:
    """Let an upload be answered without content, and a download by so many bytes."""
    url = request.url.partition("?")[0]
    request.url = url.replace("/bucket/put", "/status?status=204").replace("/bucket/get", "/large")
