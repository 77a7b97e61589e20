"""Makes time stamps of RFC 3161 and the certificates under them, with each field open to change.

The DER is written here, field by field; `cryptography` makes keys, signatures and certificates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
STAMPED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HASHES: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    "sha1": ("1.3.14.3.2.26", hashes.SHA1()),
    "sha256": ("2.16.840.1.101.3.4.2.1", hashes.SHA256()),
    "sha384": ("2.16.840.1.101.3.4.2.2", hashes.SHA384()),
    "sha512": ("2.16.840.1.101.3.4.2.3", hashes.SHA512()),
}
RSA_WITH = {"sha1": 5, "sha256": 11, "sha384": 12, "sha512": 13}
ECDSA_WITH = {"sha1": "1.2.840.10045.4.1", "sha256": "1.2.840.10045.4.3.2", "sha384": "1.2.840.10045.4.3.3"}
TST_INFO = "1.2.840.113549.1.9.16.1.4"


# -- DER --


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(digits)]) + digits + content


def sequence(*parts: bytes) -> bytes:
    return der(0x30, *parts)


def integer(value: int) -> bytes:
    return der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def oid(text: str) -> bytes:
    first, second, *rest = map(int, text.split("."))
    out = b""
    for arc in [40 * first + second, *rest]:
        digits = [arc & 0x7F]
        while arc := arc >> 7:
            digits.append(arc & 0x7F | 0x80)
        out += bytes(reversed(digits))
    return der(0x06, out)


def algorithm(text: str, null: bool = True) -> bytes:
    return sequence(oid(text), b"\x05\x00" if null else b"")


def generalized(time: datetime) -> bytes:
    return der(0x18, time.strftime("%Y%m%d%H%M%SZ").encode())


# -- Keys and certificates --


@cache
def key_of(kind: str, number: int = 0) -> Key:
    """Returns a key such as `rsa2048` or `p256`; the same one for the same number."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]))
    return ec.generate_private_key({"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}[kind])


def hash_of(key: Key, digest: str | None = None) -> str:
    """Returns the hash that a key signs with."""
    if digest is not None:
        return digest
    if isinstance(key, rsa.RSAPrivateKey):
        return "sha256"
    return {256: "sha256", 384: "sha384", 521: "sha512"}[key.key_size]


def sign(key: Key, digest: str, message: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), HASHES[digest][1])
    return key.sign(message, ec.ECDSA(HASHES[digest][1]))


@dataclass
class Issued:
    """A certificate and its key."""

    key: Key
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def serial(self) -> int:
        return self.certificate.serial_number


def name_of(text: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lifts"), x509.NameAttribute(NameOID.COMMON_NAME, text)]
    )


def issue(
    name: str,
    key: Key,
    issuer: Issued | None = None,
    *,
    ca: bool | None = None,
    path_length: int | None = None,
    usage: Sequence[x509.ObjectIdentifier] | None = None,
    critical: bool = True,
    key_usage: str | None = "",
    not_before: datetime = STAMPED - timedelta(days=100),
    not_after: datetime = STAMPED + timedelta(days=100),
    serial: int | None = None,
    issuer_name: str | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    digest: str | None = None,
) -> Issued:
    """Issues a certificate; by default one of a TSA, or of a CA if `ca` is set."""
    signer = issuer.key if issuer else key
    parent = issuer.certificate.subject if issuer else name_of(issuer_name or name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of(name))
        .issuer_name(name_of(issuer_name) if issuer_name else parent)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length if ca else None), True)
    if key_usage is not None:
        wanted = key_usage or ("key_cert_sign" if ca else "digital_signature")
        fields = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
        fields += ("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
        builder = builder.add_extension(x509.KeyUsage(**{one: one == wanted for one in fields}), True)
    if usage is None and not ca:
        usage = [ExtendedKeyUsageOID.TIME_STAMPING]
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical)
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, is_critical)
    return Issued(key, builder.sign(signer, HASHES[hash_of(signer, digest)][1]))


@dataclass
class Authority:
    """A root, CAs below it, and a TSA below the last one."""

    root: Issued
    tsa: Issued
    between: list[Issued] = field(default_factory=list)

    @classmethod
    def of(cls, kind: str = "p256", ca_kind: str = "p256", intermediates: int = 0, **more: Any) -> Authority:
        """Makes an authority; the other arguments are those of `issue` for the TSA."""
        root = issue("Root", key_of(ca_kind, 1), ca=True)
        between: list[Issued] = []
        for number in range(intermediates):
            issuer = between[-1] if between else root
            between.append(issue(f"CA {number}", key_of(ca_kind, 10 + number), issuer, ca=True))
        tsa = issue("TSA", key_of(kind), between[-1] if between else root, **more)
        return cls(root, tsa, between)

    def certificates(self) -> list[bytes]:
        return [self.tsa.der, *(one.der for one in reversed(self.between))]

    def pem(self) -> bytes:
        """Returns the certificates for a member `tsa-N.pem`."""
        return b"".join(one.pem for one in [self.tsa, *self.between])


# -- Tokens --


@dataclass
class Stamp:
    """A time stamp before it is encoded: a field that is None is left out or has its usual value."""

    authority: Authority
    note: bytes
    time: datetime = STAMPED
    digest: str | None = None
    status: int = 0
    accuracy: bytes | None = field(default_factory=lambda: sequence(integer(1)))
    imprint: bytes | None = None
    imprint_hash: str = "sha256"
    content_type: str = TST_INFO
    signed_content_type: str | None = TST_INFO
    certificates: Sequence[bytes] | None = None
    signer: Issued | None = None
    sid: bytes | None = None
    message_digest: bytes | None = None
    essence: bytes | None = None
    essence_hash: str = "sha256"
    signature: Callable[[bytes], bytes] | None = None
    signature_algorithm: bytes | None = None
    more_attributes: Sequence[bytes] = ()
    attributes: Callable[[list[bytes]], list[bytes]] | None = None
    signers: int = 1
    info_tail: bytes = b""
    gen_time: bytes | None = None

    def info(self) -> bytes:
        """Returns the TSTInfo."""
        imprint = hashlib.new(self.imprint_hash, self.note).digest() if self.imprint is None else self.imprint
        return sequence(
            integer(1),
            oid("1.3.6.1.4.1.99999.1"),
            sequence(algorithm(HASHES[self.imprint_hash][0]), der(0x04, imprint)),
            integer(4711),
            self.gen_time or generalized(self.time),
            self.accuracy or b"",
            self.info_tail,
        )

    def signed_attributes(self, info: bytes, digest: str, signer: Issued) -> list[bytes]:
        message_digest = self.message_digest or hashlib.new(digest, info).digest()
        essence = hashlib.new(self.essence_hash, signer.der).digest() if self.essence is None else self.essence
        identifier = b"" if self.essence_hash == "sha256" else algorithm(HASHES[self.essence_hash][0])
        found = []
        if self.signed_content_type:
            found.append(sequence(oid("1.2.840.113549.1.9.3"), der(0x31, oid(self.signed_content_type))))
        found.append(sequence(oid("1.2.840.113549.1.9.4"), der(0x31, der(0x04, message_digest))))
        certificate = sequence(sequence(sequence(identifier, der(0x04, essence))))
        found.append(sequence(oid("1.2.840.113549.1.9.16.2.47"), der(0x31, certificate)))
        found += self.more_attributes
        return self.attributes(found) if self.attributes else sorted(found)

    def signer_info(self, info: bytes) -> bytes:
        signer = self.signer or self.authority.tsa
        digest = hash_of(signer.key, self.digest)
        attributes = b"".join(self.signed_attributes(info, digest, signer))
        signed = der(0x31, attributes)
        signature = self.signature(signed) if self.signature else sign(signer.key, digest, signed)
        named = sequence(signer.certificate.issuer.public_bytes(), integer(signer.serial))
        sid = self.sid or named
        is_rsa = isinstance(signer.key, rsa.RSAPrivateKey)
        usual = algorithm("1.2.840.113549.1.1.1") if is_rsa else algorithm(ECDSA_WITH[digest], null=False)
        return sequence(
            integer(1 if sid[0] == 0x30 else 3),
            sid,
            algorithm(HASHES[digest][0]),
            der(0xA0, attributes),
            self.signature_algorithm or usual,
            der(0x04, signature),
        )

    def token(self) -> bytes:
        """Returns the ContentInfo."""
        info = self.info()
        digest = hash_of((self.signer or self.authority.tsa).key, self.digest)
        certificates = self.authority.certificates() if self.certificates is None else self.certificates
        signed = sequence(
            integer(3),
            der(0x31, algorithm(HASHES[digest][0])),
            sequence(oid(self.content_type), der(0xA0, der(0x04, info))),
            der(0xA0, *certificates) if certificates else b"",
            der(0x31, self.signer_info(info) * self.signers),
        )
        return sequence(oid("1.2.840.113549.1.7.2"), der(0xA0, signed))

    def response(self) -> bytes:
        """Returns the TimeStampResp."""
        return sequence(sequence(integer(self.status)), self.token())

    def with_(self, **changes: Any) -> Stamp:
        return replace(self, **changes)
