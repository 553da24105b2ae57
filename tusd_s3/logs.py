"""Log lines to stderr, for people or for machines; a client cannot forge one.

Names, metadata and header values come from clients, and some end up in messages. In both formats
a record is one line whatever it holds, except that a traceback in the text format follows on
lines of its own, each marked as one.

Libraries log from `warning` on, whatever the level: the S3 SDK's debug lines hold signatures.
"""

from __future__ import annotations

import json
import logging
import logging.config
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

_OUR_LOGGERS: Final = ("tusd_s3", "uvicorn", "uvicorn.error", "uvicorn.access")

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What could end a line, drive a terminal or reorder what is read (C0, C1, separators, bidi)."""

# Attributes that every record has, or that a formatter adds: the others came as `extra`.
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message", "asctime", "taskName",
    "color_message",  # uvicorn repeats its message with terminal colours in it
}  # fmt: skip


def configure_logging(level: str, format: str) -> None:  # noqa: A002 - the setting's own name
    """Send what is logged from `level` on to stderr, as `text` or `json`. Replaces what was set."""
    logging.config.dictConfig(logging_config(level, format))


def logging_config(level: str, format: str) -> dict[str, Any]:  # noqa: A002 - as above
    """The same as a dictConfig, for uvicorn to apply again in every worker process."""
    ours = level.upper()
    formatter = JsonFormatter if format == "json" else TextFormatter
    through_root = {"level": ours, "handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "line",
            }
        },
        "root": {"level": "ERROR" if ours == "ERROR" else "WARNING", "handlers": ["stderr"]},
        "loggers": dict.fromkeys(
            ("tusd_s3", "uvicorn", "uvicorn.error", "uvicorn.access"), through_root
        ),
    }


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO tusd_s3.app: message key=value`, in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback follows on lines that begin with `  | `."""
        fields = "".join(f" {key}={_word(value)}" for key, value in _extra(record))
        message = one_line(record.getMessage())
        line = f"{_time(record)} {record.levelname} {record.name}: {message}{fields}"
        return "\n".join([line, *(f"  | {one_line(it)}" for it in _traceback(self, record))])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, exc if any, and the `extra` fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of ASCII."""
        entry: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if traceback := "\n".join(_traceback(self, record)):
            entry["exc"] = traceback
        for key, value in _extra(record):
            entry.setdefault(key, value)
        # ensure_ascii also escapes line separators and bidi controls.
        return json.dumps(entry, ensure_ascii=True, default=str)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extra(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    return ((key, value) for key, value in record.__dict__.items() if key not in _STANDARD)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    lines = []
    if record.exc_info and record.exc_info[0] is not None:
        lines += formatter.formatException(record.exc_info).split("\n")
    if record.stack_info:
        lines += formatter.formatStack(record.stack_info).split("\n")
    return lines


def _word(value: object) -> str:
    """A field's value; quoted where it would not read as one word."""
    text = str(value)
    plain = re.fullmatch(r"[^\s\"'=]+", text)
    return one_line(text if plain else json.dumps(text, ensure_ascii=False))


def one_line(text: str) -> str:
    """`text` with everything escaped that could end a line or mislead who reads it."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
