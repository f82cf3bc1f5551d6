import base64
import ssl
import stat
from pathlib import Path

import pytest
import yaml

from lateen.base.errors import DataError
from lateen.cluster.pki import open_pki, write_kubeconfig


def test_keys_and_tokens_stay_the_same_when_opened_again(tmp_path: Path) -> None:
    first, again = open_pki(tmp_path / "pki"), open_pki(tmp_path / "pki")
    assert first.tokens == again.tokens
    assert first.ca_pem == again.ca_pem
    assert first.signing_key.private_numbers() == again.signing_key.private_numbers()
    assert len(set(first.tokens.values())) == 4


def test_nobody_else_may_read_a_key_or_a_kubeconfig(tmp_path: Path) -> None:
    pki = open_pki(tmp_path / "pki")
    write_kubeconfig(tmp_path / "kubeconfig", server="https://127.0.0.1:1", ca_pem=pki.ca_pem, token="t", user="admin")
    for path in [tmp_path / "kubeconfig", *(tmp_path / "pki").iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700


def test_a_kubeconfig_carries_the_authority_that_signed_the_server(tmp_path: Path) -> None:
    pki = open_pki(tmp_path / "pki")
    write_kubeconfig(tmp_path / "kubeconfig", server="https://127.0.0.1:1", ca_pem=pki.ca_pem, token="t", user="admin")
    config = yaml.safe_load((tmp_path / "kubeconfig").read_text())
    authority = config["clusters"][0]["cluster"]["certificate-authority-data"]
    context = ssl.create_default_context(cadata=base64.b64decode(authority).decode())
    assert context.cert_store_stats()["x509_ca"] == 1
    pki.build_server_context()


def test_a_broken_key_is_named_with_a_remedy(tmp_path: Path) -> None:
    open_pki(tmp_path)
    (tmp_path / "sa.key").write_text("nonsense")
    with pytest.raises(DataError, match="remove the directory"):
        open_pki(tmp_path)
