"""The JSON form of messages, by protobuf's own mapping (protobuf.dev/programming-guides/json)."""

from __future__ import annotations

from typing import Any

from fastnet.grpc.pools import find_service, protobuf
from fastnet_ext.serve.connect import Transcoder

__all__ = ["transcoder_for"]


def transcoder_for(path: str) -> Transcoder | None:
    """What makes JSON of a method's messages, and messages of JSON.

    ``path`` is "/package.Service/Method". None when protobuf does not know the method: its ``_pb2`` module
    was not imported, or its messages are not protobuf's. ``ImportError`` without the extra ``grpc``.
    """
    service, _, name = path.removeprefix("/").rpartition("/")
    try:
        method = find_service(service).methods_by_name[name]
    except KeyError:
        return None
    message_class = protobuf("message_factory").GetMessageClass
    return _transcoder(message_class(method.input_type), message_class(method.output_type))


def _transcoder(request_type: Any, reply_type: Any) -> Transcoder:
    json_format = protobuf("json_format")

    def request_from_json(data: bytes) -> bytes:
        try:
            # Fields of a newer .proto file are no error, as in the binary form.
            message = json_format.Parse(data.decode(), request_type(), ignore_unknown_fields=True)
            return message.SerializeToString()  # type: ignore[no-any-return]
        except Exception as error:
            # Whatever a plain Python parser makes of hostile input (a RecursionError, say) is the caller's mistake.
            raise ValueError(f"the message is no {request_type.DESCRIPTOR.full_name} in JSON: {error}") from error

    def reply_to_json(data: bytes) -> bytes:
        text: str = json_format.MessageToJson(reply_type.FromString(data), indent=None, ensure_ascii=False)
        return text.encode()

    return Transcoder(request_from_json, reply_to_json)
