"""The installation's own key and certificates."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from engine.credentials import KEY_FILE, Credentials


def test_they_are_made_once_and_kept_to_oneself(tmp_path: Path) -> None:
    made = Credentials.load_or_create(tmp_path / "keys")
    assert Credentials.load_or_create(tmp_path / "keys") == made
    assert Credentials.load_or_create(tmp_path / "others") != made
    assert stat.S_IMODE((tmp_path / "keys" / KEY_FILE).stat().st_mode) == 0o600


def test_engines_that_start_together_have_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: Credentials.load_or_create(tmp_path / "keys"), range(24)))
    assert len(set(made)) == 1


def test_the_chain_leads_from_the_key_to_the_authority(tmp_path: Path) -> None:
    made = Credentials.load_or_create(tmp_path)
    leaf, authority = x509.load_pem_x509_certificates(made.chain)
    assert leaf.public_key() == load_pem_private_key(made.key, None).public_key()
    assert authority == x509.load_pem_x509_certificate(made.authority)
    leaf.verify_directly_issued_by(authority)
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.EMAIL_PROTECTION]
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
