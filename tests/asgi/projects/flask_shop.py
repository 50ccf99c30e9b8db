"""A Flask application: sessions, forms, files, streams."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, redirect, request, send_file, session, stream_with_context, url_for


def create_app(title: str = "shop", *, greeting: str = "hello") -> Flask:
    """The application."""
    app = Flask(__name__)
    app.secret_key = "only for tests"
    ended: list[str] = []

    @app.get("/")
    def index() -> dict[str, Any]:
        return {
            "title": title,
            "greeting": greeting,
            "url": request.url,
            "root": request.script_root,
            "path": request.path,
            "other": url_for("name"),
            "query": request.args.to_dict(flat=False),
            "address": request.remote_addr,
            "secure": request.is_secure,
        }

    @app.route("/name", methods=["GET", "POST"])
    def name() -> Any:
        if request.method == "POST":
            session["name"] = request.form["name"]
            return redirect(url_for("name"))
        return session.get("name", "nobody")

    @app.post("/upload")
    def upload() -> dict[str, Any]:
        file = request.files["file"]
        digest = hashlib.sha256(file.stream.read()).hexdigest()
        return {"name": file.filename, "hash": digest, "note": request.form["note"]}

    @app.post("/raw")
    def raw() -> dict[str, Any]:
        digest, size = hashlib.sha256(), 0
        while chunk := request.stream.read(10_000):
            digest.update(chunk)
            size += len(chunk)
        return {"size": size, "hash": digest.hexdigest()}

    @app.post("/json")
    def json() -> dict[str, Any]:
        return {"doubled": request.get_json()["number"] * 2}

    @app.get("/stream")
    def stream() -> Response:
        def pieces() -> Iterator[str]:
            for at in range(50):
                yield f"{request.args['word']} {at}\n"

        return Response(stream_with_context(pieces()), mimetype="text/plain")

    @app.get("/endless")
    def endless() -> Response:
        def pieces() -> Iterator[bytes]:
            try:
                while True:
                    yield bytes(10_000)
            finally:
                ended.append(request.path)

        return Response(stream_with_context(pieces()))

    @app.get("/ended")
    def told() -> list[str]:
        return ended

    @app.get("/file")
    def file() -> Response:
        return send_file(Path(__file__), conditional=True)

    @app.get("/fails")
    def fails() -> str:
        raise LookupError("of the view")

    @app.get("/forbidden")
    def forbidden() -> str:
        abort(403, "not you")

    return app
