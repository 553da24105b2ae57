"""A short run; `python -m tests.fuzz` makes long ones."""

from __future__ import annotations

import os

import pytest

from tests.conftest import StartServer
from tests.fuzz.addresses import ADDRESS_TARGETS
from tests.fuzz.parsers import TARGETS, Target
from tests.fuzz.rounds import fuzz
from tests.fuzz.runner import OPTIONS, Report, fuzz_socket, say
from tests.support.server import ServerProcess
from tests.support.world import World

PARSER_INPUTS = int(os.environ.get("FUZZ_PARSER_INPUTS", "3500"))
SOCKET_INPUTS = int(os.environ.get("FUZZ_SOCKET_INPUTS", "1500"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
ALL_TARGETS = TARGETS + ADDRESS_TARGETS


@pytest.fixture(scope="module")
def server(start_module_server: StartServer) -> ServerProcess:
    """The server under test, set as in a long run."""
    return start_module_server(**OPTIONS)


@pytest.mark.parametrize("target", ALL_TARGETS, ids=lambda target: target.name)
def test_every_parser_gives_a_true_value_or_a_documented_error(target: Target) -> None:
    say(f"seed {SEED}")
    examples = PARSER_INPUTS // len(ALL_TARGETS)
    assert fuzz(target.inputs, target.check, seed=SEED, examples=examples) >= examples


@pytest.mark.timeout(120 + SOCKET_INPUTS / 5)
def test_whatever_comes_over_a_socket_is_answered_and_changes_only_what_it_may(
    world: World,
) -> None:
    say(f"seed {SEED}")
    report = Report()
    fuzz_socket(report, world, inputs=SOCKET_INPUTS, seed=SEED)
    say(report.summary())
    assert not report.failures, "\n".join(report.failures)
    # Were everything refused at the door, nothing behind it would have been tried.
    assert {200, 201, 204, 400, 404, 405, 412, 431} <= set(report.answered)
