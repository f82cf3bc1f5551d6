"""Bundles of certificates as text."""

from lateen.runtime.tls import merge_roots, split_certificates

ONE = b"-----BEGIN CERTIFICATE-----\nMTEx\n-----END CERTIFICATE-----\n"
TWO = b"-----BEGIN CERTIFICATE-----\nMjIy\n-----END CERTIFICATE-----\n"
KEY = b"-----BEGIN PRIVATE KEY-----\nMzMz\n-----END PRIVATE KEY-----\n"


def test_certificates_are_split_in_order_without_what_is_between_them():
    assert split_certificates(b"comment\n" + ONE + KEY + TWO.rstrip()) == [ONE, TWO]
    assert split_certificates(b"") == []


def test_roots_are_merged_without_repetition_in_the_order_of_appearance():
    assert merge_roots(TWO, ONE + TWO, b"") == TWO + ONE
