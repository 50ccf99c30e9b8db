"""Where settings are told: code or flags, the environment and ``.env``, ``fastnet.toml``, the app; in that order."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

__all__ = ["ENVIRONMENT_PREFIX", "FILE", "ConfigError", "Origins", "Sources", "Told", "nearest", "read_env_file"]

ENVIRONMENT_PREFIX: Final = "FASTNET_"
FILE: Final = "fastnet.toml"
ENV_FILE: Final = ".env"
APP: Final = "App(settings=)"

Origins = dict[str, str]
"""Where each setting that is not a default came from, in words: ``flag --port``, ``fastnet.toml`` …; those of a
listener's own table under ``listeners.NAME.setting``."""


class ConfigError(Exception):
    """A setting that cannot be used; the message says which one, why, and what to write instead."""


@dataclass(frozen=True)
class Told:
    """A setting as it was told: its value, where, and how many sources have more weight."""

    value: Any
    origin: str
    rank: int


# Weight of the sources, heaviest first.
_CODE, _ENVIRONMENT, _FILE, _APP = range(4)


class Sources:
    """All that was told about the settings in ``known``; reading does not look at the values.

    ``settings`` were given in code or as flags, which ``source`` puts into words. ``file`` is the configuration file:
    ``None`` stands for ``FASTNET_CONFIG`` or, where it exists, ``fastnet.toml`` in the current folder; an empty string
    for none. The file of ``env_file`` is read like the environment and has less weight; ``.env`` in the current folder
    is read for ``debug`` and ``reload``, if it exists. Raises :class:`ConfigError`.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        environment: Mapping[str, str],
        known: Iterable[str],
        *,
        file: str | os.PathLike[str] | None = None,
        source: Callable[[str], str] = "given as {}".format,
    ) -> None:
        self._known = tuple(known)
        self._settings = {name: value for name, value in settings.items() if value is not None}
        self._source = source
        self._environment = {name: value for name, value in environment.items() if value}
        self._app: Mapping[str, Any] = {}
        self._table, self.path = _read_file(
            self._environment.get(ENVIRONMENT_PREFIX + "CONFIG") if file is None else file
        )
        self._tables = self._table.pop("listeners", {})
        self.env_variables: dict[str, str] = {}
        self.env_path = ENV_FILE
        self._check_names(self._settings, "settings")
        self._check_names(self._table, self.path)
        self._check_environment(self._environment, "the environment")
        self._read_env_file()
        self._check_environment(self.env_variables, self.env_path)

    def with_app(self, settings: Mapping[str, Any]) -> Sources:
        """The same with the settings that the app has, which have the least weight."""
        made = object.__new__(Sources)
        made.__dict__.update(self.__dict__)
        made._app = {name: value for name, value in settings.items() if name != "listeners" and value is not None}
        made._check_names(made._app, APP)
        made._app_tables = settings.get("listeners", {})
        return made

    _app_tables: Any = None

    def find(self, name: str) -> Told | None:
        """What was told of a setting, or None."""
        if name in self._settings:
            return Told(self._settings[name], self._source(name), _CODE)
        variable = ENVIRONMENT_PREFIX + name.upper()
        if variable in self._environment and not _by_kubernetes(variable, self._environment[variable]):
            return Told(self._environment[variable], variable, _ENVIRONMENT)
        if self.env_variables.get(variable):
            return Told(self.env_variables[variable], f"{variable} in {self.env_path}", _ENVIRONMENT)
        if name in self._table:
            return Told(self._table[name], self.path, _FILE)
        if name in self._app:
            return Told(self._app[name], APP, _APP)
        return None

    def tables(self) -> dict[str, dict[str, Told]]:
        """What was told of single listeners, by their names: the file's tables, and below them the app's."""
        found: dict[str, dict[str, Told]] = {}
        for tables, place, rank in ((self._app_tables or {}, APP, _APP), (self._tables, self.path, _FILE)):
            if not isinstance(tables, Mapping):
                raise ConfigError(f"{place}: listeners holds a table for each listener: [listeners.NAME]")
            for name, table in tables.items():
                origin = f"{place}, [listeners.{name}]"
                if not isinstance(table, Mapping):
                    raise ConfigError(f"{origin} is a table of settings")
                known = found.setdefault(name, {})
                for key, value in table.items():
                    known[key] = Told(value, origin, rank)
        return found

    def export(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Put the variables of the ``.env`` file into the environment, where they are not there already."""
        for name, value in self.env_variables.items():
            environment.setdefault(name, value)

    # --- what is refused

    def _check_names(self, names: Iterable[str], place: str) -> None:
        for name in names:
            if name in self._known:
                continue
            if isinstance(names, Mapping) and isinstance(names[name], Mapping):
                raise ConfigError(
                    f"{place}: there is no table [{name}]: settings stand at the top, those of a listener "
                    "in [listeners.NAME]"
                )
            raise ConfigError(f"{place}: there is no setting {name!r}{nearest(name, self._known)}")

    def _check_environment(self, environment: Mapping[str, str], place: str) -> None:
        for variable, value in environment.items():
            name = variable.removeprefix(ENVIRONMENT_PREFIX)
            if name == variable or name in _OTHER_VARIABLES or name.startswith(("TEST_", "INTERNAL_")):
                continue
            if name.lower() in self._known or _by_kubernetes(variable, value):
                continue
            near = get_close_matches(name.lower(), self._known, n=1)
            hint = (
                f"; did you mean {ENVIRONMENT_PREFIX}{near[0].upper()}?"
                if near
                else "; `fastnet config` lists them all"
            )
            raise ConfigError(f"{place} has {variable}, and there is no such setting{hint}")

    # --- the .env file

    def _read_env_file(self) -> None:
        told = self.find("env_file")
        if told is not None:
            self.env_path = str(told.value)
            self.env_variables = read_env_file(self.env_path)
        elif (self._is_on("debug") or self._is_on("reload")) and Path(ENV_FILE).is_file():
            self.env_variables = read_env_file(ENV_FILE)

    def _is_on(self, name: str) -> bool:
        told = self.find(name)
        return told is not None and str(told.value).strip().lower() in ("1", "true", "yes", "on")


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: what was meant, or where all are listed."""
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "; `fastnet config` lists them all"


# Variables that are no settings: of the build, and the place of the file.
_OTHER_VARIABLES: Final = frozenset(("BUILD", "ONLY", "JOBS", "CONFIG"))

_KUBERNETES_NAMES: Final = re.compile(r"FASTNET_(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT_\d+_(TCP|UDP|SCTP)(_.*)?)")


def _by_kubernetes(variable: str, value: str) -> bool:
    """Whether Kubernetes set it, in every container beside a service called fastnet: ``FASTNET_PORT=tcp://…``."""
    return _KUBERNETES_NAMES.fullmatch(variable) is not None or re.match(r"(tcp|udp|sctp)://", value) is not None


def _read_file(file: str | os.PathLike[str] | None) -> tuple[dict[str, Any], str]:
    """The table of the configuration file, and its name for messages."""
    if file == "":
        return {}, FILE
    path = Path(FILE if file is None else file)
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream), str(path)
    except FileNotFoundError:
        if file is not None:
            raise ConfigError(f"there is no configuration file {path}") from None
        return {}, FILE
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


_ENV_LINE: Final = re.compile(
    r"""\s* (?:export\s+)? (?P<name>[A-Za-z_][A-Za-z0-9_.]*) \s* = \s*
    (?: "(?P<double>(?:[^"\\]|\\.)*)" \s*(?:\#.*)? | '(?P<single>[^']*)' \s*(?:\#.*)? | (?P<bare>[^"'].*|) )""",
    re.VERBOSE,
)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"}


def read_env_file(path: str | os.PathLike[str]) -> dict[str, str]:
    """The variables of a ``.env`` file: ``NAME=value`` lines, ``#`` comments, quotes where spaces matter.

    ``\\n``, ``\\"`` and the like are understood in double quotes; nothing is expanded. Raises :class:`ConfigError`,
    whose message never holds a value.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path} to read variables from") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text in UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _ENV_LINE.fullmatch(line)
        if match is None:
            raise ConfigError(
                f"{path}, line {number}: write it as NAME=value, with quotes around what has quotes or spaces"
            )
        if match["double"] is not None:
            value = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), match["double"])
        elif match["single"] is not None:
            value = match["single"]
        else:
            value = re.sub(r"(^|\s)#.*", "", match["bare"]).strip()
        if "\0" in value:
            raise ConfigError(f"{path}, line {number}: a value cannot hold a NUL byte")
        found[match["name"]] = value
    return found
