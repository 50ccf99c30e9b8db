"""Settings: where they come from, in which order, and what is refused."""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from fastnet import App
from fastnet.server.config import GROUPS, LISTENER_SETTINGS, SETTINGS, Config, ConfigError, Listener
from fastnet.server.sources import Sources, read_env_file


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(
    settings: dict[str, Any] | None = None, environment: dict[str, str] | None = None, toml: str = "", app: Any = None
) -> Config:
    Path("fastnet.toml").write_text(toml)
    return Config.load(settings or {}, environment or {}, app_settings=app)


def refusal(
    settings: dict[str, Any] | None = None, environment: dict[str, str] | None = None, toml: str = "", app: Any = None
) -> str:
    with pytest.raises(ConfigError) as caught:
        load(settings, environment, toml, app)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- the order of the sources

SOURCES = ["code", "environment", "env file", "file", "app"]
ORIGINS = {
    "code": "given as timeout_idle",
    "environment": "FASTNET_TIMEOUT_IDLE",
    "env file": "FASTNET_TIMEOUT_IDLE in my.env",
    "file": "fastnet.toml",
    "app": "App(settings=)",
}


@pytest.mark.parametrize(("stronger", "weaker"), list(itertools.combinations(SOURCES, 2)))
def test_the_stronger_of_two_sources_wins(stronger: str, weaker: str) -> None:
    told = {weaker: 22, stronger: 11}
    settings: dict[str, Any] = {"timeout_idle": told["code"]} if "code" in told else {}
    environment = {"FASTNET_TIMEOUT_IDLE": f"{told['environment']}s"} if "environment" in told else {}
    if "env file" in told:
        Path("my.env").write_text(f"FASTNET_TIMEOUT_IDLE={told['env file']}s")
        settings["env_file"] = "my.env"
    toml = f'timeout_idle = "{told["file"]}s"' if "file" in told else ""
    config = load(settings, environment, toml, {"timeout_idle": told["app"]} if "app" in told else None)
    assert config.timeout_idle == 11
    assert config.origins["timeout_idle"] == ORIGINS[stronger]


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_wins_over_the_default(source: str) -> None:
    test_the_stronger_of_two_sources_wins(source, source)


def test_what_nobody_tells_has_no_origin() -> None:
    config = load()
    assert config.timeout_idle == SETTINGS["timeout_idle"].default == 75
    assert config.origins == {}


def test_empty_variables_tell_nothing() -> None:
    assert load(environment={"FASTNET_PORT": "", "FASTNET_CONFIG": ""}).port == 8000


def test_none_in_code_tells_nothing() -> None:
    assert load({"port": None}, toml="port = 9").port == 9


def test_the_app_has_settings_of_the_server() -> None:
    app = App(settings={"port": 0, "timeout_idle": "5m"})
    assert app.serve().config.timeout_idle == 300
    assert app.serve(timeout_idle=3).config.timeout_idle == 3
    with pytest.raises(
        ConfigError, match=re.escape("App(settings=): there is no setting 'prot'; did you mean 'port'?")
    ):
        App(settings={"prot": 0}).serve()


# --- files


def test_the_file_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("port = 9")
    assert Config.load({}, {}, file=tmp_path / "other.toml").port == 9
    assert Config.load({}, {"FASTNET_CONFIG": "other.toml"}).port == 9
    assert Config.load({}, {"FASTNET_CONFIG": "other.toml"}, file="").port == 8000
    with pytest.raises(ConfigError, match=r"there is no configuration file none\.toml"):
        Config.load({}, {}, file="none.toml")


def test_files_that_cannot_be_read() -> None:
    assert "fastnet.toml is not valid TOML" in refusal(toml="port = ")
    Path("fastnet.toml").write_bytes(b"port = \xff")
    with pytest.raises(ConfigError, match="not valid TOML"):
        Config.load({}, {})
    Path("folder.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        Config.load({}, {}, file="folder.toml")


def test_a_file_of_variables() -> None:
    Path("a.env").write_text(
        '\ufeff# comment\n\nPLAIN=one two # comment\nexport EXPORTED = x\nDOUBLE="a\\n\\"b\\" # no" # comment\n'
        "SINGLE='a\\n#'\nEMPTY=\nHASH=a#b\nURL=postgres://u:p@h/d?x=1\n",
        encoding="utf-8",
    )
    assert read_env_file("a.env") == {
        "PLAIN": "one two",
        "EXPORTED": "x",
        "DOUBLE": 'a\n"b" # no',
        "SINGLE": "a\\n#",
        "EMPTY": "",
        "HASH": "a#b",
        "URL": "postgres://u:p@h/d?x=1",
    }
    for text in ("hunter2", '="hunter2"', 'A="hunter2', "A='hunter2' x"):
        Path("a.env").write_text(f"OK=1\n{text}\n")
        with pytest.raises(ConfigError, match=r"a\.env, line 2: write it as NAME=value") as caught:
            read_env_file("a.env")
        assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"there is no file none\.env"):
        load({"env_file": "none.env"})


def test_dot_env_is_read_for_development_only() -> None:
    Path(".env").write_text("FASTNET_PORT=9\nSECRET_OF_APP=x\n")
    assert load().port == 8000
    assert load({"debug": True}).port == 9
    assert load(environment={"FASTNET_RELOAD": "on"}).port == 9
    assert load(toml="debug = true").origins["port"] == "FASTNET_PORT in .env"
    sources = Sources({"debug": True}, {}, SETTINGS)
    environment = {"FASTNET_PORT": "10"}
    sources.export(environment)
    assert environment == {"FASTNET_PORT": "10", "SECRET_OF_APP": "x"}


# --- unknown names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"settings": {"prot": 1}}, "settings: there is no setting 'prot'; did you mean 'port'?"),
        (
            {"toml": "timeout_idel = 1"},
            "fastnet.toml: there is no setting 'timeout_idel'; did you mean 'timeout_idle'?",
        ),
        ({"app": {"worker": 1}}, "App(settings=): there is no setting 'worker'; did you mean 'workers'?"),
        (
            {"environment": {"FASTNET_TIMEOUT_IDEL": "1"}},
            "FASTNET_TIMEOUT_IDEL, and there is no such setting; did you mean FASTNET_TIMEOUT_IDLE?",
        ),
        ({"toml": "qqqqqq = 1"}, "fastnet.toml: there is no setting 'qqqqqq'; `fastnet config` lists them all"),
        ({"environment": {"FASTNET_QQQQQQ": "1"}}, "no such setting; `fastnet config` lists them all"),
        ({"toml": "[limits]\nhead = 1"}, "fastnet.toml: there is no table [limits]: settings stand at the top"),
        (
            {"toml": '[listeners.x]\nbind = "1"\nlimit_haed = 1'},
            "fastnet.toml, [listeners.x]: there is no setting 'limit_haed' of a listener; did you mean 'limit_head'?",
        ),
        ({"toml": '[listeners.x]\nbind = "1"\nworkers = 1'}, "'workers' is a setting of the whole server"),
        ({"toml": "[listeners]\nx = 1"}, "fastnet.toml, [listeners.x] is a table of settings"),
        ({"toml": "listeners = 1"}, "fastnet.toml: listeners holds a table for each listener"),
        ({"toml": "[listeners.x]\nlimit_head = 1000"}, "listener 'x': bind says where to listen; it is missing"),
    ],
)
def test_unknown_names_are_refused(arguments: Any, message: str) -> None:
    assert message in refusal(**arguments)


def test_unknown_names_in_the_env_file() -> None:
    Path("my.env").write_text("FASTNET_PRT=1\nPRT=2\n")
    assert "my.env has FASTNET_PRT" in refusal({"env_file": "my.env"})


def test_variables_that_are_no_settings() -> None:
    environment = {"FASTNET_BUILD": "debug", "FASTNET_TEST_LOOP": "asyncio", "FASTNET_INTERNAL_X": "1", "OTHER": "1"}
    assert load(environment=environment).origins == {}


def test_what_kubernetes_sets_beside_a_service_called_fastnet() -> None:
    environment = {
        "FASTNET_PORT": "tcp://10.0.0.1:80",
        "FASTNET_PORT_80_TCP": "tcp://10.0.0.1:80",
        "FASTNET_PORT_80_TCP_ADDR": "10.0.0.1",
        "FASTNET_PORT_80_TCP_PORT": "80",
        "FASTNET_PORT_80_TCP_PROTO": "tcp",
        "FASTNET_SERVICE_HOST": "10.0.0.1",
        "FASTNET_SERVICE_PORT": "80",
        "FASTNET_SERVICE_PORT_HTTP": "80",
    }
    assert load(environment=environment, toml="port = 9").port == 9


# --- values


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("port = 1.5", "port (fastnet.toml): 1.5 is no whole number"),
        ('workers = "many"', "workers (fastnet.toml): 'many' is no whole number"),
        ("workers = true", "workers (fastnet.toml): true is no whole number"),
        ("workers = 0", "workers (fastnet.toml): 0 is too little: at least 1"),
        ("port = 70000", "port (fastnet.toml): 70000 is too much: at most 65535"),
        ("port = -1", "port (fastnet.toml): -1 is out of range: it is 0 or more"),
        ("limit_head = 0", "limit_head (fastnet.toml): 0 is too little: at least 128"),
        ('limit_head = "1GiB"', "limit_head (fastnet.toml): 1GiB is too much: at most 64MiB"),
        ('limit_head = "1KiB"', "limit_head must not be below limit_request_line"),
        ('reload = "maybe"', "reload (fastnet.toml): 'maybe' is neither true nor false"),
        ("host = 1", "host (fastnet.toml): 1 is no text: put it in quotes"),
        ("timeout_idle = 12:00:00", "timeout_idle (fastnet.toml): datetime.time(12, 0) is no duration"),
        ('sockets = "both"', "sockets (fastnet.toml): 'both' is not known: choose reuseport or shared"),
        ('log_level = ["info"]', "log_level (fastnet.toml): ['info'] is no text: choose debug, info, warning or error"),
        ('tls_cert = "c.pem"', "tls_cert and tls_key belong together"),
        ('tls_client_verify = "required"', "tls_client_verify needs tls_client_ca"),
        ('protocols = ["h3"]', "protocols are h2 and http/1.1, not h3"),
        ("protocols = []", "not none at all"),
        ('root_path = "api"', "root_path 'api' has to start with a slash"),
        ('[listeners.x]\nbind = "1:1"\nroot_path = "api"', "listener 'x': root_path 'api' has to start with a slash"),
        ('[listeners.x]\nbind = "1:1"\nbacklog = "x"', "backlog (fastnet.toml, [listeners.x]): 'x' is no whole number"),
        ("[listeners.x]\nbind = []", "listener 'x': bind says where to listen; it is empty"),
    ],
)
def test_wrong_values_are_refused_in_words(toml: str, message: str) -> None:
    assert message in refusal(toml=toml)


def test_toml_has_types_of_its_own() -> None:
    config = load(
        toml="""
        port = 0
        timeout_idle = 30
        timeout_head = 2.5
        timeout_write = "1m"
        limit_head = 32768
        limit_memory = "1GiB"
        reload = true
        unix_mode = 660
        protocols = ["http/1.1"]
        trusted_proxies = ["10.0.0.0/8", "unix"]
        admin_bind = 9000
        timeout_handler = 0
        """
    )
    assert (config.port, config.timeout_idle, config.timeout_head, config.timeout_write) == (0, 30, 2.5, 60)
    assert (config.limit_head, config.limit_memory, config.reload, config.unix_mode) == (32768, 2**30, True, 0o660)
    assert config.protocols == ("http/1.1",)
    assert [str(one) for one in config.trusted_proxies] == ["10.0.0.0/8", "unix"]
    assert config.admin_bind == ("9000",)
    assert config.timeout_handler == 0


def test_secrets_are_not_shown() -> None:
    config = load(environment={"FASTNET_TLS_KEY_PASSWORD": "hunter2", "FASTNET_TLS_CERT": "c", "FASTNET_TLS_KEY": "k"})
    assert config.tls_key_password is not None
    assert config.tls_key_password.reveal() == "hunter2"
    assert config.listeners[0].tls_key_password == config.tls_key_password
    assert "hunter2" not in repr(config) + str(config) + repr(config.listeners) + repr(config.origins)
    assert "hunter2" not in refusal(toml="tls_key_password = ['hunter2']")


# --- where to listen


def binds(config: Config) -> dict[str, tuple[str, ...]]:
    return {listener.name: listener.bind for listener in config.listeners}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {"main": ("127.0.0.1:8000",)}),
        ({"settings": {"host": "::1", "port": 1}}, {"main": ("[::1]:1",)}),
        ({"settings": {"bind": "unix:/a, 127.0.0.1:1"}}, {"main": ("unix:/a", "127.0.0.1:1")}),
        (
            {"settings": {"admin_bind": "9000,unix:/b"}},
            {"main": ("127.0.0.1:8000",), "admin": ("127.0.0.1:9000", "unix:/b")},
        ),
        ({"toml": '[listeners.x]\nbind = "a:1"'}, {"x": ("a:1",)}),
        ({"toml": 'port = 1\n[listeners.x]\nbind = "a:1"'}, {"main": ("127.0.0.1:1",), "x": ("a:1",)}),
        ({"toml": '[listeners.main]\nbind = "a:1"'}, {"main": ("a:1",)}),
        ({"toml": "[listeners.main]\nbacklog = 5"}, {"main": ("127.0.0.1:8000",)}),
        ({"toml": 'port = 1\n[listeners.main]\nbind = "a:1"'}, {"main": ("a:1",)}),
        ({"toml": '[listeners.main]\nbind = "a:1"', "settings": {"port": 5}}, {"main": ("127.0.0.1:5",)}),
        ({"toml": 'bind = "a:1"', "settings": {"port": 5}}, {"main": ("127.0.0.1:5",)}),
        ({"toml": "port = 9", "environment": {"FASTNET_BIND": "a:1"}}, {"main": ("a:1",)}),
        ({"app": {"listeners": {"x": {"bind": "a:1"}}}}, {"x": ("a:1",)}),
        ({"app": {"listeners": {"x": {"bind": "a:1"}}}, "toml": '[listeners.x]\nbind = "b:2"'}, {"x": ("b:2",)}),
        (
            {"toml": '[listeners.admin]\nbind = "a:1"\n[listeners.main]'},
            {"main": ("127.0.0.1:8000",), "admin": ("a:1",)},
        ),
    ],
)
def test_listeners(arguments: Any, expected: Any) -> None:
    assert binds(load(**arguments)) == expected


def test_bind_and_port_of_one_source_are_ambiguous() -> None:
    assert "leave out one or the other" in refusal({"bind": "a:1", "port": 1})
    assert "leave out one or the other" in refusal(toml='bind = "a:1"\nhost = "x"')


def test_a_listener_has_settings_of_its_own() -> None:
    config = load(
        {"limit_head": "128KiB"},
        toml='timeout_idle = 5\n[listeners.a]\nbind = "a:1"\n[listeners.b]\nbind = ["b:1"]\nlimit_head = "16KiB"',
    )
    a, b = config.listeners
    assert (a.limit_head, b.limit_head) == (128 * 1024, 16 * 1024)
    assert (a.timeout_idle, b.timeout_idle) == (5, 5)
    assert config.origins["listeners.b.limit_head"] == "fastnet.toml, [listeners.b]"
    assert not a.admin


def test_the_private_listener_takes_over_no_public_face() -> None:
    config = load(
        {
            "tls_cert": "c",
            "tls_key": "k",
            "access_log": True,
            "proxy_protocol": "required",
            "trusted_proxies": "10.0.0.0/8",
            "admin_bind": "9",
        }
    )
    main, admin = config.listeners
    assert main.tls_cert == "c"
    assert main.access_log
    assert admin.admin
    assert admin.tls_cert is None
    assert not admin.access_log
    assert admin.proxy_protocol == "off"


def test_a_config_made_in_code_listens_too() -> None:
    assert binds(Config(port=5)) == {"main": ("127.0.0.1:5",)}
    assert binds(Config(listeners=(Listener(name="x", bind=("a:1",)),))) == {"x": ("a:1",)}
    with pytest.raises(ConfigError):
        Config(tls_cert="c")


def test_every_setting_belongs_to_a_group_and_has_a_help_text() -> None:
    for setting in SETTINGS.values():
        assert setting.group in GROUPS
        assert setting.help
        assert not setting.help.endswith(".")
    assert set(LISTENER_SETTINGS) < set(SETTINGS)
