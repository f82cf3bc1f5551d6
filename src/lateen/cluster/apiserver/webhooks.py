"""Calls of admission webhooks: object -> AdmissionReview over HTTPS -> allowed, changed by a JSON patch, or refused.

Mutating webhooks run one after another, and once more those that ask for it when a later one changed the
object; validating ones run at once, all of them. A Service reference is dialled through `resolve`, since
only the embedding process knows the way to a pod; TLS is checked against `caBundle` and the name
`NAME.NAMESPACE.svc`.

Source: the Kubernetes page "Dynamic Admission Control" and `admission.k8s.io/v1`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import socket
import ssl
import uuid
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

import aiohttp
import msgspec
from aiohttp.client_proto import ResponseHandler

from lateen.api.json_patch import PatchError, json_patch
from lateen.api.kinds import format_api_version
from lateen.cluster.apiserver.admission import Attributes, Document
from lateen.cluster.apiserver.status import StatusError, bad_request, internal_error
from lateen.cluster.apiserver.webhook_configuration import (
    MUTATING,
    VALIDATING,
    Webhook,
    WebhookConfigurations,
    find_namespace_labels,
)
from lateen.cluster.store import Store

Resolve = Callable[[str, str, int], Awaitable[socket.socket]]
"""(namespace, service, port) -> a connected, non-blocking socket to one of its endpoints; OSError if there
is none.
"""


class CallError(Exception):
    """A webhook could not be asked or gave no sensible answer."""


class WebhookCaller:
    """Asks the webhooks that the stored configurations name."""

    def __init__(self, store: Store, resolve: Resolve | None = None) -> None:
        self._store = store
        self._configurations = WebhookConfigurations(store)
        self.resolve = resolve

    async def mutate(self, attributes: Attributes) -> bool:
        """Let mutating webhooks change `attributes.object`; True if one did."""
        webhooks = self._configurations.find(MUTATING)
        if not webhooks:
            return False
        last_change = -1
        for index, webhook in enumerate(webhooks):
            if await self._mutate_by(webhook, attributes):
                last_change = index
        for index, webhook in enumerate(webhooks):
            if webhook.reinvoked and index < last_change:
                await self._mutate_by(webhook, attributes)
        return last_change >= 0

    async def validate(self, attributes: Attributes) -> None:
        """Let validating webhooks refuse."""
        webhooks = self._configurations.find(VALIDATING)
        if not webhooks:
            return
        calls = (self._ask(webhook, attributes, "validating") for webhook in webhooks)
        for result in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _mutate_by(self, webhook: Webhook, attributes: Attributes) -> bool:
        response = await self._ask(webhook, attributes, "mutating")
        if response is None or not response.get("patch") or attributes.object is None:
            return False
        try:
            patch = msgspec.json.decode(base64.b64decode(response["patch"]))
            changed = json_patch(attributes.object, patch)
        except (PatchError, msgspec.MsgspecError, binascii.Error, TypeError) as error:
            if webhook.fails_open:
                return False
            raise internal_error(f'failed calling webhook "{webhook.name}": its patch does not fit: {error}') from None
        different = changed != attributes.object
        attributes.object = changed
        return bool(different)

    async def _ask(self, webhook: Webhook, attributes: Attributes, label: str) -> Document | None:
        target = webhook.find_resource(attributes.operation, attributes.resource, attributes.subresource)
        if target is None or not self._selects(webhook, attributes):
            return None
        if attributes.dry_run and webhook.spec.get("sideEffects") not in ("None", "NoneOnDryRun"):
            raise bad_request(f'admission webhook "{webhook.name}" does not support dry run')
        review = _build_review(attributes, target)
        try:
            seconds = webhook.spec.get("timeoutSeconds", 10)
            answer = await asyncio.wait_for(self._post(webhook, review, seconds), seconds)
            response = _read_answer(answer, review["request"]["uid"])
        except (CallError, OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
            self._fail(webhook, attributes, error)
            return None
        attributes.warnings += [str(text) for text in response.get("warnings") or ()]
        if not response.get("allowed"):
            raise _build_denial(webhook, response)
        return response

    def _fail(self, webhook: Webhook, attributes: Attributes, error: Exception) -> None:
        reason = str(error) or (
            "context deadline exceeded" if isinstance(error, TimeoutError) else type(error).__name__
        )
        text = f'failed calling webhook "{webhook.name}": {reason}'
        if webhook.fails_open:
            attributes.warnings.append(text)
            return
        raise internal_error(text)

    def _selects(self, webhook: Webhook, attributes: Attributes) -> bool:
        labels = find_namespace_labels(self._store, attributes.resource, attributes.namespace, attributes.name)
        if labels is not None and not webhook.namespace_selector.matches(labels):
            return False
        if not webhook.object_selector.requirements:
            return True
        objects = [one for one in (attributes.object, attributes.old) if one is not None]
        return any(webhook.object_selector.matches(one["metadata"].get("labels") or {}) for one in objects)

    async def _post(self, webhook: Webhook, review: Document, seconds: float) -> bytes:
        client = webhook.spec["clientConfig"]
        url = client.get("url")
        if url is not None:
            connector: aiohttp.BaseConnector = aiohttp.TCPConnector(
                ssl=_build_context(client.get("caBundle") or ""), force_close=True
            )
        else:
            service = client["service"]
            namespace, name, port = service["namespace"], service["name"], service.get("port", 443)
            if self.resolve is None:
                raise CallError(f"the API server knows no way to service {namespace}/{name}")
            server_name = f"{name}.{namespace}.svc"
            url = f"https://{server_name}:{port}{service.get('path', '/')}"
            connected = await self.resolve(namespace, name, port)
            connector = _SocketConnector(connected, _build_context(client.get("caBundle") or ""), server_name)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=seconds)) as session,
            session.post(url, json=review, params={"timeout": f"{seconds}s"}, allow_redirects=False) as response,
        ):
            body = await response.read()
            if response.status != 200:
                raise CallError(f"the server answered {response.status}: {body[:200].decode(errors='replace')}")
            return body


class _SocketConnector(aiohttp.BaseConnector):
    """Speaks TLS over a socket that is connected already."""

    def __init__(self, connected: socket.socket, context: ssl.SSLContext, server_name: str) -> None:
        super().__init__(force_close=True)
        self._connected = connected
        self._context = context
        self._server_name = server_name

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> ResponseHandler:
        _, protocol = await self._loop.create_connection(
            self._factory, sock=self._connected, ssl=self._context, server_hostname=self._server_name
        )
        return protocol


@lru_cache(64)
def _build_context(ca_bundle: str) -> ssl.SSLContext:
    try:
        authorities = base64.b64decode(ca_bundle).decode()
        return ssl.create_default_context(cadata=authorities or None)
    except (ValueError, ssl.SSLError) as error:
        raise CallError(f"its caBundle holds no certificates: {error}") from None


def _build_review(attributes: Attributes, target: tuple[str, str, str]) -> Document:
    resource, kind = attributes.resource, attributes.resource.kind
    group, version, plural = target
    request: Document = {
        "uid": str(uuid.uuid4()),
        "kind": {"group": group, "version": version, "kind": kind.kind},
        "resource": {"group": group, "version": version, "resource": plural},
        "requestKind": {"group": group, "version": resource.version, "kind": kind.kind},
        "requestResource": {"group": group, "version": resource.version, "resource": plural},
        "name": attributes.name,
        "namespace": attributes.namespace,
        "operation": attributes.operation,
        "userInfo": attributes.user.build_info(),
        "object": _with_version(attributes.object, group, version),
        "oldObject": _with_version(attributes.old, group, version),
        "dryRun": attributes.dry_run,
        "options": attributes.options or None,
    }
    if attributes.subresource:
        request |= {"subResource": attributes.subresource, "requestSubResource": attributes.subresource}
    request = {name: value for name, value in request.items() if value != ""}
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}


def _with_version(document: Document | None, group: str, version: str) -> Document | None:
    return None if document is None else document | {"apiVersion": format_api_version(group, version)}


def _read_answer(body: bytes, uid: str) -> Document:
    review = msgspec.json.decode(body, type=dict[str, Any])
    response = review.get("response")
    if review.get("kind") != "AdmissionReview" or not isinstance(response, dict):
        raise CallError("it answered with something else than an AdmissionReview with a response")
    if response.get("uid") != uid:
        raise CallError(f"expected response.uid={uid!r}, got {response.get('uid')!r}")
    if response.get("patch") and response.get("patchType") != "JSONPatch":
        raise CallError(f"patchType {response.get('patchType')!r} is not supported")
    return response


def _build_denial(webhook: Webhook, response: Document) -> StatusError:
    status = response.get("status") or {}
    reason = status.get("message") or status.get("reason")
    text = f'admission webhook "{webhook.name}" denied the request'
    code = int(status.get("code") or 0)
    return StatusError(
        code if code >= 400 else 403,
        status.get("reason") or ("" if code >= 400 else "Forbidden"),
        f"{text}: {reason}" if reason else f"{text} without explanation",
        details=status.get("details"),
    )
