"""``app.grpc.reflection()``: the services and their descriptors, as grpc.reflection.v1 and v1alpha tell of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, Final

from fastnet.grpc.pools import message_class, pools
from fastnet_ext.serve.grpc_context import ServicerContext

__all__ = ["Reflection"]

# Codes of an ErrorResponse, which are gRPC's.
INVALID_ARGUMENT: Final = 3
NOT_FOUND: Final = 5


class Reflection:
    """The service ServerReflection of one version, given by its package. ``services`` names those that there are."""

    def __init__(self, package: str, services: Callable[[], Collection[str]]) -> None:
        self._services = services
        self._response = message_class(f"{package}.ServerReflectionResponse")

    async def ServerReflectionInfo(self, requests: AsyncIterator[Any], context: ServicerContext) -> AsyncIterator[Any]:
        """Answer each question in turn. What is not found is an answer, and does not end the call."""
        async for request in requests:
            response = self._response(valid_host=request.host, original_request=request)
            try:
                self._answer(request, response)
            except KeyError as error:
                response.error_response.error_code = NOT_FOUND
                response.error_response.error_message = str(error.args[0])
            yield response

    def _answer(self, request: Any, response: Any) -> None:
        asked = request.WhichOneof("message_request")
        if asked == "list_services":
            for name in sorted(self._services()):
                response.list_services_response.service.add(name=name)
        elif asked == "file_by_filename":
            self._add_files(response, _find("FindFileByName", request.file_by_filename))
        elif asked == "file_containing_symbol":
            self._add_files(response, _file_with(request.file_containing_symbol))
        elif asked == "file_containing_extension":
            extension = request.file_containing_extension
            self._add_files(response, _find_extension(extension.containing_type, extension.extension_number).file)
        elif asked == "all_extension_numbers_of_type":
            name = request.all_extension_numbers_of_type
            message = _find("FindMessageTypeByName", name)
            answer = response.all_extension_numbers_response
            answer.base_type_name = name
            answer.extension_number.extend(sorted(each.number for each in message.file.pool.FindAllExtensions(message)))
        else:
            response.error_response.error_code = INVALID_ARGUMENT
            response.error_response.error_message = "the request asks for nothing that is known here"

    def _add_files(self, response: Any, file: Any) -> None:
        """Add a file, and then each that it depends on: whoever asks need not ask again for them."""
        found = {file.name: file}
        todo = [file]
        while todo:
            for dependency in todo.pop().dependencies:
                if dependency.name not in found:
                    found[dependency.name] = dependency
                    todo.append(dependency)
        response.file_descriptor_response.file_descriptor_proto.extend(each.serialized_pb for each in found.values())


def _find(method: str, name: str) -> Any:
    for pool in pools():
        try:
            return getattr(pool, method)(name)
        except KeyError:
            continue
    raise KeyError(f"{name!r} is not known here")


def _file_with(symbol: str) -> Any:
    try:
        return _find("FindFileContainingSymbol", symbol)
    except KeyError:
        # Not every version of protobuf knows methods by their full names.
        service, _, name = symbol.rpartition(".")
        for pool in pools():
            try:
                return pool.FindServiceByName(service).methods_by_name[name].containing_service.file
            except KeyError:
                continue
        raise


def _find_extension(name: str, number: int) -> Any:
    message = _find("FindMessageTypeByName", name)
    try:
        return message.file.pool.FindExtensionByNumber(message, number)
    except KeyError:
        raise KeyError(f"{name} has no extension {number}") from None
