"""Logs: text and JSON, request ids, masked secrets, levels of listeners; and whose handlers are whose."""

import asyncio
import io
import logging
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from fastnet import App, Depends, Request, current_request_id
from fastnet.middleware.request_id import request_id
from fastnet.observability.logs import JsonFormatter, RequestFilter, TextFormatter, configure_logging, number_logs
from fastnet.observability.masking import Mask
from fastnet.server.config import Config, Listener
from tests.fastnet.serving import serving


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    kept = [
        (logger, logger.level, logger.handlers[:]) for logger in (logging.getLogger(), logging.getLogger("fastnet"))
    ]
    for logger, _, _ in kept:
        logger.handlers[:] = []
    yield
    for logger, level, handlers in kept:
        logger.setLevel(level)
        logger.handlers[:] = handlers
    for family in ("error", "limits", "connections", "access"):
        for name in ("main", "loud"):
            logging.getLogger(f"fastnet.{family}.{name}").setLevel(logging.NOTSET)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def configured(stream: io.StringIO, *, worker: int | None = None, **settings: Any) -> io.StringIO:
    # pytest's own handlers come back for each phase of a test; to us they would be the program's.
    root = logging.getLogger()
    root.handlers[:] = [one for one in root.handlers if not type(one).__module__.startswith("_pytest")]
    configure_logging(Config(**settings), stream=stream)
    if worker is not None:
        number_logs(worker)
    return stream


def record(message: str, *arguments: Any, **extra: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "app", "levelno": 20, "levelname": "INFO", "msg": message, "args": arguments})
    vars(made).update(extra)
    return made


# --- formats


def test_text_on_a_terminal_and_json_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    log = logging.getLogger("app")
    terminal = configured(Terminal())
    log.info("hello")
    assert "\x1b[32mINFO   \x1b[0m app: hello\n" in terminal.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = configured(Terminal())
    log.info("hello")
    assert "\x1b" not in terminal.getvalue()
    file = configured(io.StringIO())
    log.info("hello", extra={"user": 5})
    members = orjson.loads(file.getvalue())
    assert members.pop("time").endswith("Z")
    assert members.pop("pid") > 0
    assert members == {"level": "INFO", "logger": "app", "message": "hello", "user": 5}
    for log_format, start in (("json", "{"), ("text", "2")):
        file = configured(Terminal() if log_format == "json" else io.StringIO(), log_format=log_format)
        log.info("hello")
        assert file.getvalue().startswith(start)


def test_one_line_whatever_the_message_holds() -> None:
    text = TextFormatter().format(record("a\nINFO forged \x1b[2J\r\x00\u2028"))
    assert text.splitlines()[1].startswith("    INFO forged \\x1b[2J\\r\\x00\\u2028")
    assert len(JsonFormatter().format(record("a\nb\x00")).splitlines()) == 1


def test_nothing_is_lost_to_mistakes() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no")

    for formatter in (TextFormatter(), JsonFormatter()):
        assert "'%d users' with ('many',)" in formatter.format(record("%d users", "many"))
        assert formatter.format(record("x", user=object(), count=2**80, lone="\ud800"))
    assert "Broken that cannot be shown" in JsonFormatter().format(record("x", thing=Broken()))


def test_exceptions() -> None:
    try:
        raise KeyError("x")
    except KeyError as error:
        made = record("failed", exc_info=(type(error), error, error.__traceback__))
    assert TextFormatter().format(made).splitlines()[-1] == "KeyError: 'x'"
    assert "KeyError: 'x'" in orjson.loads(JsonFormatter().format(made))["exception"]


# --- secrets


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2",
        "authorization:hunter2, x",
        "{'authorization': 'Bearer hunter2', 'a': 'shown'}",
        '{"Cookie": "a=hunter2; b=hunter2", "a": "shown"}',
        "[('set-cookie', 'a=\\'hunter2'), ('a', 'shown')]",
        "[(b'proxy-authorization', b'Basic hunter2'), (b'a', b'shown')]",
        "authorization=hunter2",
        "GET https://a/b?x=1&token=hunter2&y=shown",
        "see /b?api_key=hunter2#shown",
        "'/b?TOKEN=hunter2'",
        "/b?tok%65n=hunter2&y=shown",
        "/b?next=/c?token=hunter2&y=shown",
    ],
)
def test_secrets_are_masked(text: str) -> None:
    shown = Mask(["token", "api_key"]).text(text)
    assert "hunter2" not in shown
    assert "***" in shown
    assert ("shown" in shown) == ("shown" in text)


def test_what_is_no_secret_stays() -> None:
    for text in ("no cookies today", "/b?tokens=5", "token=5", "authorization failed", "/a?b=c"):
        assert Mask(["token"]).text(text) == text


def test_secrets_in_extra_fields() -> None:
    mask = Mask(["token"])
    headers = {"authorization": "hunter2", "x": "y"}
    made = record("request", headers=headers, cookie="hunter2", url="/a?token=hunter2")
    members = orjson.loads(JsonFormatter(mask=mask).format(made))
    assert members["headers"] == {"authorization": "***", "x": "y"}
    assert (members["cookie"], members["url"]) == ("***", "/a?token=***")
    assert "hunter2" not in TextFormatter(mask=mask).format(made)


# --- whose handlers, which levels


def test_handlers_of_the_program_stay_the_only_ones() -> None:
    ours, theirs = io.StringIO(), io.StringIO()
    logging.getLogger().handlers[:] = [logging.StreamHandler(theirs)]
    configured(ours)
    logging.getLogger("fastnet.server").info("hello")
    assert theirs.getvalue() == "hello\n"
    assert ours.getvalue() == ""


def test_handlers_of_the_program_for_our_records_only() -> None:
    ours, theirs = io.StringIO(), io.StringIO()
    logging.getLogger("fastnet").addHandler(logging.StreamHandler(theirs))
    configured(ours, log_format="text")
    logging.getLogger("fastnet.server").info("hello")
    logging.getLogger("app").info("mine")
    assert theirs.getvalue() == "hello\n"
    assert ours.getvalue().endswith("app: mine\n")
    assert "hello" not in ours.getvalue()


def test_configured_again_it_replaces_itself() -> None:
    first, second = configured(io.StringIO()), configured(io.StringIO())
    logging.getLogger("app").info("hello")
    assert first.getvalue() == ""
    assert second.getvalue().count("hello") == 1


def test_levels_of_listeners() -> None:
    loud = Listener(name="loud", bind=("a:1",), log_level="debug")
    main = Listener(name="main", bind=("a:2",), log_level="warning")
    stream = configured(io.StringIO(), log_level="warning", listeners=(main, loud), log_format="text")
    for name in ("fastnet.server", "fastnet.limits.main", "fastnet.limits.loud", "fastnet.connections.loud"):
        logging.getLogger(name).debug("debug %s", name)
        logging.getLogger(name).warning("warning %s", name)
    shown = stream.getvalue()
    assert "debug fastnet.server" not in shown
    assert "debug fastnet.limits.main" not in shown
    assert "warning fastnet.limits.main" in shown
    assert "warning fastnet.server" in shown


def test_the_worker_is_named() -> None:
    stream = configured(io.StringIO(), worker=3, log_format="json")
    logging.getLogger("app").info("hello")
    assert orjson.loads(stream.getvalue())["worker"] == 3
    configured(stream, worker=3, log_format="text")
    logging.getLogger("app").info("hello")
    assert stream.getvalue().endswith("app[3]: hello\n")


# --- request ids

app = App()
log = logging.getLogger("app")


def in_dependency(request: Request[Any]) -> str | None:
    log.info("dependency")
    return current_request_id()


@app.get("/async")
async def in_task(request: Request[Any]) -> list[str | None]:
    log.info("task")
    before = current_request_id()
    await asyncio.sleep(0)
    return [request.id, before, current_request_id()]


@app.get("/thread")
def in_thread(request: Request[Any], other: str | None = Depends(in_dependency)) -> list[str | None]:
    log.info("thread")
    return [request.id, current_request_id(), other]


bound = App(middleware=[request_id])


@bound.get("/children")
async def in_children(request: Request[Any]) -> list[str | None]:
    async def child() -> str | None:
        await asyncio.sleep(0.01)
        return current_request_id()

    return [request.id, await asyncio.create_task(child()), await asyncio.to_thread(current_request_id)]


@pytest.mark.parametrize("path", ["/async", "/thread"])
def test_records_of_a_handler_carry_its_id(path: str) -> None:
    stream = configured(io.StringIO(), log_format="json")
    with serving(app) as client:
        for name in ("one", "two"):
            answer = client.request("GET", path, headers={"x-request-id": name})
            assert answer.json == [name] * 3
    found = [orjson.loads(line) for line in stream.getvalue().splitlines()]
    ids = [one["request_id"] for one in found if one["logger"] == "app"]
    assert ids == ["one", "two"] if path == "/async" else ["one", "one", "two", "two"]


def test_the_middleware_names_the_request_in_answers_and_to_children() -> None:
    with serving(bound) as client:
        answer = client.request("GET", "/children", headers={"x-request-id": "mine"})
        assert answer.json == ["mine"] * 3
        assert answer.headers["x-request-id"] == "mine"
        other = client.request("GET", "/children", headers={"x-request-id": "not valid\x01"[:9]})
        assert len(other.headers["x-request-id"]) == 16
        assert other.headers["x-request-id"] == other.json[0]
        assert client.request("GET", "/none").headers["x-request-id"]


def test_outside_of_requests_there_is_no_id() -> None:
    assert current_request_id() is None

    async def main() -> str | None:
        return current_request_id()

    assert asyncio.run(main()) is None
    made = record("x")
    assert RequestFilter(2).filter(made)
    assert vars(made)["request_id"] is None
    assert vars(made)["worker"] == 2
