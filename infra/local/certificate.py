"""The certificate authority of the local stack: issues the certificate of the
KMS key that signs reports, so that a PDF reader can check who signed.

In a deployment a certificate authority of the company does this (see
infra/runbooks/deploy.md).
"""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

from settings import CA

ROOT_CERTIFICATE = CA / "root.pem"
_ROOT_KEY = CA / "root.key"

# RFC 9336: the certificate signs documents.
_DOCUMENT_SIGNING = ObjectIdentifier("1.3.6.1.5.5.7.3.36")

_ROOT_LIFE = timedelta(days=3650)
_LEAF_LIFE = timedelta(days=730)
_RENEW_BEFORE = timedelta(days=30)


def serves(chain: str | None, public_key_der: bytes) -> bool:
    """Whether `chain` (PEM) is of our root, for this key, and valid long enough to be kept."""
    if not chain or not ROOT_CERTIFICATE.exists():
        return False
    leaf, *issuers = x509.load_pem_x509_certificates(chain.encode())
    return (
        issuers == [_root()]
        and leaf.public_key() == serialization.load_der_public_key(public_key_der)
        and leaf.not_valid_after_utc - datetime.now(UTC) > _RENEW_BEFORE
    )


def issue(public_key_der: bytes) -> str:
    """A certificate for the public key (DER SubjectPublicKeyInfo), then the root, in PEM."""
    root_key = _root_key()
    root = _root()
    public_key = serialization.load_der_public_key(public_key_der)
    leaf = (
        _builder(_name("Keystone Audit Reports (local stack)"), root.subject, public_key, _LEAF_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True, content_commitment=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([_DOCUMENT_SIGNING]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
        .sign(root_key, hashes.SHA256())
    )
    return "".join(_pem(certificate) for certificate in (leaf, root))


def _root() -> x509.Certificate:
    return x509.load_pem_x509_certificate(ROOT_CERTIFICATE.read_bytes())


def _root_key() -> ec.EllipticCurvePrivateKey:
    """The root's key, made together with the root certificate on first use."""
    if _ROOT_KEY.exists() and ROOT_CERTIFICATE.exists():
        return serialization.load_pem_private_key(_ROOT_KEY.read_bytes(), password=None)
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Keystone Root CA (local stack)")
    certificate = (
        _builder(name, name, key.public_key(), _ROOT_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    CA.mkdir(parents=True, exist_ok=True)
    _ROOT_KEY.touch(mode=0o600)
    _ROOT_KEY.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    ROOT_CERTIFICATE.write_text(_pem(certificate))
    return key


def _builder(subject: x509.Name, issuer: x509.Name, public_key, life: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "IE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Keystone"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _key_usage(**uses: bool) -> x509.KeyUsage:
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )
    return x509.KeyUsage(**{use: uses.get(use, False) for use in every})


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
