"""The Open Inference Protocol over gRPC: the same models, turns and limits as over HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

from convsmith.errors import ConvsmithError, require_extra
from convsmith.serve.asked import Asked
from convsmith.serve.grpc_messages import METHODS, SERVICE, messages
from convsmith.serve.inference import Inference, Wanted, answer_tensors
from convsmith.serve.problems import Problem, in_a_line
from convsmith.serve.rates import Rates
from convsmith.serve.request_record import RequestRecord
from convsmith.serve.routes.inference import described, server_description
from convsmith.serve.routes.repository import check_control, index_of, load_all
from convsmith.serve.service import Service
from convsmith.serve.tensors import BYTES, NUMBERS, Tensor, tensor_of_bytes, tensor_of_values
from convsmith.serve.tokens import Tokens

AT_ONCE = 64  # calls of all clients, each of which may hold a message of the largest size
FINISH_SECONDS = 5
_ROOM = 100_000  # bytes of a message beside its tensors
_CODES = {
    401: "UNAUTHENTICATED",
    429: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_CONTENTS = {"UINT8": "uint_contents", "INT64": "int64_contents", "FP32": "fp32_contents", BYTES: "bytes_contents"}

logger = logging.getLogger(__name__)

Recorder = Callable[[RequestRecord], AbstractContextManager[None]]
"""A block in which the request of a record is answered."""


@asynccontextmanager
async def serving_grpc(
    service: Service, tokens: Tokens | None, rates: Rates | None, recorder: Recorder
) -> AsyncIterator[None]:
    """Answer gRPC at the address that the settings name while the block runs; without one, nothing.

    The port that it came to is the service's `grpc_port`.

    Args:
        service: what answers.
        tokens: those that count; None: all may ask.
        rates: how often each client may ask; None: as often as it wants.
        recorder: gives a block in which a call is answered, and which ends its record.

    Raises:
        ConvsmithError: the package is missing, or the address cannot be used.
    """
    address = service.settings.grpc
    if address is None:
        yield
        return
    grpc = require_grpc()
    server = grpc.aio.server(
        maximum_concurrent_rpcs=AT_ONCE,
        options=[
            ("grpc.max_receive_message_length", service.settings.max_bytes + _ROOM),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_connection_idle_ms", 300_000),
        ],
    )
    calls, known = _Calls(service, tokens, rates, recorder), messages()
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            calls.guarded(getattr(calls, name)),
            request_deserializer=known[f"{name}Request"].FromString,
            response_serializer=known[f"{name}Response"].SerializeToString,
        )
        for name in METHODS
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    try:
        service.grpc_port = _bind(server, address, service)
    except (RuntimeError, OSError) as error:
        why = str(error)
        raise ConvsmithError(f"cannot listen on {address} for gRPC", why, "Choose another --grpc-port.") from error
    await server.start()
    try:
        yield
    finally:
        await server.stop(FINISH_SECONDS)


def require_grpc() -> Any:
    """The package `grpc`; a ConvsmithError if it is not installed."""
    try:
        import grpc
        import grpc.aio
    except ModuleNotFoundError as error:
        raise require_extra("grpcio", "--grpc-port", "grpc") from error
    return grpc


def _bind(server: Any, address: str, service: Service) -> int:
    settings = service.settings
    if settings.certfile is None:
        port: int = server.add_insecure_port(address)
        return port
    certificate, key = settings.certfile.read_bytes(), (settings.keyfile or settings.certfile).read_bytes()
    secured: int = server.add_secure_port(address, require_grpc().ssl_server_credentials([(key, certificate)]))
    return secured


class _Calls:
    """The methods of the service; each has the name of what it answers."""

    def __init__(self, service: Service, tokens: Tokens | None, rates: Rates | None, recorder: Recorder) -> None:
        self._service, self._tokens, self._rates, self._recorder = service, tokens, rates, recorder
        self._messages = messages()

    def guarded(self, call: Callable[[Any, str], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
        """A method as gRPC calls it, whose problems become codes of status."""
        status = require_grpc().StatusCode

        async def answer(request: Any, context: Any) -> Any:
            record = _record_of(getattr(call, "__name__", ""), request, context)
            with self._recorder(record):
                await context.send_initial_metadata((("x-request-id", record.id),))
                try:
                    self._check(record.client, dict(context.invocation_metadata() or ()))
                    said = await call(request, record.client)
                except Problem as problem:
                    record.status = problem.status
                    code = getattr(status, _CODES.get(problem.status, "INVALID_ARGUMENT"))
                    await context.abort(code, in_a_line(problem.body))
                except Exception:
                    record.status = 500
                    logger.exception("a call of gRPC failed")
                    await context.abort(status.INTERNAL, "internal error: it was logged by the server")
                record.status, record.sent = 200, said.ByteSize()
                return said

        return answer

    def _check(self, client: str, given: Mapping[str, Any]) -> None:
        """Raise a `Problem` unless the client may ask now."""
        if self._tokens and not self._tokens.allow(str(given.get("authorization", ""))):
            raise Problem(401, "a token is needed", "authorization: Bearer TOKEN")
        if self._rates and self._rates.seconds_to_wait(client) > 0:
            raise Problem(429, "too many calls", "wait a moment")

    async def ServerLive(self, _: Any, __: str) -> Any:  # noqa: N802  # the protocol's names
        """Whether the process is alive and can become ready."""
        return self._said("ServerLive", live=_holds(self._service.check_alive))

    async def ServerReady(self, _: Any, __: str) -> Any:  # noqa: N802
        """Whether the models are loaded and take requests."""
        return self._said("ServerReady", ready=_holds(self._service.check_ready))

    async def ModelReady(self, request: Any, _: str) -> Any:  # noqa: N802
        """Whether a model answers."""

        def check() -> None:
            self._service.models.find(request.name or None, request.version or None).check_usable()

        return self._said("ModelReady", ready=_holds(check))

    async def ServerMetadata(self, _: Any, __: str) -> Any:  # noqa: N802
        """The server, and the extensions that it knows."""
        return self._said("ServerMetadata", **server_description(self._service).model_dump())

    async def ModelMetadata(self, request: Any, _: str) -> Any:  # noqa: N802
        """The tensors of a model."""
        found = await self._service.find(request.name, request.version or None)
        return self._said("ModelMetadata", **described(self._service, *found).model_dump())

    async def ModelInfer(self, request: Any, client: str) -> Any:  # noqa: N802
        """Answer preprocessed images, or image files, with tensors."""
        model, bundle = await self._service.find(request.model_name, request.model_version or None)
        question = Inference(_inputs(request), [_wanted(it) for it in request.outputs], request.id)
        left: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # who leaves cancels the call
        with self._service.admitted():
            asked = Asked(model, bundle, client, "the image")
            outputs = await answer_tensors(self._service, asked, question, left)
        answer = self._said("ModelInfer", model_name=model.name, model_version=model.version, id=request.id)
        is_raw = bool(request.raw_input_contents)
        for it in outputs:
            described_output = answer.outputs.add(name=it.name, datatype=it.datatype, shape=it.shape)
            if is_raw:
                answer.raw_output_contents.append(it.to_bytes())
            else:
                values = it.values if isinstance(it.values, list) else it.values.ravel().tolist()
                getattr(described_output.contents, _CONTENTS[it.datatype]).extend(values)
        return answer

    async def RepositoryIndex(self, request: Any, _: str) -> Any:  # noqa: N802
        """All versions of all models, or those that answer."""
        found = index_of(self._service, ready=request.ready)
        return self._said("RepositoryIndex", models=[it.model_dump() for it in found])

    async def RepositoryModelLoad(self, request: Any, _: str) -> Any:  # noqa: N802
        """Load all versions of a model, anew where they are in memory."""
        check_control(self._service)
        name = request.model_name or request.repository_name
        await load_all(self._service, name)
        return self._said("RepositoryModelLoad", model_name=name, isLoaded=True)

    async def RepositoryModelUnload(self, request: Any, _: str) -> Any:  # noqa: N802
        """Put all versions of a model out of memory."""
        check_control(self._service)
        name = request.model_name or request.repository_name
        await self._service.unload(name)
        return self._said("RepositoryModelUnload", model_name=name, isUnloaded=True)

    def _said(self, method: str, /, **fields: Any) -> Any:
        return self._messages[f"{method}Response"](**fields)


def _record_of(method: str, request: Any, context: Any) -> RequestRecord:
    """The record of a call: a POST, as gRPC has it, whose status is that of the same problem over HTTP."""
    path = f"/{SERVICE}/{method}"
    client = context.peer().partition(":")[2].rpartition(":")[0].strip("[]")  # of ipv4:ADDRESS:PORT
    record = RequestRecord(client=client, method="POST", path=path, route=path, received=request.ByteSize())
    given = list(context.invocation_metadata() or ())
    record.take_over(
        str(dict(given).get("x-request-id", "")), [str(value) for name, value in given if name == "traceparent"]
    )
    return record


def _holds(check: Callable[[], None]) -> bool:
    try:
        check()
    except Problem:
        return False
    return True


def _inputs(request: Any) -> list[Tensor]:
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise Problem(400, f"there are {len(raw)} raw contents", f"and {len(request.inputs)} inputs")
    inputs = list[Tensor]()
    for number, it in enumerate(request.inputs):
        if raw:
            inputs.append(tensor_of_bytes(it.name, it.datatype, it.shape, raw[number]))
        elif it.datatype in (BYTES, *NUMBERS):
            values = list(getattr(it.contents, _CONTENTS[it.datatype]))
            inputs.append(tensor_of_values(it.name, it.datatype, it.shape, values))
        else:
            inputs.append(tensor_of_bytes(it.name, it.datatype, it.shape, b""))
    return inputs


def _wanted(output: Any) -> Wanted:
    return Wanted.parse(output.name, output.parameters["classification"].int64_param)  # 0 where there is none
