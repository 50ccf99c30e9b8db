"""``fastnet config``: what is in force, and where it was told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from fastnet.server.config import LISTENER_SETTINGS, SETTINGS, Config, Listener, Setting
from fastnet.server.values import RATE, SIZE

__all__ = ["as_json", "as_toml"]

# Where comments begin, if the setting leaves room.
COLUMN = 44


def as_json(config: Config) -> str:
    """The settings and the listeners, each value as it is written and with its source."""
    listeners = {
        listener.name: {
            "bind": {"value": list(listener.bind), "source": _source(config, listener, "bind")},
            "admin": listener.admin,
            **{name: _entry(setting, listener, config, listener) for name, setting in LISTENER_SETTINGS.items()},
        }
        for listener in config.listeners
    }
    settings = {name: _entry(setting, config, config, None) for name, setting in SETTINGS.items()}
    return orjson.dumps({"settings": settings, "listeners": listeners}, option=orjson.OPT_INDENT_2).decode()


def _entry(setting: Setting, owner: Config | Listener, config: Config, listener: Listener | None) -> dict[str, Any]:
    value = getattr(owner, setting.name)
    return {
        "value": None if value is None else setting.kind.write(value),
        "source": _source(config, listener, setting.name),
    }


def as_toml(config: Config, *, changed: bool = False) -> str:
    """The settings as ``fastnet.toml`` would have them, each with its source; ``changed`` leaves out the defaults."""
    lines: list[str] = []
    group = ""
    for name, setting in SETTINGS.items():
        source = _source(config, None, name)
        if changed and source == "default":
            continue
        if setting.group != group:
            group = setting.group
            lines += ["", f"# {group}"]
        lines.append(_line(setting, getattr(config, name), source))
    for listener in config.listeners:
        lines += ["", *_listener_lines(config, listener)]
    return "\n".join(lines).strip("\n")


def _listener_lines(config: Config, listener: Listener) -> Iterator[str]:
    """The table of a listener: what differs from the settings for all."""
    yield f"[listeners.{_key(listener.name)}]"
    yield _line(SETTINGS["bind"], listener.bind, _source(config, listener, "bind"))
    for name, setting in LISTENER_SETTINGS.items():
        value = getattr(listener, name)
        if value != getattr(config, name):
            yield _line(setting, value, _source(config, listener, name))


def _source(config: Config, listener: Listener | None, name: str) -> str:
    if listener is not None:
        own = config.origins.get(f"listeners.{listener.name}.{name}")
        if own is not None:
            return own
        if name == "bind":
            asked = ("admin_bind",) if listener.admin else ("bind", "host", "port")
            return ", ".join(config.origins[one] for one in asked if one in config.origins) or "default"
        if listener.admin and getattr(listener, name) != getattr(config, name):
            return "default of the private listener"
    return config.origins.get(name, "default")


def _line(setting: Setting, value: Any, source: str) -> str:
    # TOML has no word for nothing: what is not set is a comment.
    text = f"# {setting.name} =" if value is None else f"{setting.name} = {_toml(setting, value)}"
    return f"{text:<{COLUMN}}  # {source}"


def _toml(setting: Setting, value: Any) -> str:
    written = setting.kind.write(value)
    if setting.kind in (SIZE, RATE) and written.isdecimal():
        return str(written)
    if isinstance(written, list):
        return f"[{', '.join(_literal(item) for item in written)}]"
    return _literal(written)


def _literal(value: Any) -> str:
    # JSON's texts, numbers and booleans are TOML's too, but for DEL.
    return orjson.dumps(value).decode().replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if bare else _literal(name)
