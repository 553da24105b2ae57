"""The promise itself: no byte that a response acknowledged is lost, whenever the process dies."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.lessons.relay import Relay
from tests.support.bodies import KIB, MIB, PART_BYTES, body_of
from tests.support.raw import RawResponse
from tests.support.tus import path_of
from tests.support.world import World

SEED = 20
PATCHES = 200
UPLOADS_AT_ONCE = 12
SPARES = 3
LENGTH_MAX = 20 * MIB
SIZES = [
    # (weight, from, to): how many bytes a PATCH brings.
    (3, 1, 100),
    (4, 100, 64 * KIB),
    (3, 64 * KIB, MIB),
    (2, MIB, 6 * MIB),
    (1, 6 * MIB, 12 * MIB),
]


@dataclass(slots=True)
class Traveller:
    """One upload: its bytes, and how many of them were acknowledged."""

    body: bytes
    deferred: bool
    acknowledged: int = 0
    path: str = field(init=False)

    @property
    def has_arrived(self) -> bool:
        """Whether every byte was acknowledged, the length with them."""
        return self.acknowledged == len(self.body) and not self.deferred


class Journey:
    """Uploads that take turns, step by step, as the dice fall; a step is one request that is
    acknowledged."""

    def __init__(self, relay: Relay, dice: random.Random) -> None:
        self._relay = relay
        self._dice = dice
        self._under_way: list[Traveller] = []
        self.patches = 0
        self.arrived: list[Traveller] = []

    def step(self) -> Traveller:
        """Create an upload, or bring one some bytes on; the one that was acknowledged last."""
        if len(self._under_way) < UPLOADS_AT_ONCE:
            traveller = self._begin()
        else:
            traveller = self._dice.choice(self._under_way)
            self._go_on(traveller)
        if traveller.has_arrived:
            self._under_way.remove(traveller)
            self.arrived.append(traveller)
        return traveller

    def end(self) -> None:
        """Bring all that are under way to their end."""
        while self._under_way:
            traveller = self._under_way.pop()
            while not traveller.has_arrived:
                self._go_on(traveller)
            self.arrived.append(traveller)

    def _begin(self) -> Traveller:
        longest = self._dice.choice([100, 64 * KIB, 2 * MIB, LENGTH_MAX])
        length = self._dice.randint(0, longest)
        traveller = Traveller(body_of(length, self._dice.randint(1, 4)), self._dice.random() < 0.4)
        self._under_way.append(traveller)
        first = traveller.body[: self._size(traveller) if self._dice.random() < 0.5 else 0]
        created = self._relay.serving.client.create(
            None if traveller.deferred else length, body=first or None
        )
        traveller.path = path_of(created)
        self._acknowledge(traveller, created, len(first))
        return traveller

    def _go_on(self, traveller: Traveller) -> None:
        at = traveller.acknowledged
        piece = traveller.body[at : at + self._size(traveller)]
        ends = at + len(piece) == len(traveller.body)
        # The length of a deferred upload may come with its last bytes, or in a PATCH of its own.
        declares = traveller.deferred and ends and (not piece or self._dice.random() < 0.5)
        headers = {"Upload-Length": f"{len(traveller.body)}"} if declares else {}
        response = self._relay.serving.client.patch(traveller.path, at, piece, headers)
        assert response.status == 204, response
        self.patches += 1
        traveller.deferred = traveller.deferred and not declares
        self._acknowledge(traveller, response, len(piece))

    def _acknowledge(self, traveller: Traveller, response: RawResponse, count: int) -> None:
        assert response.offset == traveller.acknowledged + count
        traveller.acknowledged = response.offset

    def _size(self, traveller: Traveller) -> int:
        """How many bytes come next: any number, or just as many as end a part or the upload."""
        left = len(traveller.body) - traveller.acknowledged
        to_boundary = PART_BYTES - traveller.acknowledged % PART_BYTES
        _, low, high = self._dice.choices(SIZES, [weight for weight, _, _ in SIZES])[0]
        some = self._dice.randint(low, high)
        return min(left, self._dice.choices([some, to_boundary, left], [8, 1, 1])[0])


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_acknowledged_byte_outlives_the_process_that_acknowledged_it(
    world: World, tmp_path: Path
) -> None:
    """After each of two hundred acknowledged PATCHes, and each creation between them, the process
    that answered is killed. The next one knows exactly what was acknowledged, the client goes on
    there, and in the end every object is what was sent."""
    dice = random.Random(SEED)
    log_path = tmp_path / "servers.log"
    with Relay(world.stores, log_path, SPARES) as relay:
        journey = Journey(relay, dice)
        while journey.patches < PATCHES:
            traveller = journey.step()
            relay.kill()
            head = relay.serving.client.head(traveller.path)
            # More was never sent, so more would be invented.
            assert (head.status, head.offset) == (200, traveller.acknowledged), (
                f"after kill {relay.kills} of seed {SEED}"
            )
        journey.end()
    assert "Traceback" not in log_path.read_text()
    assert len(journey.arrived) > UPLOADS_AT_ONCE
    for traveller in journey.arrived:
        assert world.client.head(traveller.path).offset == len(traveller.body)
        assert world.object_of(traveller.path) == traveller.body
