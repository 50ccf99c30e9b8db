"""The flags of ``fastnet run`` and ``fastnet config``: one for each setting, in groups."""

from __future__ import annotations

import argparse
from difflib import get_close_matches
from typing import Any, Final, NoReturn

from fastnet.server.config import GROUPS, SETTINGS, ConfigError, Setting
from fastnet.server.sources import ENVIRONMENT_PREFIX
from fastnet.server.values import FLAG, LIST, NETWORKS, SECRET, Secret

__all__ = ["Parser", "UsageError", "add_flags", "flag_of", "told_by_flags"]

_VALUE_NAMES: Final = {
    "text": "TEXT",
    "file": "FILE",
    "number": "N",
    "duration": "TIME",
    "size": "SIZE",
    "rate": "RATE",
    "part": "PART",
    "mode": "MODE",
    "list": "A,B",
    "networks": "NETS",
    "secret": "PLACE",
}


class UsageError(Exception):
    """A command line that cannot be used; the message says what to write instead."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and knows the nearest flag."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see `{self.prog} --help`)")

    def refuse(self, unknown: str) -> NoReturn:
        """Raise for an argument that nothing takes."""
        name = unknown.partition("=")[0]
        if not name.startswith("-"):
            raise UsageError(f"{unknown!r} is one argument too many (see `{self.prog} --help`)")
        known = [flag for action in self._actions for flag in action.option_strings]
        near = get_close_matches(name, known, n=1)
        raise UsageError(
            f"there is no flag {name}; " + (f"did you mean {near[0]}?" if near else f"see `{self.prog} --help`")
        )


def flag_of(name: str) -> str:
    """The flag of a setting."""
    return "--" + name.replace("_", "-")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give a parser a flag for each setting. The app itself is an argument, not a flag."""
    for group, title in GROUPS.items():
        place = parser.add_argument_group(title)
        if group == "app":
            place.add_argument(
                "--config",
                metavar="FILE",
                help=f"file of settings; fastnet.toml in the current folder if it exists [{ENVIRONMENT_PREFIX}CONFIG]",
            )
        for setting in SETTINGS.values():
            if setting.group == group and setting.name != "app":
                _add_flag(place, setting)


def _add_flag(place: Any, setting: Setting) -> None:
    flag = flag_of(setting.name)
    # argparse takes percent signs for its own.
    text = f"{setting.help} [{ENVIRONMENT_PREFIX}{setting.name.upper()}{_default(setting)}]".replace("%", "%%")
    if setting.kind is FLAG:
        place.add_argument(flag, dest=setting.name, action=argparse.BooleanOptionalAction, default=None, help=text)
        return
    several = setting.kind in (LIST, NETWORKS)
    name = "{" + ",".join(setting.kind.choices) + "}" if setting.kind.choices else _VALUE_NAMES[setting.kind.name]
    place.add_argument(
        flag, dest=setting.name, default=None, metavar=name, action="append" if several else "store", help=text
    )


def _default(setting: Setting) -> str:
    if setting.default in (None, "", ()) or setting.kind is FLAG:
        return "; default on" if setting.default is True else ""
    value = setting.kind.write(setting.default)
    return f"; default {','.join(value) if isinstance(value, list) else value}"


def told_by_flags(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that flags gave. Raises :class:`ConfigError` for a secret that the process list would show."""
    told = {name: getattr(options, name, None) for name in SETTINGS}
    for name, value in told.items():
        if isinstance(value, list):
            # A flag that was given again adds to the list.
            told[name] = ",".join(value)
        if SETTINGS[name].kind is SECRET and isinstance(value, str) and not Secret(value).is_reference:
            raise ConfigError(
                f"{flag_of(name)}: every user of this machine can read command lines: give it as file:PATH or env:NAME"
            )
    return told
