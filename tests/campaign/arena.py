"""The processes of a campaign: two servers behind proxies over a real S3 and a real Redis.

They live as long as the campaign and serve one example after the other. `mend` makes everything
whole again, `wipe` removes what an example left.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import redis

from tests.campaign.worker import Worker
from tests.support.redis_pair import RedisPair
from tests.support.s3_proxy import S3Proxy
from tests.support.server import StoreSettings
from tests.support.stores import Bucket, RedisView
from tests.support.waiting import eventually
from tusd_s3.devstack.errors import DevStackError
from tusd_s3.devstack.local_redis import LocalRedis
from tusd_s3.devstack.local_s3 import LocalS3

OBJECT_PREFIX = "up/"
REDIS_PREFIX = "campaign:"
LEASE_TTL_S = 2.0
S3_TIMEOUT_S = 2.0
NETWORK_TIMEOUT_S = 1.0
OPTIONS = {
    "lease-ttl": f"{LEASE_TTL_S:.0f}s",
    "s3-timeout": f"{S3_TIMEOUT_S:.0f}s",
    "network-timeout": f"{NETWORK_TIMEOUT_S:.0f}s",
    "redis-timeout": "1s",
    "checkpoint-interval": "0.5s",
    "log-level": "info",
}
"""What takes a minute in production takes a second or two here."""

_BUCKET = "campaign"
_MENDED_WITHIN_S = 60.0
_LOST_CREATIONS_MAX = 50
"""Bodies of lost creations that are remembered from one example to the next."""


class Arena:
    """Everything that runs. Use `opened`; `mending` is set while faults are being undone, so that
    those still to come are left out."""

    def __init__(self, s3: LocalS3, pair: RedisPair, s3_proxy: S3Proxy, folder: Path) -> None:
        self.s3 = s3
        self.redis = pair
        self.s3_proxy = s3_proxy
        self.lost_creations: deque[bytes] = deque(maxlen=_LOST_CREATIONS_MAX)
        self.stores = StoreSettings(
            s3_endpoint=s3.endpoint,
            s3_access_key=s3.access_key,
            s3_secret_key=s3.secret_key,
            s3_region=s3.region,
            redis_url=pair.primary.url,
            bucket=_BUCKET,
            object_prefix=OBJECT_PREFIX,
            redis_prefix=REDIS_PREFIX,
        )
        self.bucket = Bucket.open(self.stores)
        self.workers: list[Worker] = []
        self.mending = threading.Event()
        self.troubles: list[BaseException] = []
        self._folder = folder
        self._running: list[threading.Thread] = []
        self._threads_lock = threading.Lock()
        self._strikes = 0
        self._struck = threading.Condition()
        self._redis_lock = threading.RLock()
        self._redis_is = "well"
        self._harmed = pair.primary

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, options: Mapping[str, str]) -> Iterator[Arena]:
        """Start it all below `folder`; nothing of it runs any more afterwards."""
        with LocalS3(folder / "s3") as s3:
            pair = RedisPair.start(folder)
            proxy = S3Proxy(("127.0.0.1", s3.port))
            proxy.start()
            arena = cls(s3, pair, proxy, folder)
            try:
                arena.bucket.create()
                arena._start_workers(OPTIONS | dict(options))
                yield arena
            finally:
                arena._stop()

    @property
    def redis_view(self) -> RedisView:
        """The keys of the primary, behind the servers' backs."""
        return RedisView(self.redis.primary.url, REDIS_PREFIX)

    def background(self, work: Callable[[], None], *, after_s: float = 0.0) -> None:
        """Do something beside the steps; `mend` waits for it, or leaves it out if it has not
        begun. What it raises is a failure of the example."""

        def run() -> None:
            if after_s and self.mending.wait(after_s):
                return
            try:
                work()
            except BaseException as error:  # handed over to whoever mends
                self.troubles.append(error)

        thread = threading.Thread(target=run, daemon=True)
        with self._threads_lock:  # whoever mends may only join what has been started
            thread.start()
            self._running.append(thread)

    @contextmanager
    def striking(self) -> Iterator[bool]:
        """Around a fault: whether it may strike. `mend` waits for those that are about to: one that
        strikes when all was mended would leave its harm to whoever comes next."""
        with self._struck:
            may_strike = not self.mending.is_set()
            self._strikes += 1
        try:
            yield may_strike
        finally:
            with self._struck:
                self._strikes -= 1
                self._struck.notify_all()

    def kill_redis(self) -> bool:
        """SIGKILL; whether it ran. `revive_redis` brings it back with its data."""
        return self._harm_redis("killed", LocalRedis.kill)

    def freeze_redis(self) -> bool:
        """SIGSTOP; whether it ran. `revive_redis` lets it go on."""
        return self._harm_redis("frozen", LocalRedis.pause)

    def revive_redis(self) -> None:
        """Undo `kill_redis` and `freeze_redis`."""
        with self._redis_lock:
            if self._redis_is == "killed":
                _eventually(lambda: _restarted(self._harmed), "Redis starts again")
            elif self._redis_is == "frozen":
                self._harmed.resume()
            self._redis_is = "well"

    def lose_redis(self, loss: Callable[[], None]) -> bool:
        """Run what makes a Redis that runs lose data; whether it did run."""
        with self._redis_lock:
            if self._redis_is == "well":
                loss()
            return self._redis_is == "well"

    def _harm_redis(self, state: str, harm: Callable[[LocalRedis], None]) -> bool:
        with self._redis_lock:
            if self._redis_is != "well":
                return False
            # Which one is the primary is known only now: while we waited, there may have been a
            # fail-over, and reviving the new one would leave the old one dead.
            self._harmed, self._redis_is = self.redis.primary, state
            harm(self._harmed)
            return True

    def mend(self) -> None:
        """Undo every fault; returns when both servers answer. The replica stays as it is."""
        self.mending.set()
        try:
            self.s3_proxy.rules.clear()
            self.redis.proxy.rules.clear()
            with self._struck:
                if not self._struck.wait_for(lambda: not self._strikes, _MENDED_WITHIN_S):
                    raise RuntimeError("a fault of the campaign does not end")
            self._reopen()  # what is joined next may wait for a store
            with self._threads_lock:
                threads, self._running = self._running, []
            for thread in threads:
                thread.join(_MENDED_WITHIN_S)
                if thread.is_alive():
                    raise RuntimeError("the campaign's own thread does not end")
            self._reopen()
            for worker in self.workers:
                worker.thaw()
                worker.start()
        finally:
            self.mending.clear()
        if self.troubles:
            troubles, self.troubles = self.troubles, []
            raise troubles[0]

    def wipe(self) -> None:
        """Remove everything from the stores, and bring the replica in step."""
        for key in self.bucket.keys(OBJECT_PREFIX):
            self.bucket.client.delete_object(Bucket=_BUCKET, Key=key)
        for key, multipart_id in self.bucket.multipart_uploads(OBJECT_PREFIX):
            self.bucket.abort(key, multipart_id)
        with _own_work():
            self.redis.flush()
            if self.redis.is_behind:
                self.redis.follow()
        self.s3_proxy.forget()
        self.redis.proxy.forget()

    def _reopen(self) -> None:
        for proxy in (self.s3_proxy, self.redis.proxy):
            if not proxy.is_up:
                proxy.up()
        self.revive_redis()
        _eventually(self._redis_answers, "Redis answers")

    def _redis_answers(self) -> bool:
        url = urlsplit(self.redis.primary.url)
        assert url.hostname is not None
        assert url.port is not None
        with redis.Redis(host=url.hostname, port=url.port, socket_timeout=2.0) as client:
            try:
                return bool(client.ping())
            except redis.RedisError as error:
                raise OSError(str(error)) from error

    def _start_workers(self, options: Mapping[str, str]) -> None:
        through = replace(
            self.stores, s3_endpoint=self.s3_proxy.endpoint, redis_url=self.redis.proxy.url
        )
        for number in range(2):
            worker = Worker(through, self._folder / f"server-{number}.log", options)
            self.workers.append(worker)
            worker.start()

    def _stop(self) -> None:
        self.mending.set()
        self.bucket.close()
        for worker in self.workers:
            worker.stop()
        self.s3_proxy.stop()
        self.redis.stop()


def _restarted(node: LocalRedis) -> bool:
    try:
        node.restart()
    except DevStackError as error:  # a client's connection may have its port for a while
        raise OSError(str(error)) from error
    return True


def _eventually(probe: Callable[[], bool], what: str) -> None:
    with _own_work():
        eventually(probe, within_s=30.0, what=what)


@contextmanager
def _own_work() -> Iterator[None]:
    """That the campaign cannot do its own work is no promise broken by the servers."""
    try:
        yield
    except AssertionError as error:
        raise RuntimeError(str(error)) from error
