"""Questions about identity and permission: TokenReview, SelfSubjectReview, access reviews -> the same with a status.

Nothing is stored. A TokenReview says whose a token is, if it is valid for one of the audiences asked for;
access reviews answer from the lists in authorization.py. Source: Kubernetes `authentication.k8s.io/v1`,
`authorization.k8s.io/v1`.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from lateen.api.schema.errors import required
from lateen.base.errors import DataError
from lateen.cluster.apiserver.authentication import Authenticator, User, build_service_account_user
from lateen.cluster.apiserver.authorization import RULES, Action, explain_refusal, is_allowed
from lateen.cluster.apiserver.judgement import decode
from lateen.cluster.apiserver.request import Request
from lateen.cluster.apiserver.resource import Resource
from lateen.cluster.apiserver.response import respond_value
from lateen.cluster.apiserver.status import invalid
from lateen.cluster.apiserver.strategy import check_identity, format_time, now
from lateen.cluster.apiserver.tokens import API_AUDIENCE, TokenIssuer

Document = dict[str, Any]


class Reviews:
    """Answers the creation of reviews."""

    def __init__(self, authenticator: Authenticator, issuer: TokenIssuer) -> None:
        self._authenticator = authenticator
        self._issuer = issuer

    async def create(self, request: Request, resource: Resource) -> web.Response:
        """Answer one review."""
        document = await request.document()
        check_identity(resource, document, request.target.namespace, "")
        document = decode(request, resource, document)
        spec = document.get("spec") or {}
        match resource.kind.kind:
            case "TokenReview":
                status = self._review_token(resource, spec)
            case "SelfSubjectReview":
                document["metadata"]["creationTimestamp"] = format_time(now())
                status = {"userInfo": request.user.build_info()}
            case "SelfSubjectAccessReview":
                status = _review_access(request.user, spec)
            case "SelfSubjectRulesReview":
                status = _review_rules(request.user)
            case _:
                groups = tuple(spec.get("groups") or ())
                status = _review_access(User(spec.get("user") or "", groups, spec.get("uid") or ""), spec)
        return respond_value(request, document | {"status": status}, status=201)

    def _review_token(self, resource: Resource, spec: Document) -> Document:
        token, audiences = spec.get("token") or "", spec.get("audiences") or []
        if not token:
            raise invalid(resource.kind, "", [required("spec.token")])
        user = self._authenticator.find_static(token)
        if user is not None:
            matched = [audience for audience in audiences or [API_AUDIENCE] if audience == API_AUDIENCE]
            if matched:
                return {"authenticated": True, "user": user.build_info(), "audiences": matched}
            return {"user": {}, "error": "token audiences do not match"}
        try:
            checked = self._issuer.check(token, audiences or [API_AUDIENCE])
        except DataError as error:
            return {"user": {}, "error": f"invalid bearer token: {error.message}"}
        user = build_service_account_user(checked)
        return {"authenticated": True, "user": user.build_info(), "audiences": list(checked.audiences)}


def _review_access(user: User, spec: Document) -> Document:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource:
        action = Action(
            verb=resource.get("verb", ""),
            group=resource.get("group", ""),
            resource=resource.get("resource", ""),
            subresource=resource.get("subresource", ""),
            namespace=resource.get("namespace", ""),
        )
    else:
        action = Action(verb=(path or {}).get("verb", ""), path=(path or {}).get("path", ""))
    if is_allowed(user, action):
        return {"allowed": True}
    return {"allowed": False, "reason": explain_refusal(user, action)}


def _review_rules(user: User) -> Document:
    rules: list[Document] = []
    if "system:masters" in user.groups:
        rules.append({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
    for rule in RULES.get(user.name, ()):
        for pattern in rule.resources:
            resource, _, subresource = pattern.partition("/")
            plural, _, group = resource.partition(".")
            name = f"{plural}/{subresource}" if subresource else plural
            rules.append({"verbs": list(rule.verbs), "apiGroups": [group], "resources": [name]})
    return {"resourceRules": rules, "nonResourceRules": [], "incomplete": False}
