"""A client of the service: TLS, the token in each call, and retries of what may be tried again.

``USERS_TOKEN=… python -m examples.users.client localhost:8000 cert.pem`` lists the users.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import user_pb2 as pb
import user_pb2_grpc as pb_grpc

# Only what changes nothing, or leaves the same when done twice, is sent again after UNAVAILABLE.
REPEATABLE = ("GetUser", "ListUsers", "DeleteUser")
SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": "user.UserService", "method": method} for method in REPEATABLE],
            "timeout": "10s",
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


@contextmanager
def connected(address: str, token: str, certificate: bytes | None = None) -> Iterator[Any]:
    """The service's stub. ``certificate``: the root that the server's comes from, in PEM; None: those of the system."""
    credentials = grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(certificate), grpc.access_token_call_credentials(token)
    )
    options = [("grpc.service_config", json.dumps(SERVICE_CONFIG)), ("grpc.enable_retries", 1)]
    with grpc.secure_channel(address, credentials, options) as channel:
        yield pb_grpc.UserServiceStub(channel)


def main(address: str, certificate: str | None = None) -> None:
    """Print the users of a service."""
    root = Path(certificate).read_bytes() if certificate else None
    with connected(address, os.environ["USERS_TOKEN"], root) as stub:
        for user in stub.ListUsers(pb.ListUsersRequest()):
            print(user.id, user.name, user.email)


if __name__ == "__main__":
    main(*sys.argv[1:])
