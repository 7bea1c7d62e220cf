"""What a request must pass before its route, and how mistakes are answered: in OpenAI's shape, never as 422."""

import hmac
import ipaddress
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ..errors import BusyError, ConfigError, MiniloraError, MissingFileError, UnknownNameError, printable, shortened
from . import protocol

LARGEST_BODY = 16 * 2**20  # bytes
GUARDED = ("/v1/", "/tokenize", "/detokenize", "/tokenizer_info", "/adapters", "/ask")


def error_body(error: Exception) -> tuple[dict, int]:
    said = shortened(printable(error.args[0] if isinstance(error, UnknownNameError) else error))
    if isinstance(error, UnknownNameError):
        return protocol.error(said, 404, "NotFoundError", "model"), 404
    if isinstance(error, MissingFileError):
        return protocol.error(said, 404, "NotFoundError"), 404
    if isinstance(error, BusyError):
        return protocol.error(said, 503, "ServiceUnavailableError"), 503
    return protocol.error(said, 400, "BadRequestError"), 400


async def _mistake(request, error):
    body, status = error_body(error)
    return JSONResponse(body, status, headers={"Retry-After": "1"} if status == 503 else None)


async def _malformed(request, error):
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return JSONResponse(protocol.error("the body is not JSON", 400, "BadRequestError"), 400)
    place, said = first["loc"][1:3], first["msg"]
    if len(place) == 2 and place[0] in protocol.EXPECTED:  # the second says which of several kinds was tried first
        place, said = place[:1], f"expected {protocol.EXPECTED[place[0]]}"
    place = ".".join(map(str, place))
    kind = request.headers.get("content-type", "")
    message = f"{printable(place)}: {said}" if place else said
    if "json" not in kind:
        message = "Unsupported Media Type: Only 'application/json' is allowed"
    return JSONResponse(protocol.error(message.splitlines()[0][:300], 400, "BadRequestError", place or None), 400)


async def _refused(request, error):
    kind = "NotFoundError" if error.status_code == 404 else "BadRequestError"
    status = 400 if error.status_code == 422 else error.status_code
    return JSONResponse(protocol.error(str(error.detail), status, kind), status, headers=error.headers)


HANDLERS: dict[Any, Any] = {
    MiniloraError: _mistake,
    RequestValidationError: _malformed,
    HTTPException: _refused,
}


class Guard:
    """Before every route: the Host header on a loopback address, the key, and the size of the body."""

    def __init__(self, app, server, host: str):
        self.app, self.server, self.host = app, server, host
        self.is_local = is_loopback(host)

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if scope["method"] == "HEAD":  # uvicorn leaves out the body
            scope = scope | {"method": "GET"}
        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        if self.is_local and not is_loopback(host_of(headers.get(b"host", ""))):
            return await answer(403, "the Host header is not a local address", scope, receive, send)
        if self.server.api_key and scope["path"].startswith(GUARDED):
            scheme, _, given = headers.get(b"authorization", "").partition(" ")
            right = hmac.compare_digest(given.encode("latin-1"), self.server.api_key.encode())
            if scheme.lower() != "bearer" or not right:
                return await answer(401, "Unauthorized: a valid API key is needed", scope, receive, send)
        length = headers.get(b"content-length", "0")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            return await answer(413, f"the body is larger than {LARGEST_BODY} bytes", scope, receive, send)
        size = 0

        async def bounded():
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > LARGEST_BODY:
                raise ConfigError(f"the body is larger than {LARGEST_BODY} bytes")
            return message

        await self.app(scope, bounded, send)


async def answer(status, message, scope, receive, send):
    kind = {401: "AuthenticationError", 403: "PermissionDeniedError"}.get(status, "BadRequestError")
    await JSONResponse(protocol.error(message, status, kind), status)(scope, receive, send)


def host_of(header: str) -> str:
    """The host of a Host header, without its port.

    >>> host_of("localhost:8000"), host_of("[::1]:8000"), host_of("[::1]")
    ('localhost', '::1', '::1')
    """
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Whether an address means this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("Localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
