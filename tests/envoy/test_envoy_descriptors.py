"""Descriptors built one by one are those that the whole set holds."""

import gzip
from importlib.resources import files

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from lateen.envoy.descriptors import DescriptorFiles

ENCODED = gzip.decompress((files("lateen.envoy") / "descriptors.binpb.gz").read_bytes())
SET = FileDescriptorSet.FromString(ENCODED)


def test_every_file_is_found_by_its_name_and_is_as_in_the_set() -> None:
    found = DescriptorFiles(ENCODED)
    assert len(SET.file) > 500
    for file in SET.file:
        assert found.FindFileByName(file.name) == file


def test_every_message_and_enum_is_found_and_nested_ones_too() -> None:
    found = DescriptorFiles(ENCODED)
    for file in SET.file:
        for declared in (*file.message_type, *file.enum_type):
            assert found.FindFileContainingSymbol(f"{file.package}.{declared.name}").name == file.name
    nested = "envoy.config.route.v3.RouteAction.RetryBackOff.None"
    assert found.FindFileContainingSymbol(nested).package == "envoy.config.route.v3"


def test_a_lazy_pool_knows_the_messages_of_a_full_one_field_by_field() -> None:
    full = DescriptorPool()
    for file in SET.file:
        full.AddSerializedFile(file.SerializeToString())
    lazy = DescriptorPool(DescriptorFiles(ENCODED))
    for file in SET.file:
        for declared in file.message_type:
            name = f"{file.package}.{declared.name}"
            ours, theirs = lazy.FindMessageTypeByName(name), full.FindMessageTypeByName(name)
            assert [field.full_name for field in ours.fields] == [field.full_name for field in theirs.fields]


def test_what_envoy_does_not_have_is_a_key_error() -> None:
    found = DescriptorFiles(ENCODED)
    with pytest.raises(KeyError):
        found.FindFileContainingSymbol("envoy.config.cluster.v4.Cluster")
    with pytest.raises(KeyError):
        found.FindFileByName("envoy/none.proto")
    with pytest.raises(KeyError):
        DescriptorPool(found).FindMessageTypeByName("envoy.config.cluster.v3.None")


def test_what_is_no_descriptor_set_is_refused() -> None:
    with pytest.raises(ValueError, match="wire type"):
        DescriptorFiles(b"\x0f")
