"""The installation's own signing key and certificates for content credentials, made at first use.

No certificate authority vouches for them: a reader sees that a picture is unchanged since this installation
signed it, and says "unknown source" until the installation's own authority is trusted.
"""

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from engine.durable_files import made_once, write_atomically

KEY_FILE, CHAIN_FILE, AUTHORITY_FILE = "signing-key.pem", "signing-chain.pem", "authority.pem"
VALID_FOR = datetime.timedelta(days=3650)
ORGANIZATION = "Likeness (self-hosted)"


@dataclass(frozen=True)
class Credentials:
    """All PEM. `chain`: the signing certificate, then the authority. The authority's key is not kept."""

    key: bytes
    chain: bytes
    authority: bytes

    @classmethod
    def load_or_create(cls, folder: Path) -> "Credentials":
        """Of this installation. Raises OSError."""
        paths = [folder / name for name in (KEY_FILE, CHAIN_FILE, AUTHORITY_FILE)]
        with made_once(folder):  # each GPU has an engine, and all start together
            if not all(path.is_file() for path in paths):
                made = _create()
                for path, content in zip(paths, (made.key, made.chain, made.authority), strict=True):
                    write_atomically(path, content)
        return cls(*(path.read_bytes() for path in paths))


def _create() -> Credentials:
    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _name("Likeness installation authority")
    authority = (
        _certificate(authority_name, authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    leaf = (
        _certificate(_name("Likeness headshots"), authority_name, key, authority_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        # One of the purposes that the C2PA specification (section 14.5.1) allows.
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    root = authority.public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Credentials(private, leaf.public_bytes(Encoding.PEM) + root, root)


def _name(common: str) -> x509.Name:
    parts = ((NameOID.ORGANIZATION_NAME, ORGANIZATION), (NameOID.COMMON_NAME, common))
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey | None = None,
) -> x509.CertificateBuilder:
    begins = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)  # clocks differ
    authority_key = (issuer_key or key).public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + VALID_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key), critical=False)
    )


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        key_cert_sign=not signs,
        crl_sign=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
