"""SOCKS servers that others wrote: microsocks, Dante and OpenSSH."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dummyserver.server import DummyServer
from urllib4 import Retry
from urllib4.contrib.socks import SOCKSProxyManager
from urllib4.exceptions import MaxRetryError, NewConnectionError

Start = Callable[..., Any]
Need = Callable[[str], str]

DANTE = """\
logoutput: stderr
internal: 127.0.0.1 port = {port}
external.protocol: ipv4 ipv6
external: lo
socksmethod: none
clientmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{
 from: 127.0.0.0/8 to: 0/0
}}
socks pass {{
 from: 127.0.0.0/8 to: 0/0
 protocol: tcp
}}
"""

SSHD = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {directory}/host
AuthorizedKeysFile {directory}/user.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
"""


@pytest.fixture(scope="module")
def microsocks(need: Need, start: Start) -> int:
    """SOCKS5 with the user name "user" and the password "secret"."""
    program = need("microsocks")
    options = ("-u", "user", "-P", "secret")
    port: int = start(lambda port, _: (program, "-i", "127.0.0.1", "-p", str(port), *options)).port
    return port


@pytest.fixture(scope="module")
def dante(need: Need, start: Start) -> int:
    """SOCKS4 and SOCKS5 without authentication."""
    program = need("danted")
    if os.getuid() != 0:
        pytest.skip("Dante starts as root only")

    def command(port: int, directory: Path) -> tuple[str, ...]:
        config = directory / "dante.conf"
        config.write_text(DANTE.format(port=port))
        return program, "-f", str(config), "-p", str(directory / "pid"), "-N", "1"

    port: int = start(command).port
    return port


@pytest.fixture(scope="module")
def ssh(need: Need, start: Start, tmp_path_factory: pytest.TempPathFactory) -> int:
    """SOCKS4, 4a and 5 as people have it: ``ssh -D``."""
    sshd, client, keygen = need("sshd"), need("ssh"), need("ssh-keygen")
    if os.getuid() != 0:
        pytest.skip("sshd lets somebody in as root only")
    os.makedirs("/run/sshd", exist_ok=True)  # sshd insists on it
    directory = tmp_path_factory.mktemp("ssh")
    for name in ("host", "user"):
        key = str(directory / name)
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)

    def server(port: int, directory: Path) -> tuple[str, ...]:
        config = directory / "sshd.conf"
        config.write_text(SSHD.format(port=port, directory=directory))
        return sshd, "-D", "-e", "-f", str(config)

    server_port = start(server, directory).port

    def tunnel(port: int, directory: Path) -> tuple[str, ...]:
        return (
            client, "-N", "-F", "/dev/null", "-D", f"127.0.0.1:{port}", "-p", str(server_port),
            "-i", str(directory / "user"), "-o", "StrictHostKeyChecking=no",
            "-o", f"UserKnownHostsFile={directory / 'known'}", "-o", "ExitOnForwardFailure=yes",
            "-o", "BatchMode=yes", f"{getpass.getuser()}@127.0.0.1",
        )  # fmt: skip

    port: int = start(tunnel, directory).port
    return port


@pytest.fixture
def manager_of(ca_file: str) -> Iterator[Callable[[str], SOCKSProxyManager]]:
    managers: list[SOCKSProxyManager] = []

    def make(url: str) -> SOCKSProxyManager:
        managers.append(SOCKSProxyManager(url, ca_certs=ca_file, timeout=20, retries=Retry(0)))
        return managers[-1]

    yield make
    for manager in managers:
        manager.clear()


PEERS = [
    ("microsocks", "socks5://user:secret@"),
    ("microsocks", "socks5h://user:secret@"),
    ("dante", "socks4://"),
    ("dante", "socks5://"),
    ("dante", "socks5h://"),
    ("ssh", "socks4://"),
    ("ssh", "socks4a://"),
    ("ssh", "socks5://"),
    ("ssh", "socks5h://"),
]


@pytest.mark.parametrize(("peer", "url"), PEERS)
def test_http_https_and_keep_alive(
    server: DummyServer,
    manager_of: Callable[[str], SOCKSProxyManager],
    request: pytest.FixtureRequest,
    peer: str,
    url: str,
) -> None:
    manager = manager_of(f"{url}127.0.0.1:{request.getfixturevalue(peer)}")
    for base in (f"http://localhost:{server.http_port}", server.https_url):
        for _ in range(2):
            assert manager.request("GET", f"{base}/echo?a=b").json()["args"] == {"a": ["b"]}
        assert manager.connection_from_url(base).num_connections == 1
    body = b"x" * 1_000_000
    assert manager.request("POST", f"{server.https_url}/echo_raw", body=body).data == body


@pytest.mark.parametrize(("peer", "url"), [one for one in PEERS if "socks5" in one[1]])
def test_an_ipv6_target(
    server: DummyServer,
    manager_of: Callable[[str], SOCKSProxyManager],
    request: pytest.FixtureRequest,
    peer: str,
    url: str,
) -> None:
    if not server.http_ipv6_url:
        pytest.skip("no IPv6 on this machine")
    manager = manager_of(f"{url}127.0.0.1:{request.getfixturevalue(peer)}")
    assert manager.request("GET", f"{server.http_ipv6_url}/").status == 200


@pytest.mark.parametrize("userinfo", ["", "user:wrong@", "other:secret@"])
def test_microsocks_refuses_other_credentials(
    manager_of: Callable[[str], SOCKSProxyManager], microsocks: int, userinfo: str
) -> None:
    manager = manager_of(f"socks5h://{userinfo}127.0.0.1:{microsocks}")
    with pytest.raises(MaxRetryError, match="uthentication") as caught:
        manager.request("GET", "http://127.0.0.1:9/")
    assert isinstance(caught.value.reason, NewConnectionError)


@pytest.mark.parametrize(("peer", "url"), PEERS)
def test_a_target_that_refuses_is_a_failed_connect(
    manager_of: Callable[[str], SOCKSProxyManager],
    request: pytest.FixtureRequest,
    peer: str,
    url: str,
) -> None:
    manager = manager_of(f"{url}127.0.0.1:{request.getfixturevalue(peer)}")
    with pytest.raises(MaxRetryError) as caught:
        manager.request("GET", "http://127.0.0.1:1/")
    assert isinstance(caught.value.reason, NewConnectionError)
    assert "SOCKS proxy 127.0.0.1" in str(caught.value.reason)
