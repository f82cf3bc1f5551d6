"""Strategic merge patch: (document, patch, schema) -> document, lists merged by the keys that the schema
names.

Directives: `$patch: replace|delete` in a map or list element, `$deleteFromPrimitiveList/<field>`,
`$setElementOrder/<field>`, `$retainKeys`. Nulls delete. The result follows `$setElementOrder`, else the
patch's order for the elements it names, while elements that only the document has keep their place relative
to their neighbours. The given document is never changed. Fields that the schema does not know merge as a
JSON merge patch does, lists replaced. Source: the strategic-merge-patch page of Kubernetes'
sig-api-machinery contributor documentation.
"""

from __future__ import annotations

from typing import Any

from lateen.api.json_patch import PatchError, equal_json
from lateen.api.schema.definitions import follow
from lateen.api.schema.model import ANYTHING, Schema

_PATCH = "$patch"
_RETAIN_KEYS = "$retainKeys"
_DELETE_FROM = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def strategic_merge(document: dict[str, Any], patch: Any, schema: Schema) -> dict[str, Any]:
    """The document after the patch; PatchError when the patch contradicts itself or lacks a merge key."""
    if not isinstance(patch, dict):
        raise PatchError("invalid JSON document", status=400)
    return _merge_map(document, patch, schema)


def _merge_map(document: dict[str, Any], patch: dict[str, Any], schema: Schema) -> dict[str, Any]:
    schema = follow(schema)
    match patch.get(_PATCH):
        case None:
            pass
        case "replace":
            fresh = _fresh({key: value for key, value in patch.items() if key != _PATCH})
            return fresh if isinstance(fresh, dict) else {}
        case "delete":
            return {}
        case other:
            raise PatchError(f"unknown patch type: {other} in map: {patch}")
    result = _retain(document, patch)
    orders = {key.removeprefix(_ORDER): value for key, value in patch.items() if key.startswith(_ORDER)}
    for key, value in patch.items():
        if key.startswith(_DELETE_FROM):
            _delete_from(result, key.removeprefix(_DELETE_FROM), value)
    for key, value in patch.items():
        if key == _RETAIN_KEYS or key.startswith((_ORDER, _DELETE_FROM)):
            continue
        if value is None:
            result.pop(key, None)
        else:
            _merge_field(result, key, value, _field_schema(schema, key))
    for key, order in orders.items():
        merge_key = _order_merge_key(result.get(key), _field_schema(schema, key))
        _check_order(patch.get(key), order, key, merge_key)
        if isinstance(found := result.get(key), list):
            old = document.get(key)
            result[key] = _reorder(found, old if isinstance(old, list) else [], order, merge_key)
    return result


def _field_schema(schema: Schema, key: str) -> Schema:
    found = schema.properties.get(key)
    if found is None:
        return schema.value_schema or ANYTHING
    return found


def _retain(document: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    keys = patch.get(_RETAIN_KEYS)
    if keys is None:
        return dict(document)
    if not isinstance(keys, list):
        raise PatchError("invalid patch format of retainKeys", status=400)
    for key, value in patch.items():
        if value is not None and key not in keys and not key.startswith((_DELETE_FROM, _ORDER, _RETAIN_KEYS)):
            raise PatchError("invalid patch format of retainKeys", status=400)
    return {key: value for key, value in document.items() if key in keys}


def _delete_from(result: dict[str, Any], key: str, values: Any) -> None:
    if not key or not isinstance(values, list):
        raise PatchError("invalid patch format of primitive list", status=400)
    found = result.get(key)
    if isinstance(found, list):
        result[key] = [item for item in found if not _contains(values, item)]


def _merge_field(result: dict[str, Any], key: str, value: Any, schema: Schema) -> None:
    old = result.get(key)
    strategies = schema.patch_strategy.split(",")
    if isinstance(old, dict) and isinstance(value, dict) and "replace" not in strategies:
        result[key] = _merge_map(old, value, schema)
        return
    if isinstance(old, list) and isinstance(value, list) and "merge" in strategies:
        result[key] = _merge_list(old, value, schema)
        return
    fresh = _fresh(value)
    if fresh is _GONE:
        result.pop(key, None)
    else:
        result[key] = fresh


_GONE: Any = object()


def _fresh(value: Any) -> Any:
    """A value that meets nothing in the document: without nulls and directives, `_GONE` where `$patch`
    marks it.
    """
    if isinstance(value, dict):
        if _PATCH in value:
            return _GONE
        items = {key: _fresh(item) for key, item in value.items() if item is not None and not key.startswith("$")}
        return {key: item for key, item in items.items() if item is not _GONE}
    if isinstance(value, list):
        return [item for item in map(_fresh, value) if item is not _GONE]
    return value


def _contains(values: list[Any], item: Any) -> bool:
    return any(equal_json(value, item) for value in values)


def _key_of(item: Any, merge_key: str) -> Any:
    if not isinstance(item, dict):
        raise PatchError(f"expected a map with the merge key {merge_key}, but received {item!r}")
    if merge_key not in item:
        raise PatchError(f"map: {item} does not contain declared merge key: {merge_key}")
    return item[merge_key]


def _merge_list(old: list[Any], patch: list[Any], schema: Schema) -> list[Any]:
    if not any(isinstance(item, dict) for item in (*old, *patch)):
        merged: list[Any] = []
        for item in (*old, *patch):
            if not _contains(merged, item):
                merged.append(item)
        return _reorder(merged, old, patch)
    merge_key = schema.merge_key
    if not merge_key:
        raise PatchError("cannot merge lists without merge key")
    old, patch = _without_marked(old, patch, merge_key)
    merged = list(old)
    for item in patch:
        key = _key_of(item, merge_key)
        position = _position(merged, key, merge_key)
        if position is None:
            merged.append(_fresh(item))
        else:
            merged[position] = _merge_map(merged[position], item, schema.items or ANYTHING)
    return _reorder(merged, old, patch, merge_key)


def _position(items: list[Any], key: Any, merge_key: str) -> int | None:
    for position, item in enumerate(items):
        if isinstance(item, dict) and merge_key in item and equal_json(item[merge_key], key):
            return position
    return None


def _without_marked(old: list[Any], patch: list[Any], merge_key: str) -> tuple[list[Any], list[Any]]:
    """Both lists after the elements with `$patch` have done their work."""
    plain: list[Any] = []
    replaces = False
    for item in patch:
        match item.get(_PATCH) if isinstance(item, dict) else None:
            case None:
                plain.append(item)
            case "delete":
                key = _key_of(item, merge_key)
                old = [one for one in old if not (isinstance(one, dict) and equal_json(one.get(merge_key), key))]
            case "replace":
                replaces = True
            case "merge":
                raise PatchError("merging lists cannot yet be specified in the patch")
            case other:
                raise PatchError(f"unknown patch type: {other} in map: {item}")
    return ([], plain) if replaces else (old, plain)


def _order_merge_key(found: Any, schema: Schema) -> str | None:
    is_map_list = isinstance(found, list) and any(isinstance(item, dict) for item in found)
    return schema.merge_key if is_map_list else None


def _check_order(patched: Any, order: Any, key: str, merge_key: str | None) -> None:
    """Elements of the patch must stand in the order list, in the same order."""
    if not key or not isinstance(order, list):
        raise PatchError("invalid patch format of setElementOrder list", status=400)
    if not isinstance(patched, list) or not order:
        return
    remaining = iter(order)
    for item in patched:
        if isinstance(item, dict) and _PATCH in item:
            continue
        wanted = _identity(item, merge_key)
        if not any(equal_json(_identity(one, merge_key), wanted) for one in remaining):
            raise PatchError(f"The order in patch list:\n{patched}\n doesn't match {_ORDER} list:\n{order}\n")


def _identity(item: Any, merge_key: str | None) -> Any:
    return item if merge_key is None else _key_of(item, merge_key)


def _rank(items: list[Any], wanted: Any, merge_key: str | None) -> int | None:
    """The place of the first element with that identity."""
    ranks = (place for place, item in enumerate(items) if equal_json(_identity(item, merge_key), wanted))
    return next(ranks, None)


def _reorder(merged: list[Any], old: list[Any], order: list[Any], merge_key: str | None = None) -> list[Any]:
    """`merged` with the elements named by `order` in that order, and the others in the order of `old`.

    Another element stands before a named one where it did so in `old` and nothing already placed forbids it.
    """
    named: list[tuple[int, int | None, Any]] = []
    others: list[tuple[int, Any]] = []
    for item in merged:
        wanted = _identity(item, merge_key)
        place, old_place = _rank(order, wanted, merge_key), _rank(old, wanted, merge_key)
        if place is None:
            others.append((len(old) if old_place is None else old_place, item))
        else:
            named.append((place, old_place, item))
    named.sort(key=lambda entry: entry[0])
    others.sort(key=lambda entry: entry[0])
    result: list[Any] = []
    for _, old_place, item in named:
        while others and old_place is not None and others[0][0] < old_place:
            result.append(others.pop(0)[1])
        result.append(item)
    return [*result, *(item for _, item in others)]
