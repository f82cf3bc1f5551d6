"""The patches that an API server takes: (media type, document, patch, schema) -> document.

Pure: the given document is not changed, the result shares what the patch leaves alone. Source: RFC 6902
(`json_patch`), RFC 7386 (`merge_patch`), and the page "Update API Objects in Place Using kubectl patch"
(`strategic_merge`).
"""

from __future__ import annotations

from typing import Any

from lateen.api.json_patch import PatchError, json_patch
from lateen.api.schema.model import Schema
from lateen.api.strategic_merge import strategic_merge

__all__ = ["PATCH_MEDIA_TYPES", "PatchError", "apply_patch", "json_patch", "merge_patch", "strategic_merge"]

#: The Content-Type values of the patches here; server-side apply is no patch in this sense.
PATCH_MEDIA_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)


def merge_patch(document: Any, patch: Any) -> Any:
    """The document after a JSON merge patch: null deletes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def apply_patch(media_type: str, document: dict[str, Any], patch: Any, schema: Schema | None) -> dict[str, Any]:
    """The document after a patch of that media type; the schema is that of a built-in kind, None for a
    custom one.

    PatchError carries the HTTP status: 415 for a media type that is none of these or does not fit the kind.
    """
    match media_type:
        case "application/json-patch+json":
            result = json_patch(document, patch)
        case "application/merge-patch+json":
            result = merge_patch(document, patch)
        case "application/strategic-merge-patch+json" if schema is not None:
            result = strategic_merge(document, patch, schema)
        case _:
            accepted = PATCH_MEDIA_TYPES if schema is not None else PATCH_MEDIA_TYPES[:2]
            text = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(
                accepted
            )
            raise PatchError(text, status=415)
    if not isinstance(result, dict):
        raise PatchError("the patch leaves no JSON object", status=400)
    return result
