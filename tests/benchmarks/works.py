"""What is measured: one `Work` per line of the table.

A work says which call of a client is made (see `clients.py`), where to and how often at once; the
numbers it is to reach stand in `goals.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB

#: Bytes of what is downloaded and uploaded.
BIG = 100 * MIB

#: How many hosts (loopback addresses) the works on many hosts go to in turn.
HOSTS = 100

#: Origins of the works that only look pools up.
ORIGINS = 1000

#: All clients that speak HTTP, in the order of the table.
EVERYBODY = ("urllib4", "urllib3", "http.client", "requests", "httpx", "pycurl", "raw")

#: Clients without ``raw``, for what a bare socket loop does not do.
LIBRARIES = EVERYBODY[:-1]


@dataclass(frozen=True)
class Work:
    """One thing that clients do.

    :ivar call: the method of a client: get, stream, upload, multipart, lookup, load or use.
    :ivar length: what the call has to return, or it did not do its work.
    :ivar server: ``static`` is nginx where it is installed, ``loop`` always our own server, for
        what nginx cannot send; empty for works without a server.
    :ivar threads: how many of them share one client.
    :ivar hosts: how many hosts are asked in turn.
    :ivar pools: how many origins the client may keep connections to; None is its default.
    :ivar trust: ``one`` authority, or that one within the ``bundle`` of certifi.
    :ivar batch: how much one call does; times are divided by it.
    :ivar fresh: each slice has a new client, and this many calls.
    :ivar dead_first: the first address of the host never answers.
    :ivar most_rounds: enough of them for something that waits rather than works; 0 is any number.
    :ivar base: the client that all others are compared with.
    """

    name: str
    about: str
    call: str = "get"
    path: str = "/small"
    length: int = 200
    server: str = "static"
    tls: bool = False
    threads: int = 1
    hosts: int = 1
    pools: int | None = None
    trust: str = "one"
    batch: int = 1
    fresh: int = 0
    dead_first: bool = False
    most_rounds: int = 0
    gzip: bool = False
    clients: tuple[str, ...] = EVERYBODY
    base: str = "urllib3"


_BOTH = ("urllib4", "urllib3")

WORKS = {
    work.name: work
    for work in (
        Work("small", "GET of 200 bytes on a kept connection"),
        Work("json", "GET of 1 KiB of JSON with 13 header lines", path="/json", length=KIB),
        Work("small_tls", "small over a kept TLS connection", tls=True),
        Work("k64", "GET of 64 KiB", path="/k64", length=64 * KIB),
        Work("thr8", "small from 8 threads that share one client", threads=8),
        Work("thr32", "small from 32 threads that share one client", threads=32),
        Work(
            "chunks",
            "GET of 1 MiB in chunks of 100 bytes",
            path="/chunks",
            length=MIB,
            server="loop",
            clients=LIBRARIES,
        ),
        Work(
            "pieces",
            "GET of 1 MiB in chunks of 16 KiB",
            path="/pieces",
            length=MIB,
            server="loop",
            clients=LIBRARIES,
        ),
        Work(
            "gzip",
            "GET of 1 MiB that travels as a quarter of it",
            path="/gzip",
            length=MIB,
            gzip=True,
        ),
        Work(
            "dl_stream",
            "download of 100 MiB in pieces of 64 KiB",
            call="stream",
            path="/big",
            length=BIG,
        ),
        Work("dl_preload", "download of 100 MiB into memory", path="/big", length=BIG),
        Work(
            "dl_stream_tls",
            "download of 100 MiB in pieces, over TLS",
            call="stream",
            path="/big",
            length=BIG,
            tls=True,
        ),
        Work(
            "up_file",
            "POST of 100 MiB from a file",
            call="upload",
            path="/upload",
            length=BIG,
            server="loop",
        ),
        Work(
            "up_multipart",
            "multipart form with a file of 100 MiB",
            call="multipart",
            path="/upload",
            length=BIG,
            server="loop",
            clients=("urllib4", "urllib3", "requests", "httpx", "pycurl"),
        ),
        Work("newconn", "small, a new connection each", path="/close"),
        Work("newconn_tls", "small, a new TLS connection each", path="/close", tls=True),
        Work(
            "newconn_ca",
            "the same, trusting certifi's bundle",
            path="/close",
            tls=True,
            trust="bundle",
        ),
        Work("hosts", "small, 100 hosts in turn", hosts=HOSTS, pools=HOSTS),
        Work(
            "churn",
            "small, 100 hosts in turn, connections to 10 kept",
            hosts=HOSTS,
            pools=10,
            clients=LIBRARIES,
        ),
        Work(
            "pm_lookup",
            "connection_from_url, 1000 pools, no request",
            call="lookup",
            server="",
            length=ORIGINS,
            pools=ORIGINS,
            batch=ORIGINS,
            clients=_BOTH,
        ),
        Work(
            "pm_evict",
            "connection_from_url, each one evicts a pool",
            call="lookup",
            server="",
            length=ORIGINS,
            pools=10,
            batch=ORIGINS,
            clients=_BOTH,
        ),
        Work(
            "import",
            "a fresh interpreter that imports it",
            call="load",
            server="",
            length=0,
            clients=LIBRARIES,
        ),
        Work(
            "import_use",
            "the same, a manager is made and all public names are used",
            call="use",
            server="",
            length=0,
            clients=_BOTH,
        ),
        Work(
            "tls_resume",
            "50 TLS connections to one origin, one after the other, trusting certifi's bundle",
            path="/close",
            tls=True,
            trust="bundle",
            fresh=50,
        ),
        Work(
            "dead_first",
            "the first of two addresses never answers (connect timeout: 1 s)",
            fresh=1,
            dead_first=True,
            most_rounds=1,
            clients=LIBRARIES,
        ),
        Work(
            "reaper",
            "small, with and without an idle_timeout",
            clients=("urllib4", "urllib4-idle"),
            base="urllib4",
        ),
    )
}
