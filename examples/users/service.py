"""The service: ``USERS_TOKEN=… fastnet run examples.users.service:app --tls-cert cert.pem --tls-key key.pem``.

``user_pb2`` is protoc's output of ``proto/user.proto``. The methods are plain ``def`` functions, since SQLite
blocks: they run in the pool of threads. ``USERS_DATABASE`` names the file.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import user_pb2 as pb  # protoc's output, found by examples/__init__.py

from examples.users.store import Invalid, NotFound, Stale, StoredUser, StoreError, Taken, UserStore
from fastnet import App
from fastnet.grpc import InterceptedCall, Next, SyncServicerContext

app = App(title="users")

# Which status each failure of the store is.
CODES = {
    Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Taken: grpc.StatusCode.ALREADY_EXISTS,
    Stale: grpc.StatusCode.ABORTED,
}
CHANGEABLE = {"name", "email"}


@app.lifespan
async def lifespan(app: App) -> AsyncIterator[None]:
    """Open the database; without a token nobody may call, so that is an error at once."""
    if not os.environ.get("USERS_TOKEN"):
        raise RuntimeError("USERS_TOKEN is not set: it is the token that clients have to send")
    app.state.token = os.environ["USERS_TOKEN"]
    app.state.store = UserStore(os.environ.get("USERS_DATABASE", ":memory:"))
    yield
    app.state.store.close()


@app.grpc.interceptor
async def authenticated(call: InterceptedCall, next: Next) -> Any:
    """Let calls pass that bring the token; load balancers have none, and ask for the health only."""
    scheme, _, token = str(dict(call.metadata).get("authorization", "")).partition(" ")
    known = scheme.lower() == "bearer" and hmac.compare_digest(token.encode(), app.state.token.encode())
    if not known and not call.method.startswith("/grpc.health.v1.Health/"):
        await call.context.abort(grpc.StatusCode.UNAUTHENTICATED, "a bearer token is needed")
    return await next(call)


@contextmanager
def statuses(context: SyncServicerContext) -> Iterator[UserStore]:
    """The store, whose failures end the call with their status."""
    try:
        store: UserStore = app.state.store
        yield store
    except StoreError as error:
        context.abort(CODES[type(error)], str(error))


def message(user: StoredUser) -> pb.User:
    """A user as it is sent."""
    sent = pb.User(id=user.id, name=user.name, email=user.email, version=user.version)
    sent.created_at.FromNanoseconds(int(user.created_at * 1e9))
    return sent


@app.grpc.service("user.UserService", max_message=64 * 1024)
class UserService:
    """user.UserService."""

    def GetUser(self, request: pb.GetUserRequest, context: SyncServicerContext) -> pb.User:
        with statuses(context) as store:
            return message(store.get(request.id))

    def CreateUser(self, request: pb.CreateUserRequest, context: SyncServicerContext) -> pb.User:
        with statuses(context) as store:
            return message(store.create([(request.name, request.email)])[0])

    def UpdateUser(self, request: pb.UpdateUserRequest, context: SyncServicerContext) -> pb.User:
        with statuses(context) as store:
            paths = set(request.update_mask.paths) or CHANGEABLE
            if not paths <= CHANGEABLE:
                raise Invalid(f"only name and email can be changed, not {', '.join(sorted(paths - CHANGEABLE))}")
            user = request.user
            changes = {name: getattr(user, name) if name in paths else None for name in ("name", "email")}
            return message(store.update(user.id, version=user.version, **changes))

    def DeleteUser(self, request: pb.DeleteUserRequest, context: SyncServicerContext) -> pb.DeleteUserResponse:
        with statuses(context) as store:
            store.delete(request.id)
            return pb.DeleteUserResponse()

    def ListUsers(self, request: pb.ListUsersRequest, context: SyncServicerContext) -> Iterator[pb.User]:
        with statuses(context) as store:
            if request.limit < 0:
                raise Invalid("a limit is at least 0, which is none")
            for user in store.list(request.name_prefix, request.limit):
                yield message(user)

    def CreateUsers(self, requests: Any, context: SyncServicerContext) -> pb.CreateUsersResponse:
        with statuses(context) as store:
            users = store.create((request.name, request.email) for request in requests)
            return pb.CreateUsersResponse(ids=[user.id for user in users])


health = app.grpc.health()
app.grpc.reflection()
