"""How other machines reach the dev server."""

from __future__ import annotations

import re

import pytest

from tusd_s3.devstack.addresses import origin_for_others
from tusd_s3.devstack.banner import banner
from tusd_s3.devstack.stores import StoreAddresses


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]"])
def test_a_loopback_address_is_for_this_machine_only(host: str) -> None:
    assert origin_for_others(host, 8080) is None


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("192.168.1.7", "http://192.168.1.7:8080"),
        ("fe80::1", "http://[fe80::1]:8080"),
        ("[fe80::1]", "http://[fe80::1]:8080"),
        ("desk.local", "http://desk.local:8080"),
    ],
)
def test_another_one_is_for_all(host: str, origin: str) -> None:
    assert origin_for_others(host, 8080) == origin


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_who_listens_everywhere_is_reached_where_the_machine_is(host: str) -> None:
    """If it is in a network at all."""
    origin = origin_for_others(host, 8080)
    assert origin is None or re.fullmatch(r"http://([0-9.]+|\[[0-9a-f:]+\]):8080", origin)


@pytest.mark.parametrize("shared", [None, "http://192.168.1.7:8080"])
def test_the_banner_says_where_a_phone_finds_the_page(shared: str | None) -> None:
    stores = StoreAddresses("http://127.0.0.1:1", "a", "s", "r", "redis://127.0.0.1:2/0")
    text = banner("http://127.0.0.1:8080", "/files/", "uploads", stores, shared)
    assert ("for other machines" in text) is (shared is not None)
    assert shared is None or f" {shared}/ " in text
