"""One class per program that others wrote: writes its configuration, starts it, knows its ports.

Each takes the fixtures `need` and `start` of ``conftest``; all listen on 127.0.0.1 only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from dummyserver.certs import CertFiles, Certificates
from urllib4.util import make_headers

Need = Callable[[str], str]
Start = Callable[..., Any]

#: What all proxies that want a password want.
CREDENTIALS = "user:secret"


class Way(NamedTuple):
    """How to go through a proxy.

    :ivar url: the proxy's.
    :ivar headers: what it wants to be sent.
    :ivar keeps: connections for more than one request.  A proxy that closes them without having
        said so may do it while the next request is on its way.
    """

    url: str
    headers: dict[str, str] | None = None
    keeps: bool = True


def with_credentials(url: str, credentials: str = CREDENTIALS) -> Way:
    """Return the way through the proxy at `url` with a user name and a password."""
    return Way(url, dict(make_headers(proxy_basic_auth=credentials)))


def _write(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text)
    path.chmod(0o644)
    return path


def _copy(directory: Path, name: str, files: CertFiles) -> None:
    """Put a certificate and its key where somebody who dropped root can read them."""
    for suffix, source in (("pem", files.cert), ("key", files.key)):
        shutil.copy(source, directory / f"{name}.{suffix}")
        (directory / f"{name}.{suffix}").chmod(0o644)


def _password_file(need: Need, directory: Path) -> None:
    user, _, password = CREDENTIALS.partition(":")
    command = [need("openssl"), "passwd", "-apr1", password]
    digest = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    _write(directory, "passwd", f"{user}:{digest}")


SQUID = """\
http_port 127.0.0.1:{plain}
http_port 127.0.0.1:{protected} name=protected
https_port 127.0.0.1:{tls} tls-cert={directory}/good.pem tls-key={directory}/good.key
https_port 127.0.0.1:{stranger} tls-cert={directory}/stranger.pem tls-key={directory}/stranger.key
auth_param basic program /usr/lib/squid/basic_ncsa_auth {directory}/passwd
auth_param basic realm real
auth_param basic children 1
acl wants_password myportname protected
acl knows_password proxy_auth REQUIRED
http_access deny wants_password !knows_password
http_access allow all
tls_outgoing_options cafile={directory}/ca.pem
cache deny all
cache_mem 8 MB
access_log none
cache_log stdio:{directory}/cache.log
pid_filename {directory}/squid.pid
coredump_dir {directory}
shutdown_lifetime 0 seconds
visible_hostname localhost
server_persistent_connections off
pinger_enable off
netdb_filename none
dns_nameservers 127.0.0.1
max_filedescriptors 1024
"""


class Squid:
    """Squid: plain, with a password, and over TLS with a good and with an untrusted certificate."""

    def __init__(self, need: Need, start: Start, certs: Certificates) -> None:
        program = need("squid")

        def command(*args: Any) -> tuple[str, ...]:
            *ports, directory = args
            names = ("plain", "protected", "tls", "stranger")
            _copy(directory, "good", certs.server)
            _copy(directory, "stranger", certs.untrusted)
            shutil.copy(certs.ca_file, directory / "ca.pem")
            _password_file(need, directory)
            text = SQUID.format(directory=directory, **dict(zip(names, ports, strict=True)))
            config = _write(directory, "squid.conf", text)
            if os.getuid() == 0:  # it gives up root, and writes a log nevertheless
                for path in (directory, *directory.iterdir()):
                    shutil.chown(path, "proxy")
            return program, "-N", "-n", f"urllib4{ports[0]}", "-d", "1", "-f", str(config)

        self.peer = start(command, ports=4)
        plain, protected, tls, stranger = self.peer.ports
        self.plain = Way(f"http://127.0.0.1:{plain}")
        self.protected_url = f"http://127.0.0.1:{protected}"
        self.protected = with_credentials(self.protected_url)
        self.tls = Way(f"https://127.0.0.1:{tls}")
        self.stranger = Way(f"https://127.0.0.1:{stranger}")

    def close(self) -> None:
        """Kill it, since it takes its time to end by itself, and remove its shared memory."""
        self.peer.kill()
        for path in Path("/dev/shm").glob(f"urllib4{self.peer.port}-*"):
            path.unlink()


TINYPROXY = """\
Port {port}
Listen 127.0.0.1
Timeout 10
MaxClients 20
LogLevel Warning
"""


class Tinyproxy:
    """Tinyproxy, for everybody or with a password."""

    def __init__(self, need: Need, start: Start, *, password: bool = False) -> None:
        program = need("tinyproxy")

        def command(port: int, directory: Path) -> tuple[str, ...]:
            text = TINYPROXY.format(port=port)
            if password:
                text += f"BasicAuth {CREDENTIALS.replace(':', ' ')}\n"
            return program, "-d", "-c", str(_write(directory, "tinyproxy.conf", text))

        self.peer = start(command)
        self.url = f"http://127.0.0.1:{self.peer.port}"
        way = with_credentials(self.url) if password else Way(self.url)
        self.way = way._replace(keeps=False)


APACHE_MODULES = {
    "mpm_event", "authn_core", "authn_file", "authz_core", "authz_user", "auth_basic",
    "socache_shmcb", "ssl", "proxy", "proxy_http", "proxy_connect",
}  # fmt: skip

APACHE = """\
ServerRoot /usr/lib/apache2
{modules}
ServerName localhost
PidFile {directory}/pid
ErrorLog /dev/stderr
LogLevel warn
User www-data
Group www-data
DefaultRuntimeDir {directory}
StartServers 1
ServerLimit 1
ThreadsPerChild 8
MaxRequestWorkers 8
MinSpareThreads 1
MaxSpareThreads 8
Listen 127.0.0.1:{plain}
Listen 127.0.0.1:{tls}
SSLSessionCache none
ProxyRequests On
ProxyVia On
AllowCONNECT 1-65535
<Proxy *>
 AuthType Basic
 AuthName real
 AuthUserFile {directory}/passwd
 Require valid-user
</Proxy>
<VirtualHost *:{plain}>
</VirtualHost>
<VirtualHost *:{tls}>
 SSLEngine on
 SSLCertificateFile {directory}/good.pem
 SSLCertificateKeyFile {directory}/good.key
 SSLProxyEngine on
 SSLProxyCACertificateFile {directory}/ca.pem
</VirtualHost>
"""


class Apache:
    """Apache as a proxy with a password, plain and over TLS."""

    def __init__(self, need: Need, start: Start, certs: Certificates) -> None:
        program = need("apache2")

        def command(plain: int, tls: int, directory: Path) -> tuple[str, ...]:
            _copy(directory, "good", certs.server)
            shutil.copy(certs.ca_file, directory / "ca.pem")
            _password_file(need, directory)
            modules = "\n".join(
                f"LoadModule {name}_module modules/mod_{name}.so" for name in sorted(APACHE_MODULES)
            )
            text = APACHE.format(plain=plain, tls=tls, directory=directory, modules=modules)
            config = _write(directory, "apache.conf", text)
            return program, "-f", str(config), "-DFOREGROUND"

        self.peer = start(command, ports=2)
        plain, tls = self.peer.ports
        self.plain_url = f"http://127.0.0.1:{plain}"
        self.tls_url = f"https://127.0.0.1:{tls}"
        self.plain = with_credentials(self.plain_url)
        self.tls = with_credentials(self.tls_url)


class Nghttpx:
    """nghttpx: TLS in front of a plain proxy that listens on `backend`."""

    def __init__(self, need: Need, start: Start, certs: Certificates, backend: int) -> None:
        program = need("nghttpx")

        def command(port: int, directory: Path) -> tuple[str, ...]:
            return (
                program, f"--frontend=127.0.0.1,{port}", f"--backend=127.0.0.1,{backend}",
                "--http2-proxy", "--single-process", "--conf=/dev/null",
                f"--pid-file={directory}/pid", "--errorlog-file=/dev/stderr",
                certs.server.key, certs.server.cert,
            )  # fmt: skip

        self.peer = start(command)
        self.tls = Way(f"https://127.0.0.1:{self.peer.port}")


NGINX = """\
daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr warn;
events {{ worker_connections 256; }}
http {{
  access_log off; default_type text/plain; keepalive_requests 3;
  client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2;
  fastcgi_temp_path {directory}/t3; uwsgi_temp_path {directory}/t4; scgi_temp_path {directory}/t5;
  ssl_certificate {directory}/good.pem; ssl_certificate_key {directory}/good.key;
  server {{
    listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl;
    root {directory}/www;
    gzip on; gzip_types text/plain; gzip_min_length 100; gzip_proxied any;
    location = /echo {{ return 200 "$request_method $http_host $content_length\\n"; }}
    location = /count {{ return 200 "$connection_requests\n"; }}
    location = /moved {{ return 307 /big.txt; }}
    location = /to-http {{ return 302 http://127.0.0.1:{plain}/echo; }}
    location = /to-https {{ return 302 https://127.0.0.1:{tls}/echo; }}
    location = /drop {{ return 444; }}
    location = /busy {{ add_header Retry-After 0 always; return 503; }}
    location = /slow {{ limit_rate 1k; gzip off; alias {directory}/www/big.txt; }}
    location = /trailer {{ gzip off; add_trailer X-Sum 42; alias {directory}/www/big.txt; }}
    location /dav/ {{ dav_methods PUT DELETE; create_full_put_path on; client_max_body_size 9m; }}
    location /small {{ client_max_body_size 10; proxy_pass http://127.0.0.1:{plain}/echo; }}
  }}
  server {{
    listen 127.0.0.1:{client} ssl; ssl_protocols TLSv1.2; ssl_verify_client on;
    ssl_client_certificate {directory}/ca.pem;
    location / {{ return 200 "$ssl_client_verify $ssl_protocol\\n"; }}
  }}
}}
"""


class Nginx:
    """nginx: plain, over TLS, and over TLS 1.2 for clients with a certificate.

    :ivar big: what ``/big.txt`` holds.
    """

    big = b"".join(b"%06d the quick brown fox\n" % i for i in range(5000))

    def __init__(self, need: Need, start: Start, certs: Certificates) -> None:
        program = need("nginx")

        def command(plain: int, tls: int, client: int, directory: Path) -> tuple[str, ...]:
            _copy(directory, "good", certs.server)
            shutil.copy(certs.ca_file, directory / "ca.pem")
            (directory / "www").mkdir(exist_ok=True)
            (directory / "www" / "big.txt").write_bytes(self.big)
            text = NGINX.format(plain=plain, tls=tls, client=client, directory=directory)
            config = _write(directory, "nginx.conf", text)
            return program, "-p", str(directory), "-e", "stderr", "-c", str(config)

        self.peer = start(command, ports=3)
        plain, tls, client = self.peer.ports
        self.http = f"http://127.0.0.1:{plain}"
        self.https = f"https://127.0.0.1:{tls}"
        self.for_clients = f"https://127.0.0.1:{client}"
