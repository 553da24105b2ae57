"""Log lines: readable by people or machines, and not to be forged by what clients send."""

from __future__ import annotations

import json
import logging
import logging.config
import sys
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_s3.logs import JsonFormatter, TextFormatter, configure_logging, logging_config, one_line

FORGED = "name.txt\n2026-01-01T00:00:00.000Z ERROR tusd_s3: all is lost\x1b[31m\u2028\u202e"


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    """The logging of the test run itself comes back afterwards."""
    names = ("", "tusd_s3", "uvicorn", "uvicorn.error", "uvicorn.access")
    loggers = [logging.getLogger(name) for name in names]
    before = [(it, it.level, it.handlers[:], it.propagate) for it in loggers]
    yield
    for logger, level, handlers, propagate in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    logger = logging.getLogger("tusd_s3.test")
    return logger.makeRecord(
        logger.name, logging.INFO, __file__, 1, message, args, None, extra=extra
    )


def failed_record(message: str) -> logging.LogRecord:
    made = record("failed")
    try:
        raise ValueError(message)
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


def test_text_is_time_in_utc_level_logger_message_and_fields() -> None:
    made = record("took %s parts", 3, upload="abc", file="two words")
    made.created = 0.25
    assert TextFormatter().format(made) == (
        '1970-01-01T00:00:00.250Z INFO tusd_s3.test: took 3 parts upload=abc file="two words"'
    )


def test_json_has_the_same_as_keys() -> None:
    made = record("took %s parts", 3, upload="abc", parts=3)
    made.created = 0.25
    assert json.loads(JsonFormatter().format(made)) == {
        "time": "1970-01-01T00:00:00.250Z",
        "level": "info",
        "logger": "tusd_s3.test",
        "message": "took 3 parts",
        "upload": "abc",
        "parts": 3,
    }


def test_an_extra_field_cannot_replace_a_standard_one() -> None:
    entry = json.loads(JsonFormatter().format(record("true", level="forged", time="forged")))
    assert entry["level"] == "info"
    datetime.fromisoformat(entry["time"])


def test_an_extra_field_may_be_anything() -> None:
    assert "object object" in JsonFormatter().format(record("m", thing=object()))
    assert 'thing="<object' in TextFormatter().format(record("m", thing=object()))


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_value_from_a_client_stays_on_its_line(formatter: logging.Formatter) -> None:
    for made in (record("got %s", FORGED), record("got", file=FORGED)):
        line = formatter.format(made)
        assert len(line.splitlines()) == 1
        assert line.isprintable()


@given(text=st.text())
def test_whatever_comes_is_one_printable_enough_line(text: str) -> None:
    for line in (
        TextFormatter().format(record("%s", text, field=text)),
        JsonFormatter().format(record("%s", text, field=text)),
        one_line(text),
    ):
        assert len(line.splitlines()) <= 1
        assert "\x1b" not in line


def test_plain_text_of_any_script_is_left_as_it_is() -> None:
    assert one_line("Überraschung 日本語 \\ ok") == "Überraschung 日本語 \\ ok"


def test_a_traceback_in_text_follows_on_marked_lines() -> None:
    first, *rest = TextFormatter().format(failed_record(FORGED)).splitlines()
    assert first.endswith("failed")
    assert rest
    assert all(line.startswith("  | ") for line in rest)
    assert "ValueError: name.txt" in "\n".join(rest)


def test_a_traceback_in_json_is_the_key_exc() -> None:
    line = JsonFormatter().format(failed_record("broken"))
    assert "\n" not in line
    assert json.loads(line)["exc"].endswith("ValueError: broken")


@pytest.mark.parametrize("format_", ["text", "json"])
def test_our_loggers_and_uvicorns_share_the_level_and_the_format(
    capsys: pytest.CaptureFixture[str], format_: str
) -> None:
    configure_logging("info", format_)
    for name in ("tusd_s3.app", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).debug("not shown")
        logging.getLogger(name).info("shown", extra={"color_message": "\x1b[1mshown"})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all("shown" in line and "color" not in line for line in lines)
    assert all(line.startswith("{") == (format_ == "json") for line in lines)


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_libraries_never_log_below_warning(capsys: pytest.CaptureFixture[str], level: str) -> None:
    """The S3 SDK's debug lines hold signatures and bodies."""
    configure_logging(level, "text")
    for name in ("botocore.auth", "asyncio"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).error("trouble")
    written = capsys.readouterr().err
    assert "chatter" not in written
    assert written.count("trouble") == 2


def test_applying_the_configuration_again_does_not_repeat_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """uvicorn applies it once more in every process."""
    configure_logging("info", "text")
    logging.config.dictConfig(logging_config("info", "text"))
    logging.getLogger("uvicorn.error").info("once")
    assert capsys.readouterr().err.count("once") == 1
