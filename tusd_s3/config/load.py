"""From flags and environment to `Settings`, or to one sentence that says what is wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tusd_s3 import limits
from tusd_s3.config.settings import ENV_PREFIX, Settings, metavar

_VALUE_SHOWN_CHARS: Final = 120

# What Kubernetes puts, after the prefix, into every container beside a Service named `tusd-s3`.
_SERVICE_LINK = re.compile(r"(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_SERVICE_PORT = re.compile(r"(tcp|udp|sctp)://\S+")


class ConfigError(Exception):
    """A setting is missing, wrong or unknown; the message is one sentence for the operator."""


def flag_name(field: str) -> str:
    """`network_timeout` as a flag: `--network-timeout`."""
    return "--" + field.replace("_", "-")


def env_name(field: str) -> str:
    """`network_timeout` as a variable: `TUSD_S3_NETWORK_TIMEOUT`."""
    return ENV_PREFIX + field.upper()


def load_settings(overrides: Mapping[str, object]) -> Settings:
    """Settings from `overrides` (by field name), the environment and the defaults, in this order.

    Raises ConfigError for the first thing that is wrong. Passwords are masked in it.
    """
    _refuse_unknown_variables(os.environ)
    values = dict(overrides)
    if _SERVICE_PORT.fullmatch(os.environ.get("TUSD_S3_PORT", "")):
        # Set by Kubernetes, not by the operator (see _SERVICE_LINK).
        values.setdefault("port", Settings.model_fields["port"].default)
    try:
        return Settings(**values)  # type: ignore[arg-type]  # checked by the model
    except ValidationError as error:
        # `from None`: the cause holds the values, passwords included.
        raise ConfigError(_sentence(error.errors()[0], values)) from None


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    """A misspelt variable would otherwise leave its setting at the default, in silence."""
    known = [field.upper() for field in Settings.model_fields]
    for variable in sorted(environ):
        prefix, name = variable.upper()[: len(ENV_PREFIX)], variable.upper()[len(ENV_PREFIX) :]
        if prefix != ENV_PREFIX or name in known or _SERVICE_LINK.fullmatch(name):
            continue
        close = get_close_matches(name, known, n=1)
        hint = f"; did you mean {ENV_PREFIX}{close[0]}?" if close else "; --help lists them all."
        raise ConfigError(f"There is no setting {variable!r}{hint}")


def _sentence(error: ErrorDetails, values: Mapping[str, object]) -> str:
    if not error["loc"]:
        return _with_flags(_clause(error, "")) + "."
    field = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return f"There is no setting {field!r}."
    name = f"{field} ({flag_name(field)}, {env_name(field)})"
    if error["type"] == "missing":
        return f"{name} is not set, and has no default."
    # As it was written: pydantic's own `input` is already parsed, 1KiB is 1024 there.
    written = values.get(field, os.environ.get(env_name(field), error["input"]))
    return f"{name} is {_masked(written)}: {_clause(error, field)}."


def _with_flags(clause: str) -> str:
    """Every setting named in `clause`, with its flag and variable."""
    words = re.split(r"(\w+)", clause)
    known = Settings.model_fields
    return "".join(f"{w} ({flag_name(w)}, {env_name(w)})" if w in known else w for w in words)


def _clause(error: ErrorDetails, field: str) -> str:
    """What pydantic found, as the end of a sentence."""
    context = error.get("ctx", {})
    if error["type"] == "value_error":
        clause = str(context["error"]).rstrip(".")
        return f"it {clause}" if clause.startswith("must ") else clause
    template = _CLAUSES.get(error["type"])
    if template is None:
        return error["msg"].replace("Input should", "it must")
    return template.format_map({key: show(field, value) for key, value in context.items()})


_CLAUSES: Final = {
    "greater_than": "it must be more than {gt}",
    "greater_than_equal": "it must be at least {ge}",
    "less_than_equal": "it must be at most {le}",
    "string_too_short": "it must have at least {min_length} characters",
    "string_too_long": "it must have at most {max_length} characters",
    "string_pattern_mismatch": "it has characters that cannot be right",
    "literal_error": "it must be {expected}",
    "int_parsing": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "bool_parsing": "it must be true or false",
}


def _masked(value: object) -> str:
    """`value` for a message: on one line, of bounded length, without a password."""
    text = str(value)
    text = re.sub(r"^([\w+]+://)?.*@", r"\1***@", text, flags=re.DOTALL)
    text = re.sub(r"(?i)(password=)[^&]*", r"\1***", text)
    return repr(text if len(text) <= _VALUE_SHOWN_CHARS else text[:_VALUE_SHOWN_CHARS] + "...")


def show(field: str, value: object) -> str:
    """`value` of a setting as an operator would write it: `5MiB`, `24h`, `a,b`."""
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    if isinstance(value, int | float) and field in Settings.model_fields:
        for unit, factor, least in _UNITS.get(metavar(field), ()):
            if value >= least and value % factor == 0:
                return f"{value // factor:.0f}{unit}"
    return f"{value:g}" if isinstance(value, float) else str(value)


# Unit, its factor, and the least value that is shown in it: 24h and 60s rather than 1d and 1m.
_UNITS: Final = {
    "SIZE": (
        ("GiB", limits.GIB, limits.GIB),
        ("MiB", limits.MIB, limits.MIB),
        ("KiB", limits.KIB, limits.KIB),
    ),
    "DURATION": (
        ("d", 86400, 2 * 86400),
        ("h", 3600, 3600),
        ("m", 60, 120),
        ("s", 1, 1),
    ),
}
