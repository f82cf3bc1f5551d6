import subprocess
import sys

from google.protobuf import struct_pb2, wrappers_pb2

from lateen.xds.messages import decode_delta_response, encode_delta_response
from lateen.xds.resources import EMPTY_SET, TYPE_PREFIX, Resource, ResourceSet, build_resource, diff


def text(name: str, value: str = "x") -> Resource:
    return build_resource(wrappers_pb2.StringValue(value=value), name)


def test_a_concatenation_of_bodies_is_a_response() -> None:
    payload = text("a", "1").body + text("b", "2").body
    response = decode_delta_response(encode_delta_response("t", "n1", payload, ("c",)))

    assert response.type_url == "t"
    assert response.nonce == "n1"
    assert response.removed == ("c",)
    values = {name: wrappers_pb2.StringValue.FromString(r[1]).value for name, r in response.resources.items()}
    assert values == {"a": "1", "b": "2"}
    assert response.resources["a"][0] == text("a", "1").version


def test_the_tail_of_a_body_is_the_resource_of_a_state_of_the_world_response() -> None:
    resource = text("a", "value")
    any_value = b"\x0a" + bytes([len(TYPE_PREFIX) + 27]) + (TYPE_PREFIX + "google.protobuf.StringValue").encode()
    assert resource.any_field.startswith(b"\x12")
    assert any_value in resource.any_field
    assert resource.body.endswith(resource.any_field)


def test_versions_are_content_hashes_equal_in_every_process() -> None:
    program = (
        "from google.protobuf import struct_pb2\n"
        "from lateen.xds.resources import build_resource\n"
        "value = struct_pb2.Struct()\n"
        "value.update({str(i): i for i in range(50)})\n"
        "print(build_resource(value, 'n').version)"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    value = struct_pb2.Struct()
    value.update({str(i): i for i in reversed(range(50))})
    assert printed == [build_resource(value, "n").version] * 2


def test_aliases_count_as_content() -> None:
    value = wrappers_pb2.StringValue(value="x")
    assert build_resource(value, "n", aliases=["a"]).version != build_resource(value, "n").version


def test_a_difference_is_computed_once_for_equal_sets() -> None:
    old, new = ResourceSet([text("a"), text("b")]), ResourceSet([text("b", "y"), text("c")])
    difference = diff(old, new)

    assert [resource.name for resource in difference.changed] == ["b", "c"]
    assert difference.removed == ("a",)
    assert diff(ResourceSet([text("b"), text("a")]), new) is difference
    assert difference.payload == text("b", "y").body + text("c").body


def test_sets_are_equal_by_content_whatever_the_order() -> None:
    left, right = ResourceSet([text("a"), text("b")]), ResourceSet([text("b"), text("a")])
    assert left == right
    assert hash(left) == hash(right)
    assert left != ResourceSet([text("a")])
    assert ResourceSet() == EMPTY_SET
