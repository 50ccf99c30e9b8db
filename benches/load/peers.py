"""Installs what the benches need: peers in a virtual environment of their own, wrk, h2load and nginx; compiles C files.

Everything lands in ``benches/load/.peers`` except system packages, which apt-get installs when we are root.
"""

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = HERE / ".peers"
REQUIREMENTS = HERE / "peers.txt"
PROTO = HERE.parents[1] / "proto"
INSTALL_SECONDS = 900
SYSTEM_PACKAGES = {
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "nghttp": "nghttp2-client",
    "nginx": "nginx",
    "openssl": "openssl",
}


class NotAvailable(Exception):
    """Something a server needs is not here; says what and why."""


def python() -> Path:
    return HOME / "venv" / "bin" / "python"


def packages() -> Path:
    """Where ``install`` puts the peers' distributions."""
    return HOME / "venv" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def require_command(name: str) -> None:
    """Raises NotAvailable when a system command is missing."""
    if shutil.which(name) is None:
        raise NotAvailable(f"no {name} on the PATH; install the system package {SYSTEM_PACKAGES.get(name, name)}")


def require(distribution: str) -> None:
    """Raises NotAvailable unless ``install`` put this distribution of peers.txt into the environment."""
    installed = _record().get("installed", {})
    if distribution not in installed:
        failed = _record().get("failed", {})
        raise NotAvailable(failed.get(distribution, f"{distribution} is not installed"))


def versions() -> dict[str, str]:
    """Versions of the installed peers, by distribution."""
    return dict(_record().get("installed", {}))


def _record() -> dict[str, dict[str, str]]:
    """What the last installation left: its fingerprint, what is there, what failed and why."""
    try:
        record: dict[str, dict[str, str]] = json.loads((HOME / "installed.json").read_text())
    except FileNotFoundError:
        return {}
    return record


def _fingerprint() -> str:
    return hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:16]


def install() -> None:
    """Make the peers' environment match peers.txt. A peer that does not install is recorded with pip's reason."""
    record = _record()
    if record.get("of", {}).get("fingerprint") == _fingerprint() and not record["failed"]:
        return
    print("installing the peers")
    if not python().exists():
        venv.create(HOME / "venv", with_pip=True)
    failed: dict[str, str] = {}
    if _pip("-r", str(REQUIREMENTS)) is not None:
        # One of them does not install here: take those that do, one by one, and keep the reasons of the others.
        for line in _requirements():
            if (reason := _pip(line)) is not None:
                failed[line.partition("==")[0]] = f"pip could not install {line}: {reason}"
    listing = subprocess.run(
        [str(python()), "-m", "pip", "list", "--format=json", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=True,
    )
    there = {entry["name"].lower().replace("_", "-"): entry["version"] for entry in json.loads(listing.stdout)}
    wanted = pinned()
    for name, version in wanted.items():
        if there.get(name) != version and name not in failed:
            failed[name] = f"{name} {there.get(name)} is installed, {version} is pinned"
    installed = {name: version for name, version in wanted.items() if name not in failed}
    done = {"of": {"fingerprint": _fingerprint()}, "installed": installed, "failed": failed}
    (HOME / "installed.json").write_text(json.dumps(done, indent=1))


def pinned() -> dict[str, str]:
    """Versions that peers.txt asks for, by distribution."""
    return dict(line.split("==") for line in _requirements())


def _requirements() -> list[str]:
    lines = (line.strip() for line in REQUIREMENTS.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _pip(*arguments: str) -> str | None:
    """Run pip install; None when it worked, else the last line of its complaint."""
    argv = [str(python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    finished = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if finished.returncode == 0:
        return None
    lines = [line for line in finished.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"status {finished.returncode}"


def install_system_packages() -> None:
    """Install missing system commands with apt-get when we may; what stays missing is said where it is needed."""
    missing = sorted({package for command, package in SYSTEM_PACKAGES.items() if shutil.which(command) is None})
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"missing system packages: {' '.join(missing)}; install them for the whole table", file=sys.stderr)
        return
    # RUNLEVEL=1 keeps the package scripts from starting nginx as a service.
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for argv in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
    ):
        finished = subprocess.run(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        if finished.returncode != 0:
            print(f"{' '.join(argv)} failed: {finished.stderr[-300:]}", file=sys.stderr)


@functools.cache
def generated() -> Path:
    """The folder of what protoc makes of proto/greeter.proto: the pinned protoc, or without it our own environment's.

    Raises NotAvailable with its complaint.
    """
    interpreter = str(python()) if "grpcio-tools" in _record().get("installed", {}) else sys.executable
    target = HOME / "generated"
    target.mkdir(parents=True, exist_ok=True)
    argv = [interpreter, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"--python_out={target}"]
    argv += [f"--grpc_python_out={target}", "greeter.proto"]
    finished = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if finished.returncode != 0:
        raise NotAvailable(f"greeter.proto does not compile: {finished.stderr[-300:]}")
    return target


@functools.cache
def compiled(name: str, *libraries: str) -> Path:
    """Compile a C file of this folder if its binary is older. Raises NotAvailable with the compiler's complaint."""
    source = HERE / name
    binary = HOME / source.stem
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        HOME.mkdir(exist_ok=True)
        compiler = os.environ.get("CC", "cc")
        require_command(compiler)
        argv = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(binary), str(source), *libraries]
        finished = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        if finished.returncode != 0:
            raise NotAvailable(f"{name} does not compile: {finished.stderr[-300:]}")
    return binary
