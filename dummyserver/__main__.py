"""Run the dummy server by hand: ``python -m dummyserver``, until Ctrl-C."""

from __future__ import annotations

import threading
from contextlib import suppress

from .server import DummyServer


def main() -> None:
    """Serve, print where, and wait to be interrupted."""
    with DummyServer() as server:
        for name, value in vars(server).items():
            if name.endswith("_url") and value:
                print(f"{name.removesuffix('_url'):<12} {value}")
        print(f"{'CA file':<12} {server.ca_file}")
        print(f"{'client cert':<12} {server.certificates.client.combined}")
        print("Ctrl-C ends it.", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
