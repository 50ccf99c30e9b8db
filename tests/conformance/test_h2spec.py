"""h2spec against a served app, in cleartext and over TLS, with its strict cases.

h2spec knows RFC 7540. Where RFC 9113 says otherwise its verdict is not ours: such cases stand in ``DIFFERS``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from fastnet import App, Request
from tests.wire.live import Live, live
from tests.wire.tls import Files, issue

# "http2/5.1: the case's title": the section of RFC 9113 that allows our answer, and why. All cases pass.
DIFFERS: dict[str, str] = {}

CASES = 140  # at least: h2spec without --strict, or cut off midway, runs fewer
LIMIT = 240  # seconds for all cases
PATIENCE = "5"  # seconds that one of them waits for its answer; a failure costs as many


def h2spec() -> str:
    """Where it is: on the path, or where Go installs programs."""
    places = os.pathsep.join((os.environ.get("PATH", ""), os.environ.get("GOBIN", ""), str(Path.home() / "go" / "bin")))
    found = shutil.which("h2spec", path=places)
    if found is not None:
        return found
    if shutil.which("go") is None:
        # Not a skip, which STRICT=1 would refuse: there is nothing that could be installed.
        pytest.xfail("h2spec is not here, and without Go it cannot be had")
    pytest.skip("h2spec is missing: go install github.com/summerwind/h2spec/cmd/h2spec@latest")


def make_app() -> App:
    """A route that answers behind the request's body: what is wrong with a later frame comes before the answer."""
    app = App()

    @app.route("/", methods=["GET", "POST"])
    async def index(request: Request) -> bytes:
        return b"Hello, World! " + await request.body()

    return app


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return issue(tmp_path_factory.mktemp("certificates"), trustme.CA(), "server", "localhost", "127.0.0.1")


@pytest.fixture(params=["cleartext", "tls"])
def served(request: pytest.FixtureRequest, files: Files) -> Iterator[tuple[Live, list[str]]]:
    """The server, and how h2spec reaches it."""
    if request.param == "tls":
        with live(make_app(), tls_cert=files.cert, tls_key=files.key) as server:
            yield server, ["-t", "-k"]
    else:
        with live(make_app()) as server:
            yield server, []


def failures(report: Path) -> tuple[int, dict[str, str]]:
    """How many cases ran, and those that did not pass: what h2spec expected and saw of each."""
    count, found = 0, {}
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        for case in suite.iter("testcase"):
            count += 1
            trouble = [part for part in case if part.tag in ("failure", "error", "skipped")]
            if trouble:
                said = re.sub(r"\s+", " ", " ".join(trouble[0].itertext())).strip()
                found[f"{suite.attrib['package']}: {case.attrib['classname']}"] = said
    return count, found


def test_every_case_passes(served: tuple[Live, list[str]], tmp_path: Path) -> None:
    program = h2spec()
    server, options = served
    report = tmp_path / "report.xml"
    command = [program, "-h", "127.0.0.1", "-p", str(server.port), "--strict", "-o", PATIENCE, "-j", str(report)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert report.exists(), done.stdout + done.stderr
    count, found = failures(report)
    assert count >= CASES
    assert (done.returncode == 0) == (not found), done.stdout + done.stderr
    assert {name: said for name, said in found.items() if name not in DIFFERS} == {}
    # What passes has no place in the list.
    assert set(DIFFERS) <= set(found)


def test_a_failure_is_found(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        """<testsuites><testsuite name="6.7. PING" package="http2/6.7" id="6.7">
        <testcase package="http2/6.7" classname="Sends a PING frame"></testcase>
        <testcase package="http2/6.7" classname="Sends a PING frame with ACK">
          <failure>GOAWAY Frame
          (Error Code: PROTOCOL_ERROR)</failure></testcase></testsuite></testsuites>"""
    )
    assert failures(report) == (
        2,
        {"http2/6.7: Sends a PING frame with ACK": "GOAWAY Frame (Error Code: PROTOCOL_ERROR)"},
    )
