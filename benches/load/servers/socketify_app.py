"""socketify, with synchronous handlers, its fastest kind, where it can: ``python socketify_app.py PORT``."""

import sys
from typing import Annotated, Any

import msgspec
import orjson
from socketify import App, AppListenOptions

FLAGS = {None: False, "true": True, "false": False}


class User(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    age: Annotated[int, msgspec.Meta(ge=0)] = 0


decode_user = msgspec.json.Decoder(User).decode
encode_user = msgspec.json.Encoder().encode


def index(res: Any, req: Any) -> None:
    res.write_header(b"content-type", b"text/plain; charset=utf-8")
    res.end(b"Hello, World!")


def read_user(res: Any, req: Any) -> None:
    try:
        id = int(req.get_parameter(0))
        verbose = FLAGS[req.get_query("verbose")]
    except (ValueError, KeyError):
        res.write_status(422).end(b"")
        return
    res.write_header(b"content-type", b"application/json")
    res.end(orjson.dumps({"id": id, "verbose": verbose}))


async def create_user(res: Any, req: Any) -> None:
    # A body can only be awaited: a response from the pool goes back to it when a synchronous handler returns.
    body = (await res.get_data()).getvalue()
    try:
        user = decode_user(body)
    except msgspec.DecodeError:
        res.cork(lambda res: res.write_status(422).end(b""))
        return

    def answer(res: Any) -> None:
        res.write_status(201)
        res.write_header(b"content-type", b"application/json")
        res.end(encode_user(user))

    res.cork(answer)


def main(port: int) -> None:
    app = App(request_response_factory_max_items=200_000)
    app.get("/", index)
    app.get("/users/:id", read_user)
    app.post("/users", create_user)
    app.listen(AppListenOptions(port=port, host="127.0.0.1"))
    app.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
