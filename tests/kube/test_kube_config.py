"""Kubeconfig files and the service account of a pod."""

import base64
from pathlib import Path

import pytest
import yaml

from lateen.base.errors import DataError, NotFoundError
from lateen.cluster.pki import open_pki, write_kubeconfig
from lateen.kube.config import load_config, parse_kubeconfig, read_service_account


def write(path: Path, **content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **content}))
    return path


def simple(path: Path, *, user: dict[str, object], cluster: dict[str, object] | None = None) -> Path:
    return write(
        path,
        clusters=[{"name": "c", "cluster": {"server": "https://h:1/", **(cluster or {})}}],
        users=[{"name": "u", "user": user}],
        contexts=[{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
        **{"current-context": "x"},
    )


def test_what_lateen_up_writes_is_read(tmp_path: Path) -> None:
    pki = open_pki(tmp_path / "pki")
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, server="https://127.0.0.1:1", ca_pem=pki.ca_pem, token="secret", user="admin")
    config = load_config(path)
    assert (config.server, config.ca_pem, config.token) == ("https://127.0.0.1:1", pki.ca_pem, "secret")
    assert config.namespace == "default"
    assert config.build_tls_context() is not None


def test_certificates_may_be_data_or_files_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    pki = open_pki(tmp_path / "pki")
    data = base64.b64encode(pki.serving_certificate.read_bytes()).decode()
    path = simple(
        tmp_path / "sub" / "config",
        user={"client-certificate-data": data, "client-key": "../pki/apiserver.key"},
        cluster={"certificate-authority": "../pki/ca.crt", "tls-server-name": "kubernetes"},
    )
    config = parse_kubeconfig([path])
    assert (config.server, config.namespace, config.tls_server_name) == ("https://h:1", "n", "kubernetes")
    assert config.ca_pem == pki.ca_pem
    assert config.client_pair is not None
    assert config.client_pair.chain_pem == pki.serving_certificate.read_bytes()
    assert config.build_tls_context() is not None


def test_a_token_file_is_relative_too_and_wins_over_the_token(tmp_path: Path) -> None:
    config = parse_kubeconfig([simple(tmp_path / "config", user={"tokenFile": "t", "token": "x"})])
    assert (config.token_file, config.token) == (tmp_path / "t", None)


def test_of_several_files_the_first_to_name_a_thing_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(tmp_path / "1", clusters=[{"name": "c", "cluster": {"server": "http://first"}}])
    second = simple(tmp_path / "2", user={})
    monkeypatch.setenv("KUBECONFIG", f"{first}:{tmp_path / 'missing'}:{second}")
    assert load_config().server == "http://first"
    assert load_config().build_tls_context() is None


@pytest.mark.parametrize(
    ("user", "cluster", "message"),
    [
        ({"exec": {"command": "aws"}}, {}, "credential plugin 'exec'"),
        ({"client-key": "missing", "client-certificate": "missing"}, {}, "No such file"),
        ({"client-key-data": "§", "client-certificate-data": ""}, {}, "not base64"),
        ({}, {"server": None}, "no server"),
    ],
)
def test_what_cannot_be_used_is_refused(
    tmp_path: Path, user: dict[str, object], cluster: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        parse_kubeconfig([simple(tmp_path / "config", user=user, cluster=cluster)])


@pytest.mark.parametrize("text", ["a: [", "- 1", ""])
def test_a_file_that_is_no_kubeconfig_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(DataError):
        parse_kubeconfig([path])


def test_missing_files_and_contexts_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no kubeconfig at"):
        parse_kubeconfig([tmp_path / "missing"])
    path = simple(tmp_path / "config", user={})
    with pytest.raises(DataError, match=r"'y' is not among the contexts \(x\)"):
        parse_kubeconfig([path], context="y")


def test_a_pod_finds_its_service_account(tmp_path: Path) -> None:
    pki = open_pki(tmp_path / "pki")
    (tmp_path / "ca.crt").write_bytes(pki.ca_pem)
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("shop\n")
    environment = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    config = read_service_account(environment, tmp_path)
    assert (config.server, config.namespace, config.token_file) == (
        "https://10.96.0.1:443",
        "shop",
        tmp_path / "token",
    )
    with pytest.raises(NotFoundError):
        read_service_account({}, tmp_path)
