"""All orders in which two or three threads can take the steps of the pool and its idle store.

Each scenario is run line by line, in a seeded sample of the ways with one, two and three
preemptions; then in a sample bytecode by bytecode.  ``URLLIB4_TEST_EFFORT=50`` tries every way with
one preemption, line by line, and large samples of the others (see ``effort``).  The connections
have no sockets.
"""

from __future__ import annotations

import contextlib
import queue
from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.hostile import locked_store
from tests.hostile.counting import counted
from tests.hostile.effort import SEED, sample
from tests.hostile.locked_store import LockedStore
from tests.hostile.schedules import Clock, Deadlock, Failed, Lock, Plan, Scheduler
from urllib4 import _cancel, _collections, _idle, _pool, _waiting
from urllib4._cancel import CancelToken
from urllib4._collections import RecentlyUsedContainer
from urllib4._idle import IdleStore, Lease
from urllib4.connectionpool import HTTPConnectionPool
from urllib4.exceptions import ClosedPoolError, EmptyPoolError

#: Dropping responses unread is what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:.*was dropped before it was read:ResourceWarning")

WATCHED = [
    "urllib4/_idle.py",
    "urllib4/_waiting.py",
    "urllib4/_cancel.py",
    "urllib4/_collections.py",
    "urllib4/_pool.py",
    "urllib4/connectionpool.py",
]

#: Runs per scenario where there are more, by the number of preemptions: line by line, and bytecode
#: by bytecode.
LINE_SAMPLE = {1: sample(80), 2: sample(40), 3: sample(20)}
OPCODE_SAMPLE = {1: sample(16), 2: sample(16), 3: sample(8)}


@pytest.fixture(params=["lines", "opcodes"])
def scheduler(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A scheduler whose locks are those of the pool, for this test."""
    made = Scheduler(WATCHED, opcodes=request.param == "opcodes")
    locks = SimpleNamespace(
        Lock=lambda: Lock(made),
        RLock=lambda: Lock(made, reentrant=True),
        TIMEOUT_MAX=1e9,
    )
    for module in (_waiting, _cancel, _pool):
        monkeypatch.setattr(module, "threading", locks)
    monkeypatch.setattr(_collections, "RLock", locks.RLock)
    monkeypatch.setattr(_idle, "time", Clock(made))
    # A wake-up that is made up for by looking again counts as lost here.
    monkeypatch.setattr(_idle, "LOOK_AGAIN", 1e8)
    try:
        yield made
    finally:
        made.close()


class Conn:
    """A connection without a socket that knows who uses it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.used_by: object | None = None
        self.open = True
        self.is_quiescent = True
        self.sock = self

    @property
    def is_connected(self) -> bool:
        return self.open

    def close(self) -> None:
        assert self.used_by is None, "closed under its user"
        self.open = False

    def shutdown(self, how: int) -> None:
        """A cancel token wakes whoever waits on the socket."""
        assert self.used_by in (None, "token"), f"{self.used_by!r} is woken up by another's token"


class World:
    """A pool, and what is watched while threads use it."""

    def __init__(self, scheduler: Scheduler, maxsize: int, *, block: bool = True) -> None:
        self.scheduler = scheduler
        self.in_use = 0
        self.pool = HTTPConnectionPool("localhost", maxsize=maxsize, block=block)
        self.pool.ConnectionCls = lambda **options: Conn(self)
        self.store = self.pool.pool
        self.maxsize = maxsize
        self.outcomes: Counter[str] = Counter()

    def __repr__(self) -> str:
        return "world"  # the same in each run

    def take(
        self, *, cancel: CancelToken | None = None, timeout: float | None = None, user: Any = None
    ) -> tuple[Lease, Conn]:
        lease = Lease(self.pool, cancel=cancel)
        conn = lease.take(timeout)
        assert conn.used_by is None, "handed out twice"
        conn.used_by = user or object()
        conn.open = True
        self.in_use += 1
        if self.pool.block:
            assert self.in_use <= self.maxsize, "more connections than slots"
        return lease, conn

    def leave(self, conn: Conn) -> None:
        self.in_use -= 1
        conn.used_by = None

    def use(self, *, reusable: bool = True, **options: Any) -> None:
        """Take a connection, use it for a while, and give it back."""
        lease, conn = self.take(**options)
        self.scheduler.point()
        self.leave(conn)
        lease.end(reusable)
        self.outcomes["used"] += 1

    def forget(self) -> None:
        """Take a connection and drop the lease: reference counting runs the finaliser."""
        _lease, conn = self.take()
        self.scheduler.point()
        self.leave(conn)
        self.outcomes["used"] += 1

    def tolerating(self, error: type[Exception], work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except error:
                self.outcomes[error.__name__] += 1

        return run

    def all_slots_are_free(self) -> None:
        assert self.in_use == 0
        assert self.store.qsize() == self.maxsize, list(self.store.queue)
        idle = [conn for conn in self.store.queue if conn is not None]
        assert len({id(conn) for conn in idle}) == len(idle), "one connection twice"
        assert [None] * (self.maxsize - len(idle)) + idle == list(self.store.queue)


# -- scenarios: a function of the scheduler that makes a plan --------------------------------------


def users_of_one_slot(scheduler: Scheduler) -> Plan:
    world = World(scheduler, 1)
    return Plan([world.use, world.use], world.all_slots_are_free)


def three_users_of_two_slots(scheduler: Scheduler) -> Plan:
    world = World(scheduler, 2)
    return Plan([world.use, world.use, world.use], world.all_slots_are_free)


def three_users_of_one_slot(scheduler: Scheduler) -> Plan:
    world = World(scheduler, 1)
    return Plan([world.use, world.use, world.use], world.all_slots_are_free)


def users_and_one_that_fails(scheduler: Scheduler) -> Plan:
    world = World(scheduler, 1)
    return Plan([world.use, lambda: world.use(reusable=False), world.use], world.all_slots_are_free)


def users_and_one_that_forgets(scheduler: Scheduler) -> Plan:
    world = World(scheduler, 1)
    return Plan([world.use, world.forget, world.use], world.all_slots_are_free)


def users_and_retire(scheduler: Scheduler) -> Plan:
    """D7: nobody notices; no connection stays idle afterwards."""
    world = World(scheduler, 2)
    for _ in range(2):
        world.pool._put_conn(world.pool._get_conn())

    def check() -> None:
        world.all_slots_are_free()
        assert not any(conn is not None and conn.open for conn in world.store.queue)

    return Plan([world.use, world.pool.retire, world.use], check)


def impatient_users_and_retire(scheduler: Scheduler) -> Plan:
    """Who does not wait at all finds a slot in each moment of a retirement."""
    world = World(scheduler, 1)
    world.pool._put_conn(world.pool._get_conn())
    return Plan(
        [lambda: world.use(timeout=0), world.pool.retire, world.pool.retire],
        world.all_slots_are_free,
    )


def users_and_close(scheduler: Scheduler) -> Plan:
    """Each is either served or told; nobody waits for ever, and nothing stays open."""
    world = World(scheduler, 1)
    use = world.tolerating(ClosedPoolError, world.use)

    def check() -> None:
        assert world.outcomes.total() == 2
        assert not any(conn is not None and conn.open for conn in world.store.queue)

    return Plan([use, world.pool.close, use], check)


def waiting_users_and_close(scheduler: Scheduler) -> Plan:
    world = World(scheduler, 1)
    lease, conn = world.take()
    use = world.tolerating(ClosedPoolError, world.use)

    def close() -> None:
        world.pool.close()
        world.leave(conn)
        lease.end(True)

    def check() -> None:
        assert world.outcomes["ClosedPoolError"] == 2
        assert not conn.open

    return Plan([use, use, close], check)


def one_that_gives_up_waiting(scheduler: Scheduler) -> Plan:
    """The entry that it was woken up for goes to the other."""
    world = World(scheduler, 1)
    lease, conn = world.take()

    def give_back() -> None:
        world.leave(conn)
        lease.end(True)

    def check() -> None:
        world.all_slots_are_free()
        assert 1 <= world.outcomes["used"] <= 2

    impatient = world.tolerating(EmptyPoolError, lambda: world.use(timeout=3))
    return Plan([impatient, world.use, give_back], check)


def more_users_than_slots(scheduler: Scheduler) -> Plan:
    """Without `block` there is no bound on the connections, but on those kept."""
    world = World(scheduler, 1, block=False)

    def check() -> None:
        assert world.in_use == 0
        assert world.store.qsize() <= 1

    return Plan([world.use, world.use, lambda: world.use(reusable=False)], check)


def a_lease_that_is_ended_twice(scheduler: Scheduler) -> Plan:
    """close() in one thread, the end of the body in another, while somebody waits."""
    world = World(scheduler, 1)
    lease, conn = world.take()
    world.leave(conn)
    return Plan(
        [lambda: lease.end(True), lambda: lease.end(False), world.use], world.all_slots_are_free
    )


def a_token_that_is_used_late(scheduler: Scheduler) -> Plan:
    """Its waker never runs while another exchange has the connection."""
    world = World(scheduler, 1)
    token = CancelToken()
    return Plan(
        [lambda: world.use(cancel=token, user="token"), token.cancel, world.use],
        world.all_slots_are_free,
    )


def a_sleeper_and_a_token(scheduler: Scheduler) -> Plan:
    token = CancelToken()
    sleeper = _waiting.Waiters()
    used: list[bool] = []

    def sleep() -> None:
        while not token.cancelled:
            token._sleepers.wait(lambda: token.cancelled, None)
        used.append(True)

    def check() -> None:
        assert used == [True, True]

    assert sleeper is not token._sleepers
    return Plan([sleep, sleep, token.cancel], check)


def a_collection_while_two_wait(scheduler: Scheduler) -> Plan:
    """A forgotten response is collected in any thread, at any step of taking or waiting."""
    world = World(scheduler, 1)
    forgotten = [world.take()]

    def collect() -> None:
        world.leave(forgotten[0][1])
        forgotten.clear()

    # The third thread does what lets a collection happen although the others wait.
    return Plan([world.use, world.use, collect], world.all_slots_are_free)


def a_collection_inside_any_thread(scheduler: Scheduler) -> Plan:
    world = World(scheduler, 2)
    forgotten = [world.take()]

    def collect() -> None:
        world.leave(forgotten[0][1])
        forgotten.clear()

    return Plan([world.use, world.use], world.all_slots_are_free, [collect])


def collections_of_two_pools_crosswise(scheduler: Scheduler) -> Plan:
    """Each thread takes from one pool while a lease of the other is collected in it."""
    one, two = World(scheduler, 2), World(scheduler, 2)
    forgotten = {world: [world.take()] for world in (one, two)}

    def collect(world: World) -> Callable[[], None]:
        def run() -> None:
            world.leave(forgotten[world][0][1])
            forgotten[world].clear()

        return run

    def check() -> None:
        one.all_slots_are_free()
        two.all_slots_are_free()

    return Plan([one.use, two.use], check, [collect(one), collect(two)])


def a_token_and_a_pool_crosswise(scheduler: Scheduler) -> Plan:
    """cancel() holds the token's lock while a lease ends, and a lease with the token is
    collected while another thread takes from the pool."""
    world = World(scheduler, 3)
    token = CancelToken()
    forgotten = [world.take(cancel=token, user="token")], [world.take()]

    def collect(which: int) -> Callable[[], None]:
        def run() -> None:
            world.leave(forgotten[which][0][1])
            forgotten[which].clear()

        return run

    return Plan([token.cancel, world.use], world.all_slots_are_free, [collect(0), collect(1)])


def containers(scheduler: Scheduler) -> Plan:
    """What leaves the container is disposed of once; two threads get the same item."""
    gone: list[str] = []
    container: RecentlyUsedContainer[str, str] = RecentlyUsedContainer(1, gone.append)
    got: list[str] = []

    def check() -> None:
        left = [container[key] for key in sorted(container.keys())]
        assert len(left) <= 1
        assert len(gone) == len(set(gone)), "disposed of twice"
        kept = set(left) | set(gone)
        assert set(got) <= kept
        assert not set(left) & set(gone)

    return Plan(
        [
            lambda: got.append(container.setdefault("a", "first")),
            lambda: got.append(container.setdefault("a", "second")),
            container.clear,
        ],
        check,
    )


def containers_that_evict(scheduler: Scheduler) -> Plan:
    gone: list[str] = []
    container: RecentlyUsedContainer[str, str] = RecentlyUsedContainer(1, gone.append)

    def check() -> None:
        left = [container[key] for key in sorted(container.keys())]
        assert sorted(left + gone) == ["one", "three", "two"]

    return Plan(
        [
            lambda: container.__setitem__("a", "one"),
            lambda: container.__setitem__("b", "two"),
            lambda: container.__setitem__("a", "three"),
        ],
        check,
    )


SCENARIOS = [
    users_of_one_slot,
    three_users_of_two_slots,
    three_users_of_one_slot,
    users_and_one_that_fails,
    users_and_one_that_forgets,
    users_and_retire,
    impatient_users_and_retire,
    users_and_close,
    waiting_users_and_close,
    one_that_gives_up_waiting,
    more_users_than_slots,
    a_lease_that_is_ended_twice,
    a_token_that_is_used_late,
    a_sleeper_and_a_token,
    a_collection_while_two_wait,
    a_collection_inside_any_thread,
    collections_of_two_pools_crosswise,
    a_token_and_a_pool_crosswise,
    containers,
    containers_that_evict,
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_order_of_steps_breaks_a_promise(
    scheduler: Scheduler,
    scenario: Callable[[Scheduler], Plan],
    request: pytest.FixtureRequest,
) -> None:
    """Slots are conserved, at most `maxsize` are in use, no entry is handed out twice, nobody
    waits for ever."""
    with counted(request, f"schedules of {scenario.__name__}") as counts:
        samples = OPCODE_SAMPLE if scheduler.opcodes else LINE_SAMPLE
        for preemptions, limit in samples.items():
            number, all_of_them = scheduler.explore(
                lambda: scenario(scheduler), preemptions=preemptions, limit=limit, seed=SEED
            )
            assert all_of_them or number == limit
            counts[f"{preemptions} preemptions, {'all' if all_of_them else 'sample'}"] = number


# -- what the scheduler finds ----------------------------------------------------------------------


# The lines of this module are points here, and each of them is meant to be one step.
only_lines = pytest.mark.parametrize("scheduler", ["lines"], indirect=True)


def crosswise_with_locks(scheduler: Scheduler) -> Plan:
    # Few points, so that all ways can be tried: the locks, and the lines that hold them.
    scheduler.watch([locked_store.__file__])
    plan = collections_of_two_pools_crosswise(scheduler)
    for thread in plan.threads:
        world: World = thread.__self__  # type: ignore[attr-defined]
        world.store.__class__ = LockedStore
        world.store.lock = Lock(scheduler, reentrant=True)
    return plan


@only_lines
def test_a_store_with_a_lock_deadlocks_with_the_garbage_collector(scheduler: Scheduler) -> None:
    """Why ours has none: two threads hold one lock each, and finalisers want the other."""
    with pytest.raises(Failed) as failure:
        scheduler.explore(lambda: crosswise_with_locks(scheduler), preemptions=3, limit=10_000)
    assert isinstance(failure.value.__cause__, Deadlock)


class StoreThatLosesWakeUps(IdleStore):
    """Looks first and registers then."""

    def _wait(self, timeout: float | None, holder: list[Any]) -> None:
        while not self._took(holder):
            self._waiters.wait(lambda: False, 1e9)


class StoreThatLosesEntries(IdleStore):
    """Takes in two steps."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        self._takers.clear()
        if not self.queue and not block:
            raise queue.Empty
        while not self.queue:
            self._waiters.wait(lambda: bool(self.queue), 1e9)
        entry = self.queue[-1]
        with contextlib.suppress(IndexError):
            self.queue.pop()
        return entry


class StoreThatOverflows(IdleStore):
    """Makes a slot of each that comes back, twice."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self.queue.insert(0, None)


@only_lines
@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (StoreThatLosesWakeUps, "waits? for ever|all threads wait"),
        (
            StoreThatLosesEntries,
            # Whose entry is lost may also be one that somebody waits for.
            "handed out twice|more connections than slots|FullPoolError|IndexError|for ever",
        ),
        (StoreThatOverflows, "more connections than slots|AssertionError"),
    ],
)
def test_the_scheduler_finds_broken_stores(
    scheduler: Scheduler, broken: type[IdleStore], message: str
) -> None:
    """Or its silence would mean nothing."""

    scheduler.watch([*WATCHED, __file__])
    with pytest.raises(Failed, match=message):
        scheduler.explore(with_store(scheduler, broken), preemptions=2, limit=10_000)


def with_store(scheduler: Scheduler, broken: type[IdleStore]) -> Callable[[], Plan]:
    def make() -> Plan:
        plan = three_users_of_one_slot(scheduler)
        world: World = plan.threads[0].__self__  # type: ignore[attr-defined]
        world.store.__class__ = broken
        return plan

    return make


@only_lines
def test_a_failed_run_can_be_repeated(scheduler: Scheduler) -> None:
    """The decisions in the message lead there again."""
    scheduler.watch([*WATCHED, __file__])
    failures = []
    for _ in range(2):
        with pytest.raises(Failed) as failure:
            scheduler.explore(
                with_store(scheduler, StoreThatLosesEntries), preemptions=2, limit=10_000
            )
        failures.append(str(failure.value))
    assert failures[0] == failures[1]


def test_a_queue_of_the_standard_library_can_stand_in_for_the_store() -> None:
    """Without the promises about finalisers: its own lock is taken then."""
    pool = HTTPConnectionPool("localhost", maxsize=1, block=True)
    pool.pool = queue.LifoQueue(1)
    pool.pool.put(None)
    pool.ConnectionCls = lambda **options: SimpleNamespace(
        is_connected=True, is_quiescent=True, close=lambda: None
    )
    for reusable in (True, False):
        lease = Lease(pool)
        lease.take(None)
        with pytest.raises(EmptyPoolError):
            Lease(pool).take(0)
        lease.end(reusable)
        assert pool.pool.qsize() == 1
