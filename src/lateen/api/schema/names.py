"""Names, labels, keys and numbers that Kubernetes accepts: text -> what is wrong with it, in
kube-apiserver's words.

Every `check_*` returns the complaints, none when the value is fine. Source: RFC 1035 and RFC 1123 labels,
the pages "Object Names and IDs" and "Labels and Selectors" of the Kubernetes documentation.
"""

from __future__ import annotations

import re

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = rf"({_QUALIFIED})?"
_CONFIG_KEY = r"[-._a-zA-Z0-9]+"
_HEADER = r"[-A-Za-z0-9]+"
_EDGES = "and must start and end with an alphanumeric character"
_MIXED = f"must consist of alphanumeric characters, '-', '_' or '.', {_EDGES}"


def _explain(rule: str, pattern: str, *examples: str) -> str:
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{rule} (e.g. {shown}regex used for validation is '{pattern}')"


def _longest(most: int) -> str:
    return f"must be no more than {most} characters"


def check_subdomain(value: str) -> list[str]:
    """A DNS subdomain, the rule for most names."""
    found = [_longest(253)] if len(value) > 253 else []
    if not re.fullmatch(_SUBDOMAIN, value):
        rule = (
            f"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', {_EDGES}"
        )
        found.append(_explain(rule, _SUBDOMAIN.replace(r"\.", "\\."), "example.com"))
    return found


def check_label(value: str) -> list[str]:
    """A DNS label of RFC 1123, the rule for namespaces, containers and volumes."""
    found = [_longest(63)] if len(value) > 63 else []
    if re.fullmatch(_LABEL, value):
        return found
    if re.fullmatch(_SUBDOMAIN, value):
        return [*found, "must not contain dots"]
    rule = f"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', {_EDGES}"
    return [*found, _explain(rule, _LABEL, "my-name", "123-abc")]


def check_service_name(value: str) -> list[str]:
    """A DNS label of RFC 1035, which must not begin with a digit."""
    found = [_longest(63)] if len(value) > 63 else []
    if not re.fullmatch(_LABEL_1035, value):
        rule = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
            "character, and end with an alphanumeric character"
        )
        found.append(_explain(rule, _LABEL_1035, "my-name", "abc-123"))
    return found


def check_path_segment(value: str) -> list[str]:
    """A name that may stand as one segment of a URL path, the rule for roles and bindings."""
    if value in {".", ".."}:
        return [f"may not be '{value}'"]
    return [f"may not contain '{part}'" for part in ("/", "%") if part in value]


def check_qualified_name(value: str) -> list[str]:
    """A label key, an annotation key or a finalizer: `name` or `example.com/name`."""
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        rule = "a qualified name " + _explain(_MIXED, _QUALIFIED, "MyName", "my.name", "123-abc")
        return [f"{rule} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    found = []
    if slash:
        found += ["prefix part must be non-empty"] if not prefix else []
        found += [f"prefix part {text}" for text in (check_subdomain(prefix) if prefix else ())]
    if not name:
        found.append("name part must be non-empty")
    elif len(name) > 63:
        found.append(f"name part {_longest(63)}")
    if not re.fullmatch(_QUALIFIED, name):
        found.append("name part " + _explain(_MIXED, _QUALIFIED, "MyName", "my.name", "123-abc"))
    return found


def check_label_value(value: str) -> list[str]:
    """The value of a label; it may be empty."""
    found = [_longest(63)] if len(value) > 63 else []
    if not re.fullmatch(_LABEL_VALUE, value):
        rule = f"a valid label must be an empty string or {_MIXED.removeprefix('must ')}"
        found.append(_explain(rule, _LABEL_VALUE, "MyValue", "my_value", "12345"))
    return found


def check_config_key(value: str) -> list[str]:
    """A key of a ConfigMap or Secret."""
    found = [_longest(253)] if len(value) > 253 else []
    if not re.fullmatch(_CONFIG_KEY, value):
        rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        found.append(_explain(rule, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    if value in {".", ".."}:
        found.append(f"must not be '{value}'")
    elif value.startswith(".."):
        found.append("must not start with '..'")
    return found


def check_environment_name(value: str) -> list[str]:
    """The name of an environment variable."""
    if value and all(" " <= character <= "~" and character != "=" for character in value):
        return []
    rule = "a valid environment variable name must consist only of printable ASCII characters other than '='"
    return [rule]


def check_header_name(value: str) -> list[str]:
    """The name of an HTTP header."""
    if re.fullmatch(_HEADER, value):
        return []
    rule = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return [_explain(rule, _HEADER, "X-Header-Name")]


def check_port_name(value: str) -> list[str]:
    """The name of a container port, as IANA service names are."""
    found = [_longest(15)] if len(value) > 15 else []
    if not re.fullmatch(r"[-a-z0-9]+", value):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search(r"[a-z]", value):
        found.append("must contain at least one letter (a-z)")
    if "--" in value:
        found.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        found.append("must not begin or end with a hyphen")
    return found


def check_percent(value: str) -> list[str]:
    """A percentage such as `25%`."""
    if re.fullmatch(r"[0-9]+%", value):
        return []
    rule = "a valid percent string must be a numeric string followed by an ending '%'"
    return [_explain(rule, "[0-9]+%", "1%", "93%")]


def check_range(value: int, least: int, most: int) -> list[str]:
    """A whole number between two bounds, both included."""
    return [] if least <= value <= most else [f"must be between {least} and {most}, inclusive"]


def check_port_number(value: int) -> list[str]:
    """A port number."""
    return check_range(value, 1, 65535)
