"""Addresses of Redis: what is accepted, what becomes of it, and what a refusal does not show."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import parse_url

from tusd_s3.config import ConfigError, load_settings
from tusd_s3.stores.redis.check import find_problem
from tusd_s3.stores.redis.url import Kind, parse_redis_url

SECRET = "hunter2"
OPTIONS = {"s3_bucket": "uploads"}


@pytest.mark.parametrize(
    ("url", "hosts", "options"),
    [
        ("redis://h", (("h", 6379),), {"host": "h"}),
        ("redis://h:1/", (("h", 1),), {"host": "h", "port": 1}),
        ("redis://h:1/3", (("h", 1),), {"host": "h", "port": 1, "db": 3}),
        ("redis://h/3?db=4", (("h", 6379),), {"host": "h", "db": 4}),
        ("redis://u:p%2F%40@h_1/0", (("h_1", 6379),),
         {"host": "h_1", "db": 0, "username": "u", "password": "p/@"}),
        ("redis://:p@[::1]:7", (("::1", 7),), {"host": "::1", "port": 7, "password": "p"}),
        ("redis://h?username=u&password=p%26&client_name=c", (("h", 6379),),
         {"host": "h", "username": "u", "password": "p&", "client_name": "c"}),
        ("REDISS://h?ssl_ca_certs=/a%20b.pem&ssl_check_hostname=False&ssl_cert_reqs=none",
         (("h", 6379),),
         {"host": "h", "connection_class": SSLConnection, "ssl_ca_certs": "/a b.pem",
          "ssl_check_hostname": False, "ssl_cert_reqs": "none"}),
        ("unix:///run/redis.sock?db=2&password=p", (),
         {"path": "/run/redis.sock", "connection_class": UnixDomainSocketConnection, "db": 2,
          "password": "p"}),
    ],
)  # fmt: skip
def test_the_address_of_one_server(
    url: str, hosts: tuple[tuple[str, int], ...], options: dict[str, object]
) -> None:
    address = parse_redis_url(url)
    assert (address.kind, address.hosts, address.service) == (Kind.SINGLE, hosts, "")
    assert parse_url(address.plain) == options


@pytest.mark.parametrize(
    ("url", "hosts", "service", "options"),
    [
        ("redis+sentinel://s/uploads", (("s", 26379),), "uploads", {"host": "s"}),
        ("redis+sentinel://u:p@s1:1,s2,[::1]:3/a.b-c_1/5", (("s1", 1), ("s2", 26379), ("::1", 3)),
         "a.b-c_1", {"host": "s1", "port": 1, "username": "u", "password": "p", "db": 5}),
        ("rediss+sentinel://s/uploads/?ssl_ca_certs=ca.pem", (("s", 26379),), "uploads",
         {"host": "s", "connection_class": SSLConnection, "ssl_ca_certs": "ca.pem"}),
    ],
)  # fmt: skip
def test_the_address_of_sentinels(
    url: str, hosts: tuple[tuple[str, int], ...], service: str, options: dict[str, object]
) -> None:
    address = parse_redis_url(url)
    assert (address.kind, address.hosts, address.service) == (Kind.SENTINEL, hosts, service)
    assert parse_url(address.plain) == options
    assert (address.sentinel_username, address.sentinel_password) == (None, None)


def test_sentinels_have_a_password_of_their_own() -> None:
    address = parse_redis_url(
        f"redis+sentinel://:for-redis@s/uploads?sentinel_username=u&sentinel_password={SECRET}%25"
    )
    assert (address.sentinel_username, address.sentinel_password) == ("u", f"{SECRET}%")
    assert parse_url(address.plain) == {"host": "s", "password": "for-redis"}


@pytest.mark.parametrize(
    ("url", "hosts", "options"),
    [
        ("redis+cluster://a", (("a", 6379),), {"host": "a"}),
        ("redis+cluster://u:p@a:1,b:2,c/0", (("a", 1), ("b", 2), ("c", 6379)),
         {"host": "a", "port": 1, "username": "u", "password": "p", "db": 0}),
        ("rediss+cluster://a,b?ssl_check_hostname=no", (("a", 6379), ("b", 6379)),
         {"host": "a", "connection_class": SSLConnection, "ssl_check_hostname": False}),
    ],
)  # fmt: skip
def test_the_address_of_a_cluster(
    url: str, hosts: tuple[tuple[str, int], ...], options: dict[str, object]
) -> None:
    address = parse_redis_url(url)
    assert (address.kind, address.hosts) == (Kind.CLUSTER, hosts)
    assert parse_url(address.plain) == options


@pytest.mark.parametrize(
    ("url", "clause"),
    [
        ("", "it must be redis://"),
        ("localhost:6379", "it must be redis://"),
        ("http://h", "it must be redis://"),
        ("redis+http://h", "it must be redis://"),
        ("redis-sentinel://h/uploads", "it must be redis://"),
        ("redis://", "it must be redis://"),
        ("redis://h:0", "it must be redis://"),
        ("redis://h:65536", "it must be redis://"),
        ("redis://h:x", "it must be redis://"),
        ("redis://h /0", "it must be redis://"),
        ("redis://h\n", "it must be redis://"),
        ("redis://h/uploads", "it must be redis://"),
        ("redis://h#0", "it must be redis://"),
        ("redis://a,b", "it must be redis://"),
        ("redis://::1", "it must be redis://"),
        ("redis://:pass/word@h/0", "percent-encoded"),
        ("unix://", "it must be redis://"),
        ("redis+sentinel://a,,b/uploads", "it must be redis://"),
        ("redis+sentinel://a,b", "it must name the service"),
        ("redis+sentinel://a,b/", "it must name the service"),
        ("redis+sentinel://a/up loads", "it must be redis://"),
        ("redis+sentinel://a/uploads/x", "it must name the service"),
        ("redis+cluster://a/1", "only database 0"),
        ("redis+cluster://a?db=1", "only database 0"),
        ("redis+cluster://a/uploads", "it must be redis://"),
        ("redis://h?socket_timeout=1", "an option that is none of db, username"),
        ("redis://h?sentinel_password=x", "an option that is none of"),
        ("redis+cluster://h?sentinel_password=x", "an option that is none of"),
        ("redis://h?ssl_ca_certs=ca.pem", "must begin with rediss"),
        ("unix:///s?ssl_ca_certs=ca.pem", "must begin with rediss"),
        ("redis://h?db=x", "an option db with a value that cannot be right"),
        ("rediss://h?ssl_cert_reqs=perhaps", "an option ssl_cert_reqs with a value"),
        ("rediss://h?ssl_check_hostname=2", "an option ssl_check_hostname with a value"),
    ],
)
def test_a_refusal_is_a_clause(url: str, clause: str) -> None:
    with pytest.raises(ValueError, match=r"^it ") as caught:
        parse_redis_url(url)
    assert clause in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"redis+sentinel://:{SECRET}@a,b",
        f"redis+sentinel://a,b?sentinel_password={SECRET}",
        f"redis+sentinel://a/s?sentinel_passwort={SECRET}@h",
        f"redis+cluster://u:{SECRET}@a,b/7",
        f"redis://:x?{SECRET}@h/0",
        f"redis://:x#{SECRET}@h/0",
        f"redis://:x/{SECRET}@h/0",
    ],
)
def test_a_refusal_shows_no_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"^it ") as caught:
        parse_redis_url(url)
    assert SECRET not in str(caught.value)
    if "passwort" not in url:  # a misspelt name is not known to be a secret's
        with pytest.raises(ConfigError) as refused:
            load_settings({**OPTIONS, "redis_url": url})
        assert SECRET not in str(refused.value)


def test_an_address_shows_no_password() -> None:
    url = f"redis+sentinel://u:{SECRET}@a,b/uploads?sentinel_password={SECRET}"
    assert SECRET not in repr(parse_redis_url(url))
    assert SECRET not in repr(load_settings({**OPTIONS, "redis_url": url}))


@settings(max_examples=40)
@given(text=st.text(max_size=30), scheme=st.sampled_from(["redis", "rediss+sentinel", "unix"]))
def test_what_is_accepted_can_be_opened(text: str, scheme: str) -> None:
    try:
        address = parse_redis_url(f"{scheme}://{text}")
    except ValueError:
        return
    parse_url(address.plain)


# --- what INFO tells at start-up

WELL = {
    "redis_version": "7.2.4",
    "redis_mode": "standalone",
    "role": "master",
    "cluster_enabled": 0,
    "maxmemory_policy": "noeviction",
}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, None),
        ({"redis_version": "5.0.0"}, None),
        ({"redis_version": "unknown"}, None),
        ({"redis_version": 7.2}, None),
        ({"redis_version": "4.0.14"}, "Redis is of version 4.0.14, but must be 5.0 or later."),
        ({"maxmemory_policy": "volatile-ttl"}, "maxmemory-policy volatile-ttl"),
        ({"role": "slave"}, "is a replica"),
        ({"redis_mode": "sentinel"}, "is a sentinel"),
        ({"cluster_enabled": 1}, "is a node of a cluster"),
    ],
)
def test_a_server_is_judged_by_what_it_says_of_itself(
    changed: dict[str, object], says: str | None
) -> None:
    problem = find_problem(WELL | changed, in_cluster=False)
    if says is None:
        assert problem is None
    else:
        assert problem is not None
        assert says in problem
        assert problem.endswith(".")


def test_a_server_that_hides_its_eviction_policy_is_not_trusted() -> None:
    hidden = {name: value for name, value in WELL.items() if name != "maxmemory_policy"}
    assert "maxmemory-policy unknown" in str(find_problem(hidden, in_cluster=False))
