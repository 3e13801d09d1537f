"""Asking a service over HTTP. What goes wrong is one line for a person."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx2

from millrace.errors import ClientError
from millrace.settings import Settings, port_variable

_SECONDS = 30.0


def get(settings: Settings, service: str, path: str) -> Any:  # noqa: ANN401  whatever the service answers
    """The JSON at a path. Raises ClientError when the service is away or refuses."""
    return _ask(settings, service, "GET", path)


def get_text(settings: Settings, service: str, path: str, media_type: str) -> str:
    """The text at a path, in this form. Raises ClientError when the service is away or refuses."""
    return _answered(settings, service, "GET", path, headers={"accept": media_type}).text


def get_if_there(settings: Settings, service: str, path: str) -> Any:  # noqa: ANN401  whatever the service answers
    """The JSON at a path; None when the service is away or has nothing there."""
    try:
        return _ask(settings, service, "GET", path)
    except ClientError:
        return None


def post(settings: Settings, service: str, path: str, *, content: bytes, content_type: str) -> Any:  # noqa: ANN401  whatever the service answers
    return _ask(
        settings, service, "POST", path, content=content, headers={"content-type": content_type}
    )


def _ask(
    settings: Settings,
    service: str,
    method: str,
    path: str,
    *,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:  # noqa: ANN401  whatever the service answers
    return _answered(settings, service, method, path, content=content, headers=headers).json()


def _answered(
    settings: Settings,
    service: str,
    method: str,
    path: str,
    *,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx2.Response:
    url = settings.urls[service]
    try:
        answer = httpx2.request(
            method, url + path, content=content, headers=headers, timeout=_SECONDS, trust_env=False
        )
    except httpx2.HTTPError as error:
        raise ClientError(
            f"{service} does not answer at {url} ({_reason(error)}): start the stack with `millrace up`, "
            f"or say where it is with {port_variable(service)} or {service.upper()}_URL"
        ) from error
    if answer.status_code >= HTTPStatus.BAD_REQUEST:
        raise ClientError(f"{service} refuses: {_detail(answer)}")
    return answer


def _detail(answer: httpx2.Response) -> str:
    """What an RFC 9457 problem says, else what there is."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    detail = body.get("detail") if isinstance(body, dict) else None
    if isinstance(detail, str):
        return detail
    return f"HTTP {answer.status_code} {answer.text[:300]}".strip()


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
