"""Settings: what is accepted, what it becomes, and the one sentence when it is not."""

from __future__ import annotations

import os
import pickle
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3 import limits
from tusd_s3.config import (
    ConfigError,
    Settings,
    env_name,
    flag_name,
    group,
    load_settings,
    show,
)

REQUIRED = {"s3_bucket": "uploads", "redis_url": "redis://localhost:6379/0"}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("TUSD_S3_")]:
        monkeypatch.delenv(name)


def load(**overrides: object) -> Settings:
    return load_settings({**REQUIRED, **overrides})


def refusal(**overrides: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(**overrides)
    return str(caught.value)


# --- Sources


def test_the_required_settings_suffice() -> None:
    settings = load()
    assert settings.s3_bucket == "uploads"
    assert settings.base_path == "/files/"
    assert settings.upload_lifetime == 24 * 3600


@pytest.mark.parametrize("field", sorted(REQUIRED))
def test_a_missing_required_setting_is_named_with_its_flag_and_variable(field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({key: value for key, value in REQUIRED.items() if key != field})
    assert str(caught.value) == (
        f"{field} ({flag_name(field)}, {env_name(field)}) is not set, and has no default."
    )


def test_the_environment_counts_and_a_flag_wins_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUSD_S3_NETWORK_TIMEOUT", "90s")
    monkeypatch.setenv("TUSD_S3_PORT", "9000")
    settings = load(port="9001")
    assert settings.network_timeout == 90
    assert settings.port == 9001


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("TUSD_S3_S3_BUKET", "did you mean TUSD_S3_S3_BUCKET?"),
        ("TUSD_S3_BUCKET", "did you mean TUSD_S3_S3_BUCKET?"),
        ("tusd_s3_lease_tl", "did you mean TUSD_S3_LEASE_TTL?"),
        ("TUSD_S3_XYZZY", "--help lists them all."),
    ],
)
def test_an_unknown_variable_is_refused_with_a_hint_and_without_its_value(
    monkeypatch: pytest.MonkeyPatch, variable: str, hint: str
) -> None:
    monkeypatch.setenv(variable, "secret")
    assert refusal() == f"There is no setting {variable!r}; {hint}"


def test_what_kubernetes_sets_for_a_service_of_our_name_is_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TUSD_S3_SERVICE_HOST", "10.0.0.7")
    monkeypatch.setenv("TUSD_S3_SERVICE_PORT", "80")
    monkeypatch.setenv("TUSD_S3_SERVICE_PORT_HTTP", "80")
    monkeypatch.setenv("TUSD_S3_PORT", "tcp://10.0.0.7:80")
    monkeypatch.setenv("TUSD_S3_PORT_80_TCP", "tcp://10.0.0.7:80")
    monkeypatch.setenv("TUSD_S3_PORT_80_TCP_ADDR", "10.0.0.7")
    assert load().port == 8080
    assert load(port="81").port == 81


def test_settings_are_immutable_and_survive_pickling_for_the_workers() -> None:
    settings = load(trusted_proxies="10.0.0.0/8", max_size="1GiB")
    assert pickle.loads(pickle.dumps(settings)) == settings
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


def test_the_redis_password_is_not_in_the_repr() -> None:
    assert "hunter2" not in repr(load(redis_url="redis://:hunter2@localhost"))


GROUPS = {"S3", "Redis", "HTTP", "Uploads", "Downloads", "Clean-up", "CORS", "Logging"}


def test_every_field_is_described_and_grouped() -> None:
    for field, info in Settings.model_fields.items():
        assert (info.description or "").endswith("."), field
        assert group(field) in GROUPS


# --- Values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1500ms", 1.5), ("30s", 30), ("5m", 300), ("24h", 86400), ("0.5h", 1800),
        ("30", 30), ("2.5", 2.5), (" 30 S ", 30), (30, 30), (2.5, 2.5),
    ],
)  # fmt: skip
def test_durations(text: object, seconds: float) -> None:
    settings = load(upload_lifetime=text)
    assert settings.upload_lifetime == pytest.approx(seconds)
    assert isinstance(settings.upload_lifetime, float)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5MiB", 5 * limits.MIB), ("6mib", 6 * limits.MIB), ("100MB", 10**8),
        ("0.0625GiB", 64 * limits.MIB), ("5242880", 5 * limits.MIB), ("5242881b", 5242881),
        (8 * limits.MIB, 8 * limits.MIB),
    ],
)  # fmt: skip
def test_sizes(text: object, size: int) -> None:
    assert load(s3_part_size=text).s3_part_size == size


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "1w", "1 0s", "1e3", "nan", "inf", "0x10", "٣s", "1.s", True, None]
)
def test_what_is_not_a_duration_is_refused(text: object) -> None:
    assert "a number with a unit, such as" in refusal(upload_lifetime=text)


@given(seconds=st.integers(1, 365 * 86400))
def test_a_duration_reads_back_as_it_is_shown(seconds: int) -> None:
    assert load(upload_lifetime=show("upload_lifetime", float(seconds))).upload_lifetime == seconds


@given(size=st.integers(limits.S3_PART_SIZE_MIN_BYTES, limits.PART_SIZE_MAX_BYTES))
def test_a_size_reads_back_as_it_is_shown(size: int) -> None:
    assert load(s3_part_size=show("s3_part_size", size)).s3_part_size == size


def test_values_are_shown_as_an_operator_writes_them() -> None:
    assert show("upload_lifetime", 86400.0) == "24h"
    assert show("network_timeout", 60.0) == "60s"
    assert show("redis_timeout", 0.1) == "0.1"
    assert show("s3_part_size", 5 * limits.MIB) == "5MiB"
    assert show("cors_allow_origin", ("a", "b")) == "a,b"


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("s3_part_size", limits.S3_PART_SIZE_MIN_BYTES, limits.PART_SIZE_MAX_BYTES),
        ("s3_parts_max", 1, limits.S3_PARTS_MAX),
        ("s3_concurrent_part_uploads", 1, 64),
        ("s3_connections", 4, 4096),
        ("workers", 1, 256),
        ("port", 0, 65535),
        ("lease_ttl", 1, 60),
    ],
)
def test_a_bound_is_itself_allowed_and_the_value_past_it_is_not(
    field: str, least: int, most: int
) -> None:
    assert getattr(load(**{field: least}), field) == least
    assert getattr(load(**{field: most}), field) == most
    assert "at least" in refusal(**{field: least - 1})
    assert "at most" in refusal(**{field: most + 1})


@pytest.mark.parametrize(
    ("text", "path"),
    [("files", "/files/"), ("/a/b", "/a/b/"), ("/", "/"), ("", "/"), ("/v1.0/up_load/", None)],
)
def test_the_base_path_begins_and_ends_with_a_slash(text: str, path: str | None) -> None:
    assert load(base_path=text).base_path == (path or text)


@pytest.mark.parametrize("text", ["//", "/a//b", "/../x", "/a/./b", "/a?b", "/a#b", "/a%2e", "/ä"])
def test_a_base_path_that_would_not_match_is_refused(text: str) -> None:
    assert "a plain path" in refusal(base_path=text)


def test_trusted_proxies_are_loopback_unless_told() -> None:
    assert load().trusted_proxies == (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("", ()),
        ("10.0.0.0/8, fd00::/8,192.168.1.7", ("10.0.0.0/8", "fd00::/8", "192.168.1.7/32")),
    ],
)
def test_trusted_proxies_are_a_list_and_an_empty_one_trusts_nobody(
    monkeypatch: pytest.MonkeyPatch, text: str, networks: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TUSD_S3_TRUSTED_PROXIES", text)
    assert load().trusted_proxies == tuple(ip_network(it) for it in networks)


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("*", ("*",)),
        ("", ()),
        ("https://Example.com, http://localhost:3000", ("https://example.com", "http://localhost:3000")),
        ("https://example.com:443,http://example.com:80", ("https://example.com", "http://example.com")),
        ("http://example.com:443", ("http://example.com:443",)),
        ("capacitor://localhost,http://[::1]:80", ("capacitor://localhost", "http://[::1]")),
    ],
)  # fmt: skip
def test_origins_become_what_browsers_send(text: str, origins: tuple[str, ...]) -> None:
    assert load(cors_allow_origin=text).cors_allow_origin == origins


@pytest.mark.parametrize(
    "text",
    ["example.com", "https://example.com/", "https://*.example.com", "null", "https://", "a://b c"],
)
def test_an_origin_that_no_browser_sends_is_refused(text: str) -> None:
    assert "exact origins" in refusal(cors_allow_origin=text)


def test_credentials_need_listed_origins() -> None:
    assert "it must list origins" in refusal(cors_allow_credentials="true")
    listed = load(cors_allow_credentials="true", cors_allow_origin="https://example.com")
    assert listed.cors_allow_credentials


@pytest.mark.parametrize(
    ("max_size", "parts_max", "expected"),
    [
        ("10MiB", 10000, 10 * limits.MIB),
        ("", 10000, 10000 * limits.PART_SIZE_MAX_BYTES),
        (None, 1000, 1000 * limits.PART_SIZE_MAX_BYTES),
        ("1TiB", 1, limits.PART_SIZE_MAX_BYTES),
    ],
)
def test_an_upload_is_bounded_by_its_setting_and_by_what_parts_hold(
    max_size: str | None, parts_max: int, expected: int
) -> None:
    assert load(max_size=max_size, s3_parts_max=parts_max).max_upload_bytes == expected


def test_the_lease_is_waited_for_a_second_longer_than_it_lasts() -> None:
    assert load().lease_wait == 5
    assert load(lease_ttl="10s").lease_wait == 11
    assert load(lease_wait="2s").lease_wait == 2


@pytest.mark.parametrize(
    ("text", "forced"), [(None, None), ("", None), ("true", True), ("off", False)]
)
def test_path_style_may_be_left_to_the_endpoint(text: str | None, forced: bool | None) -> None:
    assert load(s3_force_path_style=text).s3_force_path_style is forced


# --- Refusals


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("s3_bucket", "a\nb", "it has characters that cannot be right"),
        ("s3_bucket", "xy", "it must have at least 3 characters"),
        ("s3_endpoint", "minio:9000", "it must be http:// or https://"),
        ("s3_endpoint", "http://h:99999", "it is not a URL"),
        ("s3_endpoint", "http://h/?x", "it must be http:// or https://"),
        ("s3_object_key", "{filename}", "needs {id}"),
        ("s3_object_prefix", "/x", '"/" in front'),
        ("redis_url", "http://localhost", "it must be redis://"),
        ("redis_url", "redis://", "it must be redis://"),
        ("redis_url", "unix://", "it must be redis://"),
        ("redis_key_prefix", "a{b}", "braces"),
        ("public_url", "example.com", "it must look like https://"),
        ("trusted_proxies", "10.0.0.1/8", "without host bits"),
        ("trusted_proxies", "proxy.local", "IP addresses or networks"),
        ("cors_allow_origin", "*,https://example.com", "* or a list of origins"),
        ("cors_allow_headers", "X-A B", "it must list header names"),
        ("cors_expose_headers", "X-A:", "it must list header names"),
        ("max_size", "0", "it must be at least 1"),
        ("s3_equal_parts", "perhaps", "it must be true or false"),
        ("workers", "two", "it must be a whole number"),
        ("workers", "1.5", "it must be a whole number"),
        ("host", "", "it must have at least 1 characters"),
        ("log_level", "loud", "it must be 'debug', 'info', 'warning' or 'error'"),
        ("s3_connections", "1", "parts would wait"),
    ],
)
def test_a_refusal_is_one_sentence_with_flag_and_variable(
    field: str, value: str, reason: str
) -> None:
    message = refusal(**{field: value})
    assert f"{field} ({flag_name(field)}, {env_name(field)})" in message
    assert reason in message
    assert message.endswith(".")
    assert "\n" not in message


def test_a_refusal_quotes_the_value_as_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is '1KiB': it must be at least 5MiB." in refusal(s3_part_size="1KiB")
    monkeypatch.setenv("TUSD_S3_LEASE_TTL", "90s")
    assert "is '90s': it must be at most 60s." in refusal()


def test_a_refusal_does_not_quote_without_end() -> None:
    assert len(refusal(s3_region="é" * 100_000)) < 400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("redis_url", "http://user:hunter2@localhost"),
        ("redis_url", "user:hunter2@localhost"),
        ("redis_url", "redis://:hunt@er/hunter2@host:x"),
        ("redis_url", "http://localhost?password=hunter2&db=1"),
        ("s3_endpoint", "http://key:hunter2@minio:9000"),
        ("public_url", "https://user:hunter2@example.com"),
    ],
)
def test_a_refusal_masks_passwords(field: str, value: str) -> None:
    message = refusal(**{field: value})
    assert "hunter2" not in message
    assert "***" in message


def test_an_unknown_override_is_refused() -> None:
    assert refusal(no_such=1) == "There is no setting 'no_such'."
