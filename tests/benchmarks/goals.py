"""What urllib4 is to reach, as data: how many times better than urllib3 of the same run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """The numbers of one work; None where none is set.

    :ivar time: urllib3's median time by ours.
    :ivar cpu: urllib3's CPU time by ours.
    :ivar best_time: what a prototype reached at its best, or beyond; also `best_cpu`.
    :ivar seconds: longest median time, absolute.
    :ivar peak_mib: most memory beyond what the process had before, in MiB.
    :ivar instructions: at most, per request (CPython 3.11).
    :ivar modules: at most, in ``sys.modules`` after the import.
    """

    time: float | None = None
    cpu: float | None = None
    best_time: float | None = None
    best_cpu: float | None = None
    seconds: float | None = None
    peak_mib: float | None = None
    instructions: int | None = None
    modules: int | None = None


GOALS = {
    "small": Goal(2.2, 3.3, 3.0, 4.3, instructions=160_000),
    "json": Goal(2.2, 3.3, 3.0, 4.3, instructions=190_000),
    "small_tls": Goal(2.1, 2.9, 2.8, 3.8),
    "k64": Goal(2.2, 2.8, 2.8, 3.8),
    "thr8": Goal(4, 5, 8, 8),
    "thr32": Goal(4, 5, 8, 8),
    "chunks": Goal(2.2, None, 8.5),
    "pieces": Goal(4, None, 5.3, 5.8),
    "gzip": Goal(1.3, None, 2.7),
    "dl_stream": Goal(1.3, 1.5, 1.7, 1.9, peak_mib=1.5),
    "dl_preload": Goal(1.0, None, 1.1, peak_mib=101),
    "dl_stream_tls": Goal(1.0, 1.1, 1.2, 1.4),
    "up_file": Goal(1.8, 2.2, 2.3, 2.8, peak_mib=1),
    "up_multipart": Goal(3, 4, 4, 7, peak_mib=2),
    "newconn": Goal(1.8, 2.1, 2.2, 2.6),
    "newconn_tls": Goal(1.4, 1.8, 1.9, 2.3),
    "newconn_ca": Goal(10, 15, 16, 20),
    "hosts": Goal(2, 3.3, 2.6, 4.1),
    "churn": Goal(1.7, 2.1, 3, 2.7),
    "pm_lookup": Goal(5, None, 12),
    "pm_evict": Goal(1.5, None, 2.5),
    "import": Goal(None, 1.9, None, 2.1, modules=85),
    "tls_resume": Goal(None, 8),
    "dead_first": Goal(seconds=0.35),
}
