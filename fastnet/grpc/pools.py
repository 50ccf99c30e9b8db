"""Where descriptors of services are found: protobuf's own pool, and one for the services that we bring.

Ours are not in protobuf's pool, since the packages grpcio-health-checking and grpcio-reflection put theirs there
under the same names, which it takes once only. So either, both or none of them may be installed.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any, Final

from fastnet_ext.serve.grpc_values import EXTRA

__all__ = ["HEALTH", "REFLECTION", "find_service", "message_class", "pools", "protobuf"]

HEALTH: Final = "grpc.health.v1"
REFLECTION: Final = ("grpc.reflection.v1", "grpc.reflection.v1alpha")

# Messages by name: fields as (name, number, type), where the type is a scalar's, or a message's or an enum's full name;
# "*" before it is `repeated`, "map:" a map of strings to them, and a fourth item the oneof.
_HEALTH_MESSAGES: Final[dict[str, list[Any]]] = {
    "HealthCheckRequest": [("service", 1, "string")],
    "HealthCheckResponse": [("status", 1, "enum:HealthCheckResponse.ServingStatus")],
    "HealthListRequest": [],
    "HealthListResponse": [("statuses", 1, "map:HealthCheckResponse")],
}
_SERVING_STATUS: Final = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")

_REFLECTION_MESSAGES: Final[dict[str, list[Any]]] = {
    "ServerReflectionRequest": [
        ("host", 1, "string"),
        ("file_by_filename", 3, "string", "message_request"),
        ("file_containing_symbol", 4, "string", "message_request"),
        ("file_containing_extension", 5, "ExtensionRequest", "message_request"),
        ("all_extension_numbers_of_type", 6, "string", "message_request"),
        ("list_services", 7, "string", "message_request"),
    ],
    "ExtensionRequest": [("containing_type", 1, "string"), ("extension_number", 2, "int32")],
    "ServerReflectionResponse": [
        ("valid_host", 1, "string"),
        ("original_request", 2, "ServerReflectionRequest"),
        ("file_descriptor_response", 4, "FileDescriptorResponse", "message_response"),
        ("all_extension_numbers_response", 5, "ExtensionNumberResponse", "message_response"),
        ("list_services_response", 6, "ListServiceResponse", "message_response"),
        ("error_response", 7, "ErrorResponse", "message_response"),
    ],
    "FileDescriptorResponse": [("file_descriptor_proto", 1, "*bytes")],
    "ExtensionNumberResponse": [("base_type_name", 1, "string"), ("extension_number", 2, "*int32")],
    "ListServiceResponse": [("service", 1, "*ServiceResponse")],
    "ServiceResponse": [("name", 1, "string")],
    "ErrorResponse": [("error_code", 1, "int32"), ("error_message", 2, "string")],
}


def protobuf(module: str) -> Any:
    """A module of google.protobuf. ``ImportError`` names the extra."""
    try:
        return importlib.import_module(f"google.protobuf.{module}")
    except ImportError as error:
        raise ImportError(EXTRA) from error


def pools() -> tuple[Any, Any]:
    """The pools that descriptors are looked for in, in this order: of services that we bring, the messages are ours."""
    return _ours(), protobuf("descriptor_pool").Default()


def find_service(name: str) -> Any:
    """The descriptor of a service by its full name. ``KeyError`` when nobody knows it."""
    for pool in pools():
        try:
            return pool.FindServiceByName(name)
        except KeyError:
            continue
    raise KeyError(name)


def message_class(name: str) -> Any:
    """The class of one of our own messages, by its full name."""
    return protobuf("message_factory").GetMessageClass(_ours().FindMessageTypeByName(name))


@functools.cache
def _ours() -> Any:
    pool = protobuf("descriptor_pool").DescriptorPool()
    health = _file(HEALTH, "health", _HEALTH_MESSAGES)
    enum = next(each for each in health.message_type if each.name == "HealthCheckResponse").enum_type.add()
    enum.name = "ServingStatus"
    for number, name in enumerate(_SERVING_STATUS):
        enum.value.add(name=name, number=number)
    service = health.service.add(name="Health")
    _add_method(service, HEALTH, "Check", "HealthCheckRequest", "HealthCheckResponse")
    _add_method(service, HEALTH, "List", "HealthListRequest", "HealthListResponse")
    _add_method(service, HEALTH, "Watch", "HealthCheckRequest", "HealthCheckResponse", server=True)
    pool.AddSerializedFile(health.SerializeToString())
    for package in REFLECTION:
        file = _file(package, "reflection", _REFLECTION_MESSAGES)
        service = file.service.add(name="ServerReflection")
        messages = "ServerReflectionRequest", "ServerReflectionResponse"
        _add_method(service, package, "ServerReflectionInfo", *messages, client=True, server=True)
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def _file(package: str, name: str, messages: dict[str, list[Any]]) -> Any:
    file = protobuf("descriptor_pb2").FileDescriptorProto(
        name=f"{package.replace('.', '/')}/{name}.proto", package=package, syntax="proto3"
    )
    for message, fields in messages.items():
        descriptor = file.message_type.add(name=message)
        for field in fields:
            _add_field(descriptor, package, *field)
    return file


def _add_field(message: Any, package: str, name: str, number: int, kind: str, oneof: str | None = None) -> None:
    types = protobuf("descriptor_pb2").FieldDescriptorProto
    if kind.startswith("map:"):
        # On the wire a map is a repeated message of key and value (protobuf's language guide, "Maps").
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _add_field(entry, package, "key", 1, "string")
        _add_field(entry, package, "value", 2, kind.removeprefix("map:"))
        kind = f"*{message.name}.{entry.name}"
    repeated, kind = kind.startswith("*"), kind.removeprefix("*")
    field = message.field.add(name=name, number=number)
    field.label = types.LABEL_REPEATED if repeated else types.LABEL_OPTIONAL
    if kind.islower():
        field.type = getattr(types, f"TYPE_{kind.upper()}")
    else:
        is_enum, kind = kind.startswith("enum:"), kind.removeprefix("enum:")
        field.type = types.TYPE_ENUM if is_enum else types.TYPE_MESSAGE
        field.type_name = f".{package}.{kind}"
    if oneof is not None:
        names = [each.name for each in message.oneof_decl]
        if oneof not in names:
            message.oneof_decl.add(name=oneof)
            names.append(oneof)
        field.oneof_index = names.index(oneof)


def _add_method(
    service: Any, package: str, name: str, request: str, reply: str, *, client: bool = False, server: bool = False
) -> None:
    service.method.add(
        name=name,
        input_type=f".{package}.{request}",
        output_type=f".{package}.{reply}",
        client_streaming=client,
        server_streaming=server,
    )
