"""The servers that are asked: nginx where it is installed, and a loop of our own.

Both have the same answers.  The loop (``dummyserver.fast``) serves what nginx cannot: chunks of a
given size, uploads that are read and counted; and everything, where there is no nginx.

``python -m tests.benchmarks.servers DIRECTORY CPU`` is the loop's process; it prints its ports as
JSON and ends with its standard input.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from dummyserver.certs import Certificates
from dummyserver.fast import Canned, FastServer
from tests.benchmarks.worker import Place
from tests.benchmarks.works import BIG, HOSTS, KIB, MIB, Work

#: Seconds that a server may take to listen.
PATIENCE = 15.0

#: The top of the repository: child processes find ``tests`` and ``dummyserver`` there.
ROOT = Path(__file__).parents[2]

#: A name whose first address never answers.
TWO_ADDRESSES = "two.example"

#: The fields of ``json`` beside the five that nginx sends on its own, 13 lines in all.
JSON_FIELDS = {
    "Cache-Control": "private, max-age=0",
    "ETag": '"5d8c72a5edda8d6a"',
    "Vary": "Accept-Encoding",
    "X-Request-Id": "7f3d2a90-1c4b-4e0e-9d53-0a6b6a3f2b11",
    "X-Frame-Options": "deny",
    "X-Content-Type-Options": "nosniff",
    "Strict-Transport-Security": "max-age=31536000",
    "X-RateLimit-Remaining": "4999",
}

_SMALL = "x" * 200
_NGINX = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off; default_type application/octet-stream; sendfile on; open_file_cache max=100;
  keepalive_requests 100000000; keepalive_timeout 1h;
  client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2;
  fastcgi_temp_path {directory}/t3; uwsgi_temp_path {directory}/t4; scgi_temp_path {directory}/t5;
  ssl_certificate {cert}; ssl_certificate_key {key};
  server {{
    {listen}
    listen 127.0.0.1:{tls_port} ssl;
    location = /small {{ return 200 "{small}"; }}
    location = /close {{ keepalive_timeout 0; return 200 "{small}"; }}
    location = /json {{ default_type application/json; {fields} return 200 '{json}'; }}
    location = /k64 {{ alias {directory}/k64; }}
    location = /big {{ alias {directory}/big; }}
    location = /gzip {{ default_type text/plain; add_header Content-Encoding gzip;
      alias {directory}/gzip; }}
  }}
}}
"""


def some_json() -> str:
    """Return exactly 1 KiB of JSON."""
    items = [{"id": n, "name": f"item {n}", "price": n * 1.25} for n in range(21)]
    text = json.dumps({"items": items, "pad": ""})
    return text[:-2] + "y" * (KIB - len(text)) + text[-2:]


def some_text() -> bytes:
    """Return 1 MiB of text that gzip brings to about a quarter."""
    draw = random.Random(6)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(2, 9))) for _ in range(1500)]
    lines: list[str] = []
    size = 0
    while size < MIB:
        lines.append(" ".join(draw.choices(words, weights=range(1, 1501), k=6)) * 2)
        size += len(lines[-1]) + 1
    return "\n".join(lines).encode()[:MIB]


def write_contents(directory: Path, big: int = BIG) -> None:
    """Write the files that are downloaded and uploaded.

    :param big: the length of the largest one, in bytes.
    """
    (directory / "k64").write_bytes(os.urandom(64 * KIB))
    (directory / "gzip").write_bytes(gzip.compress(some_text(), mtime=0))
    block = os.urandom(MIB)
    with (directory / "big").open("wb") as file:
        for at in range(0, big, MIB):
            file.write(block[: big - at])


def routes(directory: Path) -> dict[str, Canned]:
    """Return what the loop answers."""
    small = _message({}, _SMALL.encode())
    close = _message({"Connection": "close"}, _SMALL.encode())
    type_ = {"Content-Type": "application/json"}
    packed = (directory / "gzip").read_bytes()
    text = os.urandom(MIB)
    return {
        "/small": Canned(small),
        "/close": Canned(close, close=True),
        "/json": Canned(_message(type_ | JSON_FIELDS, some_json().encode())),
        "/k64": Canned(_message({}, (directory / "k64").read_bytes())),
        "/gzip": Canned(_message({"Content-Encoding": "gzip"}, packed)),
        "/chunks": Canned(_chunked(text, 100)),
        "/pieces": Canned(_chunked(text, 16 * KIB)),
        "/big": Canned(_head({}, (directory / "big").stat().st_size), directory / "big"),
    }


def _head(fields: dict[str, str], length: int) -> bytes:
    lines = {
        "Server": "loop",
        "Date": "Thu, 01 Jan 2026 00:00:00 GMT",
        "Content-Type": "application/octet-stream",
        "Content-Length": str(length),
        "Connection": "keep-alive",
    } | fields
    return _lines(lines)


def _lines(fields: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode()


def _message(fields: dict[str, str], body: bytes) -> bytes:
    return _head(fields, len(body)) + body


def _chunked(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return _lines({"Server": "loop", "Transfer-Encoding": "chunked"}) + chunks + b"0\r\n\r\n"


def find_nginx() -> str | None:
    """Return nginx' path, or None; servers live in sbin, which is on the path of root only."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def loopback_hosts(number: int) -> list[str]:
    """Return addresses of this machine; only one where 127.0.0.2 is none of them."""
    try:
        socket.create_server(("127.0.0.2", 0)).close()
    except OSError:
        return ["127.0.0.1"]
    return [f"127.0.0.{last}" for last in range(1, number + 1)]


class Servers:
    """All servers of one run; a context manager.

    :param cpu: the core they run on; None leaves that to the system.
    :param nginx: its path; None takes the loop for everything.
    :param big: bytes of what is downloaded and uploaded.
    :ivar description: what answers, for the report.
    """

    def __init__(self, cpu: int | None, nginx: str | None, big: int = BIG) -> None:
        self._cpu = cpu
        self._nginx = nginx
        self._big = big
        self._stack = ExitStack()
        self.hosts = loopback_hosts(HOSTS)
        self.description = "our own loop server"

    def __enter__(self) -> Servers:
        with ExitStack() as stack:
            certificates = stack.enter_context(Certificates())
            self.directory = certificates.directory
            self.directory.chmod(0o755)
            write_contents(self.directory, self._big)
            self.ca_file = certificates.ca_file
            self.bundle = self._write_bundle()
            self._loop = self._start_loop(stack)
            self._static = self._loop
            if self._nginx is not None:
                self._static = self._start_nginx(stack, certificates)
                self.description = _nginx_version(self._nginx)
            self._dead = stack.enter_context(_NeverAnswers(self._loop["port"]))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _write_bundle(self) -> str:
        """Put our authority into the bundle of certifi, as a company puts its own there."""
        import certifi

        path = self.directory / "bundle.pem"
        path.write_bytes(Path(certifi.where()).read_bytes() + Path(self.ca_file).read_bytes())
        return str(path)

    def place(self, work: Work) -> Place:
        """Return where a work finds what it needs.

        :raises LookupError: this machine does not have it; the text says what.
        """
        ports = self._static if work.server == "static" else self._loop
        origin = f"http://127.0.0.1:{ports['port']}"
        if work.tls:
            origin = f"https://127.0.0.1:{ports['tls_port']}"
        urls = [origin + work.path]
        addresses: dict[str, list[str]] = {}
        if work.hosts > 1:
            if len(self.hosts) < work.hosts:
                raise LookupError("127.0.0.2 and on are no addresses of this machine")
            urls = [f"http://{host}:{ports['port']}{work.path}" for host in self.hosts]
        elif work.call == "lookup":
            urls = [f"http://host{number}.example/path" for number in range(work.length)]
        elif work.dead_first:
            if not self._dead.is_there:
                raise LookupError("this machine has no ::1")
            port = self._loop["port"]
            urls = [f"http://{TWO_ADDRESSES}:{port}{work.path}"]
            addresses = {f"{TWO_ADDRESSES}:{port}": ["::1", "127.0.0.1"]}
        trusted = self.ca_file if work.trust == "one" else self.bundle
        return Place(urls, trusted, str(self.directory / "big"), addresses)

    def _start_loop(self, stack: ExitStack) -> dict[str, int]:
        cpu = "" if self._cpu is None else str(self._cpu)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.servers", str(self.directory), cpu],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        stack.callback(_end, process)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the loop server did not start; see above")
        ports: dict[str, int] = json.loads(line)
        return ports

    def _start_nginx(self, stack: ExitStack, certificates: Certificates) -> dict[str, int]:
        for last in (False, False, True):
            ports = {"port": _free_port(), "tls_port": _free_port()}
            try:
                self._try_nginx(stack, certificates, ports)
                return ports
            except RuntimeError as error:
                if last or "in use" not in str(error):
                    raise
        raise AssertionError("not reached")

    def _try_nginx(
        self, stack: ExitStack, certificates: Certificates, ports: dict[str, int]
    ) -> None:
        assert self._nginx is not None
        fields = " ".join(f"add_header {k} '{v}';" for k, v in JSON_FIELDS.items())
        configuration = _NGINX.format(
            directory=self.directory,
            cert=certificates.server.cert,
            key=certificates.server.key,
            listen=" ".join(f"listen {host}:{ports['port']};" for host in self.hosts),
            tls_port=ports["tls_port"],
            small=_SMALL,
            fields=fields,
            json=some_json(),
        )
        path = self.directory / "nginx.conf"
        path.write_text(configuration)
        log = self.directory / "nginx.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [self._nginx, "-p", str(self.directory), "-e", "stderr", "-c", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        stack.callback(_end, process)
        if self._cpu is not None:
            os.sched_setaffinity(process.pid, {self._cpu})
        _wait_for(process, ports["tls_port"], log)


class _NeverAnswers:
    """A port of ::1 that never takes a connection: its queue is full and stays full."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: list[socket.socket] = []
        self.is_there = False

    def __enter__(self) -> _NeverAnswers:
        try:
            listener = socket.socket(socket.AF_INET6)
            self._ends.append(listener)
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(("::1", self._port))
            listener.listen(0)
        except OSError:
            return self
        for _ in range(3):
            end = socket.socket(socket.AF_INET6)
            self._ends.append(end)
            end.setblocking(False)
            with suppress(BlockingIOError):
                end.connect(("::1", self._port))
        self.is_there = True
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._ends:
            end.close()


def _nginx_version(path: str) -> str:
    result = subprocess.run([path, "-v"], capture_output=True, text=True, check=False)
    return result.stderr.strip().rpartition(" ")[2].replace("/", " ")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"nginx did not start: {log.read_text(errors='replace')[-2000:]}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.01)


def _end(process: subprocess.Popen[Any]) -> None:
    """End a child of ours, by force if it does not want to."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()


def main() -> None:
    """Be the loop server until standard input ends."""
    directory, cpu = Path(sys.argv[1]), sys.argv[2]
    if cpu:
        os.sched_setaffinity(0, {int(cpu)})
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(directory / "server.pem", directory / "server.key")
    server = FastServer(routes(directory), tls=tls, hosts=loopback_hosts(HOSTS))

    def wait() -> None:
        sys.stdin.read()
        server.stop()

    threading.Thread(target=wait, daemon=True).start()
    print(json.dumps({"port": server.port, "tls_port": server.tls_port}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
