"""Serving over gRPC: the Open Inference Protocol, health and reflection, on the event loop that HTTP runs on."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from typing_extensions import override

from millrace_kernel.errors import TransientError
from millrace_service.process import Component
from millrace_serving.application.errors import (
    ModelNotLoadedError,
    NoAnswerError,
    UnknownModelError,
)
from millrace_serving.application.hot import Plans
from millrace_serving.application.inference import Answered, Inference
from millrace_serving.bootstrap import Parts
from millrace_serving.domain.errors import RequestRefusedError
from millrace_serving.entrypoints.bodies import LARGEST_BODY
from millrace_serving.entrypoints.catalogue import EXTENSIONS, VERSION, Catalogue
from millrace_serving.entrypoints.general import ANSWERED_IN_PLACE
from millrace_serving.entrypoints.grpc_hot import HotCalls
from millrace_serving.entrypoints.grpc_messages import answer_of, question_of
from open_inference_proto import open_inference_pb2 as protocol

logger = logging.getLogger(__name__)

SERVICE = "inference.GRPCInferenceService"
GRACE_SECONDS = 5.0  # for requests that are under way when the service stops

STATUS: dict[type[Exception], grpc.StatusCode] = {
    RequestRefusedError: grpc.StatusCode.INVALID_ARGUMENT,
    UnknownModelError: grpc.StatusCode.NOT_FOUND,
    NoAnswerError: grpc.StatusCode.UNAVAILABLE,
    TransientError: grpc.StatusCode.UNAVAILABLE,
}  # as entrypoints.general has them for HTTP; a message that is too large is gRPC's own RESOURCE_EXHAUSTED
_REFUSALS = tuple(STATUS)
_OPTIONS = (
    ("grpc.max_receive_message_length", LARGEST_BODY),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # a port that is taken is an error, not a share in its requests
)

_Context = Any  # grpc has no types
_Request = TypeVar("_Request", bound=Message)
_Call = Callable[[_Request], Awaitable[Message]]


class Calls:
    """The protocol's calls. `ready`: history has been read, and the stream is being answered."""

    def __init__(
        self,
        inference: Inference,
        plans: Plans,
        catalogue: Catalogue,
        ready: Callable[[], bool],
    ) -> None:
        self._hot = HotCalls(plans)
        self._inference = inference
        self._catalogue = catalogue
        self._ready = ready

    def handler(self) -> grpc.GenericRpcHandler:
        """All of them, with their refusals as status codes."""
        methods = [
            _method(self.server_live, protocol.ServerLiveRequest),
            _method(self.server_ready, protocol.ServerReadyRequest),
            _method(self.model_ready, protocol.ModelReadyRequest),
            _method(self.server_metadata, protocol.ServerMetadataRequest),
            _method(self.model_metadata, protocol.ModelMetadataRequest),
            _method(self.model_statistics, protocol.ModelStatisticsRequest),
            _method(self.repository_index, protocol.RepositoryIndexRequest),
        ]
        # bytes in and bytes out: what is not needed of the messages is not made
        infer = grpc.unary_unary_rpc_method_handler(self._infer_bytes)
        return grpc.method_handlers_generic_handler(SERVICE, {**dict(methods), "ModelInfer": infer})

    async def server_live(self, _: protocol.ServerLiveRequest) -> protocol.ServerLiveResponse:
        return protocol.ServerLiveResponse(live=True)

    async def server_ready(self, _: protocol.ServerReadyRequest) -> protocol.ServerReadyResponse:
        return protocol.ServerReadyResponse(ready=self._ready())

    async def model_ready(self, request: protocol.ModelReadyRequest) -> protocol.ModelReadyResponse:
        ready = self._ready() and self._inference.is_ready(request.name, request.version or None)
        return protocol.ModelReadyResponse(ready=ready)

    async def server_metadata(
        self, _: protocol.ServerMetadataRequest
    ) -> protocol.ServerMetadataResponse:
        return protocol.ServerMetadataResponse(
            name="millrace", version=VERSION, extensions=[*EXTENSIONS]
        )

    async def model_metadata(
        self, request: protocol.ModelMetadataRequest
    ) -> protocol.ModelMetadataResponse:
        self._check_ready()
        await self._inference.loaded(request.name)
        metadata = self._inference.metadata(request.name, request.version or None)
        return protocol.ModelMetadataResponse(**metadata)

    async def model_statistics(
        self, request: protocol.ModelStatisticsRequest
    ) -> protocol.ModelStatisticsResponse:
        self._check_ready()
        found = self._catalogue.statistics(request.name or None, request.version or None)
        return protocol.ModelStatisticsResponse(**found)

    async def repository_index(
        self, request: protocol.RepositoryIndexRequest
    ) -> protocol.RepositoryIndexResponse:
        self._check_ready()
        return protocol.RepositoryIndexResponse(
            models=[
                protocol.RepositoryIndexResponse.ModelIndex(**entry)
                for entry in self._catalogue.index(ready_only=request.ready)
            ]
        )

    def _check_ready(self) -> None:
        if not self._ready():
            raise NoAnswerError("this instance is still reading history; try again in a moment")

    async def _infer_bytes(self, content: bytes, context: _Context) -> bytes:
        try:
            self._check_ready()
            with self._inference.asked():
                return await self._infer(content)
        except _REFUSALS as error:
            await _refuse(error, context)

    async def _infer(self, content: bytes) -> bytes:
        """The answer to any request. Raises what STATUS names."""
        request = _read(content)
        at_once = self._hot.answer(request)
        if at_once is not None:
            return at_once
        if len(content) <= ANSWERED_IN_PLACE:
            try:
                answered, response = self._answer(request)
            except ModelNotLoadedError:
                await self._inference.loaded(request.model_name)
                answered, response = self._answer(request)
        else:
            await self._inference.loaded(request.model_name)
            answered, response = await asyncio.to_thread(self._answer, request)
        if answered.to_explain is not None:
            await self._inference.explain(answered)
            response = _written(answered, request)
        await self._inference.publish(answered)
        return response

    def _answer(self, request: protocol.ModelInferRequest) -> tuple[Answered, bytes]:
        version = request.model_version or None
        answered = self._inference.answer(request.model_name, version, question_of(request))
        return answered, _written(answered, request)


def _written(answered: Answered, request: protocol.ModelInferRequest) -> bytes:
    # bytes are answered with bytes; who asks with outputs alone gets them typed
    response = answer_of(answered.response, raw=bool(request.raw_input_contents))
    return response.SerializeToString()


def _read(content: bytes) -> protocol.ModelInferRequest:
    try:
        return protocol.ModelInferRequest.FromString(content)
    except DecodeError as error:
        raise RequestRefusedError(f"the message is no ModelInferRequest: {error}") from error


def _method(call: _Call[_Request], kind: type[_Request]) -> tuple[str, grpc.RpcMethodHandler]:
    """The handler of a call, under its name in the protocol."""

    async def answer(request: _Request, context: _Context) -> Message:
        try:
            return await call(request)
        except _REFUSALS as error:
            await _refuse(error, context)

    name = kind.DESCRIPTOR.name.removesuffix("Request")
    return name, grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=kind.FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )


async def _refuse(error: Exception, context: _Context) -> NoReturn:
    status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
    await context.abort(status, str(error))
    raise AssertionError("abort raises")


class Health(health.aio.HealthServicer):  # type: ignore[misc]  # grpc has no types
    """`grpc.health.v1`: asked, it looks; who watches is told when history has been read, and when the service stops."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        super().__init__()
        self._is_ready = ready

    async def announce(self) -> None:
        """Tell what is so now to those who watch."""
        for service in ("", SERVICE):
            await self.set(service, self._status())

    @override
    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: _Context
    ) -> health_pb2.HealthCheckResponse:
        if request.service not in ("", SERVICE):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service!r} here")
        return health_pb2.HealthCheckResponse(status=self._status())

    def _status(self) -> int:
        states = health_pb2.HealthCheckResponse
        status: int = states.SERVING if self._is_ready() else states.NOT_SERVING
        return status


class GrpcServer(Component):
    """The server, as a component of the service. `others`: those who must be ready before requests are answered."""

    def __init__(
        self,
        parts: Parts,
        ready: Callable[[], bool],
        others: Sequence[Component] = (),
        *,
        port: int | None = None,
    ) -> None:
        self.ready = asyncio.Event()
        settings = parts.settings
        self.port = settings.serving_grpc_port if port is None else port
        self._host = settings.http_host
        self._others = others
        catalogue = Catalogue(parts.pipelines, parts.inference, parts.statistics)
        self._calls = Calls(parts.inference, parts.plans, catalogue, ready)
        self._health = Health(ready)

    @override
    async def run(self) -> None:
        """Serve until cancelled; then answer what is under way. Raises OSError when the port is taken."""
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers((self._calls.handler(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        services = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(services, server)
        address = f"{self._host}:{self.port}"
        try:
            self.port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address} for gRPC; is it in use?") from error
        await self._health.announce()
        await server.start()
        try:
            self.ready.set()
            logger.info("gRPC started", extra={"port": self.port})
            await asyncio.gather(*(other.ready.wait() for other in self._others))
            await self._health.announce()
            await server.wait_for_termination()
        finally:
            await self._health.enter_graceful_shutdown()
            await server.stop(GRACE_SECONDS)
