"""Message classes come from the pinned binary and encode deterministically."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import json_format

from lateen.base.errors import NotFoundError
from lateen.envoy.canonical import format_messages
from lateen.envoy.messages import (
    build_document,
    build_message,
    decode,
    encode,
    message_class,
    pack_any,
    type_url_of,
    unpack_any,
)

ROOT = Path(__file__).parent.parent.parent
CLUSTER = "envoy.config.cluster.v3.Cluster"


def build_cluster_with_metadata(seed: int) -> object:
    cluster = message_class(CLUSTER)(name="outbound|80||a.default.svc.cluster.local")
    names = [f"key{number}" for number in range(50)]
    random.Random(seed).shuffle(names)
    for name in names:
        cluster.metadata.filter_metadata["istio"][name] = name
    return cluster


def test_packaged_descriptors_are_those_of_the_pinned_binary() -> None:
    tool = ROOT / "tools" / "extract_envoy_descriptors.py"
    done = subprocess.run([sys.executable, str(tool), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_encoding_does_not_depend_on_insertion_order() -> None:
    assert len({encode(build_cluster_with_metadata(seed)) for seed in range(20)}) == 1


def test_message_round_trips_through_bytes_any_document_and_yaml() -> None:
    cluster = build_cluster_with_metadata(1)
    assert decode(CLUSTER, encode(cluster)) == cluster
    assert unpack_any(pack_any(cluster)) == cluster
    assert build_message(CLUSTER, build_document(cluster)) == cluster


def test_type_url_is_the_one_that_xds_uses() -> None:
    assert type_url_of(message_class(CLUSTER)()) == "type.googleapis.com/envoy.config.cluster.v3.Cluster"


def test_unknown_message_is_refused_by_name() -> None:
    with pytest.raises(NotFoundError, match=r"envoy\.config\.Nothing"):
        message_class("envoy.config.Nothing")


def test_document_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(json_format.ParseError, match="nonsense"):
        build_message(CLUSTER, {"nonsense": 1})


def test_canonical_yaml_starts_with_the_name_and_expands_any() -> None:
    cluster = message_class(CLUSTER)(name="a", alt_stat_name="a;")
    cluster.connect_timeout.FromSeconds(10)
    assert format_messages([pack_any(cluster)]) == (
        "- '@type': type.googleapis.com/envoy.config.cluster.v3.Cluster\n"
        "  name: a\n"
        "  altStatName: a;\n"
        "  connectTimeout: 10s\n"
    )
