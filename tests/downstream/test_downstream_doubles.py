"""Libraries that stand in for servers in other people's tests work on urllib4.

Every function runs in an interpreter of its own in which urllib3 is urllib4 (see conftest.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def cassette(tmp_path: Path) -> str:
    """Where a recording may be written."""
    return str(tmp_path / "cassette.yaml")


@pytest.mark.needs("vcr")
def test_vcrpy_records_and_replays_a_pool_manager(http: str, cassette: str) -> None:
    """Its connections take the place of ours, and its responses know nothing of our pool."""
    import urllib3
    import vcr

    answers = []
    for record_mode in ("once", "none"):
        with vcr.use_cassette(cassette, record_mode=record_mode) as tape:
            manager = urllib3.PoolManager()
            for target in ("/echo", "/encoded?coding=gzip", "/chunked?count=3&size=4"):
                answers.append(manager.request("GET", http + target).data)
            answers.append(manager.request("POST", f"{http}/echo", body=b"sent").data)
            assert tape.play_count == (4 if record_mode == "none" else 0)
            manager.clear()

    assert answers[:4] == answers[4:]
    assert answers[1:3] == [b"hello, world!", b"123412341234"]


@pytest.mark.needs("vcr")
def test_vcrpy_records_and_replays_requests(http: str, cassette: str) -> None:
    import requests
    import vcr

    answers = []
    for record_mode in ("once", "none"):
        with vcr.use_cassette(cassette, record_mode=record_mode) as tape:
            with requests.Session() as session:
                session.get(f"{http}/set_cookie?a=b", timeout=5)
                redirected = session.get(f"{http}/redirect?target=/echo", timeout=5)
                with session.get(f"{http}/encoded", stream=True, timeout=5) as streamed:
                    content = b"".join(streamed.iter_content(5))
                answers.append((redirected.json(), content, session.cookies.get_dict()))
            assert tape.all_played is (record_mode == "none")

    assert answers[0] == answers[1]
    assert answers[0][1:] == (b"hello, world!", {"a": "b"})


@pytest.mark.needs("vcr")
def test_vcrpy_leaves_no_trace(http: str, cassette: str) -> None:
    """What it replaces in our modules is put back."""
    import urllib3
    import vcr

    def replaceable() -> list[object]:
        pools = urllib3.connectionpool
        return [
            pools.is_connection_dropped,
            pools.HTTPConnection,
            pools.HTTPConnectionPool.ConnectionCls,
            pools.HTTPSConnectionPool.ConnectionCls,
        ]

    before = replaceable()
    with vcr.use_cassette(cassette):
        assert replaceable() != before
        urllib3.PoolManager().request("GET", f"{http}/")
    assert replaceable() == before


@pytest.mark.needs("responses")
def test_responses_answers_for_requests() -> None:
    import requests
    import responses
    from urllib3.util.retry import Retry

    with responses.RequestsMock() as mock:
        mock.get("http://mock.test/json", json={"a": 1}, headers={"Set-Cookie": "c=d"})
        mock.get("http://mock.test/stream", body=b"x" * 100, stream=True)
        mock.get("http://mock.test/moved", status=302, headers={"Location": "/json"})
        mock.post("http://mock.test/fails", body=requests.ConnectionError("no"))
        mock.get("http://mock.test/busy", status=503)
        mock.get("http://mock.test/busy", status=200, body="at last")
        with requests.Session() as session:
            assert session.get("http://mock.test/json").json() == {"a": 1}
            assert session.cookies.get_dict() == {"c": "d"}
            with session.get("http://mock.test/stream", stream=True) as response:
                assert [len(piece) for piece in response.iter_content(30)] == [30, 30, 30, 10]
                assert response.raw.closed
            assert session.get("http://mock.test/moved").url == "http://mock.test/json"
            with pytest.raises(requests.ConnectionError, match="no"):
                session.post("http://mock.test/fails")
            adapter = requests.adapters.HTTPAdapter(
                max_retries=Retry(total=2, status_forcelist=[503], backoff_factor=0)
            )
            session.mount("http://", adapter)
            assert session.get("http://mock.test/busy").text == "at last"


@pytest.mark.needs("responses")
def test_responses_drives_a_retry_without_a_pool() -> None:
    import requests
    import responses
    from urllib3.util.retry import Retry

    with responses.RequestsMock() as mock, requests.Session() as session:
        busy = mock.get("http://mock.test/", status=503)
        adapter = requests.adapters.HTTPAdapter(
            max_retries=Retry(total=3, status_forcelist=[503], backoff_factor=0)
        )
        session.mount("http://", adapter)
        with pytest.raises(requests.exceptions.RetryError):
            session.get("http://mock.test/")
        assert busy.call_count == 4


@pytest.mark.needs("requests_mock")
def test_requests_mock_answers_for_requests() -> None:
    import requests
    import requests_mock

    with requests_mock.Mocker() as mock:
        mock.get("http://mock.test/a", text="hello", headers={"X": "y"}, cookies={"c": "d"})
        mock.get("http://mock.test/b", exc=requests.ConnectTimeout)
        mock.get("http://mock.test/c", content=b"x" * 100)
        response = requests.get("http://mock.test/a")
        assert (response.text, response.headers["x"], response.cookies["c"]) == ("hello", "y", "d")
        with pytest.raises(requests.ConnectTimeout):
            requests.get("http://mock.test/b")
        with requests.get("http://mock.test/c", stream=True) as streamed:
            assert streamed.raw.read(7) == b"x" * 7
            assert len(streamed.raw.read()) == 93
