"""Each limit is set globally, per listener and per route, by every source, and reaches what enforces it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fastnet import App
from fastnet.cli.flags import Parser, add_flags, flag_of, told_by_flags
from fastnet.options import RouteOptions, SseOptions, WebSocketOptions
from fastnet.server import limits
from fastnet.server.config import LISTENER_SETTINGS, SETTINGS, Config, ConfigError, Setting
from tests.architecture.limits_page import PAGE, rows_of

LIMITS = {name: one for name, one in SETTINGS.items() if one.group in ("limits", "timeouts")}
OF_LISTENERS = {name: one for name, one in LIMITS.items() if name in LISTENER_SETTINGS}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def another(setting: Setting, times: int) -> int:
    """A value that is not the default, and may be."""
    return int(setting.default or 100) * times


def by_flag(name: str, text: str) -> Config:
    parser = Parser()
    add_flags(parser)
    return Config.load(told_by_flags(parser.parse_args([flag_of(name), text])), {})


def by_variable(name: str, text: str) -> Config:
    return Config.load({}, {f"FASTNET_{name.upper()}": text})


def by_file(name: str, text: str) -> Config:
    Path("fastnet.toml").write_text(f'{name} = "{text}"')
    return Config.load({}, {})


def by_app(name: str, text: str) -> Config:
    return App(settings={name: text}).serve().config


def in_code(name: str, text: str) -> Config:
    settings: dict[str, Any] = {name: text}
    return App().serve(**settings).config


SOURCES = {"flag": by_flag, "variable": by_variable, "file": by_file, "App(settings=)": by_app, "serve()": in_code}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_by_every_source(name: str, source: str) -> None:
    setting = LIMITS[name]
    value = another(setting, 2)
    config = SOURCES[source](name, str(setting.kind.write(value)))
    assert getattr(config, name) == value != setting.default
    if name in OF_LISTENERS:
        # What is said of all holds for each listener that has none of its own.
        assert getattr(config.listeners[0], name) == value


TABLES = """
{name} = "{all}"
bind = "127.0.0.1:0"
[listeners.api]
bind = "127.0.0.1:0"
{name} = "{own}"
[listeners.other]
bind = "127.0.0.1:0"
"""


@pytest.mark.parametrize("name", OF_LISTENERS)
def test_a_listener_wins_over_all_and_over_flags(name: str) -> None:
    setting = LIMITS[name]
    for_all, own, flag = (another(setting, times) for times in (2, 3, 4))
    text = TABLES.format(name=name, all=setting.kind.write(for_all), own=setting.kind.write(own))
    Path("fastnet.toml").write_text(text)
    told = {"main": for_all, "api": own, "other": for_all}
    assert {one.name: getattr(one, name) for one in Config.load({}, {}).listeners} == told
    told = {"main": flag, "api": own, "other": flag}
    assert {one.name: getattr(one, name) for one in Config.load({name: flag}, {}).listeners} == told


@pytest.mark.parametrize("name", sorted(LIMITS.keys() - OF_LISTENERS.keys()))
def test_what_is_of_the_whole_process_is_refused_in_a_listener(name: str) -> None:
    Path("fastnet.toml").write_text(f'[listeners.api]\nbind = "1"\n{name} = 1000')
    with pytest.raises(ConfigError, match=f"'{name}' is a setting of the whole server"):
        Config.load({}, {})


@pytest.mark.parametrize("name", OF_LISTENERS)
def test_a_listener_s_limit_reaches_the_engine(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the setting differs, and so does what the engine is told."""

    def told(**settings: Any) -> list[object]:
        calls: list[object] = []

        def record(what: str) -> Any:
            return lambda *arguments, **options: calls.append((what, arguments, options))

        class Dispatcher:
            def of_listener(self, gate: Any, **_: object) -> None:
                calls.append(("gate", gate and gate.limit))

        for what in ("Service", "Http1Limits", "Http2Limits"):
            monkeypatch.setattr(limits, what, record(what))
        monkeypatch.setattr(limits, "OnePort", lambda protocols: None)
        monkeypatch.setattr(limits, "proxies_of", lambda listener: None)
        (listener,) = Config(**settings).listeners
        limits.service_of(Dispatcher(), listener)  # type: ignore[arg-type]
        return calls

    assert told(**{name: another(LIMITS[name], 2)}) != told()


def test_the_page_names_the_options_of_routes() -> None:
    """docs/limits.md and the options that routes take tell the same."""
    page = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)=` of a route", page))
    bounding = ("max_", "timeout", "rate_", "ping_", "linger", "replay", "message_limit", "decompress")
    options = (RouteOptions, SseOptions, WebSocketOptions)
    assert named == {name for told in options for name in told.__annotations__ if name.startswith(bounding)}
    assert len(rows_of(page)) > 40
