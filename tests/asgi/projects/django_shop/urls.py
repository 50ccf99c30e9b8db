"""The project's views."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.contrib.auth.models import User
from django.http import FileResponse, HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.views.decorators.csrf import csrf_exempt

from .settings import FOLDER


def request(request: Any, name: str = "") -> Any:
    """What arrived of the request."""
    return JsonResponse(
        {
            "method": request.method,
            "path": request.path,
            "path_info": request.path_info,
            "name": name,
            "query": dict(request.GET.lists()),
            "uri": request.build_absolute_uri(),
            "reverse": reverse("form"),
            "address": request.META["REMOTE_ADDR"],
            "agent": request.headers.get("x-agent"),
            "kind": type(request).__name__,
        }
    )


def form(request: Any) -> Any:
    """A form with a CSRF token whose value is kept in the session."""
    if request.method == "POST":
        request.session["name"] = request.POST["name"]
        return HttpResponseRedirect(reverse("form"))
    return render(request, "form.html", {"name": request.session.get("name", "nobody")})


@csrf_exempt
def upload(request: Any) -> Any:
    """A file's size and hash; it is on disk when it is large."""
    file = request.FILES["file"]
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    found = {"name": file.name, "size": file.size, "hash": digest.hexdigest(), "note": request.POST["note"]}
    return JsonResponse(found | {"kind": type(file).__name__})


@csrf_exempt
async def users(request: Any) -> Any:
    """An async view that writes to and reads from the database."""
    if request.method == "POST":
        await User.objects.acreate(username=json.loads(request.body)["name"])
    await asyncio.gather(*[asyncio.sleep(0) for _ in range(3)])
    return JsonResponse({"users": [user.username async for user in User.objects.order_by("username")]})


def stream(request: Any) -> Any:
    """A body in pieces, made as the interface likes it."""

    def pieces() -> Iterator[str]:
        for at in range(50):
            yield f"line {at}\n"

    async def async_pieces() -> AsyncIterator[str]:
        for piece in pieces():
            await asyncio.sleep(0)
            yield piece

    made = async_pieces() if "async" in request.GET else pieces()
    return StreamingHttpResponse(made, content_type="text/plain")


def file(request: Any) -> Any:
    return FileResponse((FOLDER / "static" / "shop.css").open("rb"))


def fails(request: Any) -> Any:
    raise LookupError("of the view")


urlpatterns = [
    path("", request),
    path("named/<path:name>", request),
    path("form/", form, name="form"),
    path("upload/", upload),
    path("users/", users),
    path("stream/", stream),
    path("file/", file),
    path("nothing/", lambda request: HttpResponse(status=204)),
    path("fails/", fails),
]
