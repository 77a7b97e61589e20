"""Makes time stamps of RFC 3161 and the certificates under them, with each field open to change.

The DER is written field by field; `cryptography` makes keys, signatures and certificates.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgesentry.testing._tsa import integer, oid, seq, tlv

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


def algorithm(text: str, null: bool = True) -> bytes:
    return seq(oid(text), b"\x05\x00" if null else b"")


def generalized(time: datetime) -> bytes:
    return tlv(0x18, time.strftime("%Y%m%d%H%M%SZ").encode())


# -- Keys and certificates --


@cache
def key_of(kind: str, number: int = 0) -> Key:
    """Returns a key such as `rsa2048` or `p256`; the same one for the same number."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]))
    return ec.generate_private_key(
        {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}[kind]
    )


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
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lifts"),
            x509.NameAttribute(NameOID.COMMON_NAME, text),
        ]
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
    digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
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
        fields = [
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
            *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
        ]
        builder = builder.add_extension(x509.KeyUsage(**{one: one == wanted for one in fields}), True)
    if usage is None and not ca:
        usage = [ExtendedKeyUsageOID.TIME_STAMPING]
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical)
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, is_critical)
    return Issued(key, builder.sign(signer, digest or hashes.SHA256()))


@dataclass
class Authority:
    """A root, CAs below it, and a TSA below the last one."""

    root: Issued
    tsa: Issued
    between: list[Issued] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        kind: str = "p256",
        ca_kind: str = "p256",
        intermediates: int = 0,
        dates: Mapping[str, Any] | None = None,
        name: str = "TSA",
        **more: Any,
    ) -> Authority:
        """Makes an authority with these dates; `more` are arguments of `issue` for the TSA."""
        dates = dates or {}
        root = issue("Root", key_of(ca_kind, 1), ca=True, **dates)
        between: list[Issued] = []
        for number in range(intermediates):
            issuer = between[-1] if between else root
            between.append(issue(f"CA {number}", key_of(ca_kind, 10 + number), issuer, ca=True, **dates))
        tsa = issue(name, key_of(kind), between[-1] if between else root, **{**dates, **more})
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
    serial: int = 4711
    accuracy: bytes | None = field(default_factory=lambda: seq(integer(1)))
    imprint: bytes | None = None
    imprint_hash: str = "sha256"
    content_type: str = TST_INFO
    signed_content_type: str | None = TST_INFO
    certificates: Sequence[bytes] | None = None
    signer: Issued | None = None
    sid: bytes | None = None
    message_digest: bytes | None = None
    certificate_id: bytes | None = None
    id_hash: str = "sha256"
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
        return seq(
            integer(1),
            oid("1.3.6.1.4.1.99999.1"),
            seq(algorithm(HASHES[self.imprint_hash][0]), tlv(0x04, imprint)),
            integer(self.serial),
            self.gen_time or generalized(self.time),
            self.accuracy or b"",
            self.info_tail,
        )

    def signed_attributes(self, info: bytes, digest: str, signer: Issued) -> list[bytes]:
        message_digest = self.message_digest or hashlib.new(digest, info).digest()
        named = self.certificate_id or hashlib.new(self.id_hash, signer.der).digest()
        identifier = b"" if self.id_hash == "sha256" else algorithm(HASHES[self.id_hash][0])
        found = []
        if self.signed_content_type:
            found.append(seq(oid("1.2.840.113549.1.9.3"), tlv(0x31, oid(self.signed_content_type))))
        found.append(seq(oid("1.2.840.113549.1.9.4"), tlv(0x31, tlv(0x04, message_digest))))
        certificate = seq(seq(seq(identifier, tlv(0x04, named))))
        found.append(seq(oid("1.2.840.113549.1.9.16.2.47"), tlv(0x31, certificate)))
        found += self.more_attributes
        return self.attributes(found) if self.attributes else sorted(found)

    def signer_info(self, info: bytes) -> bytes:
        signer = self.signer or self.authority.tsa
        digest = hash_of(signer.key, self.digest)
        attributes = b"".join(self.signed_attributes(info, digest, signer))
        signed = tlv(0x31, attributes)
        signature = self.signature(signed) if self.signature else sign(signer.key, digest, signed)
        named = seq(signer.certificate.issuer.public_bytes(), integer(signer.serial))
        sid = self.sid or named
        is_rsa = isinstance(signer.key, rsa.RSAPrivateKey)
        usual = algorithm("1.2.840.113549.1.1.1") if is_rsa else algorithm(ECDSA_WITH[digest], null=False)
        return seq(
            integer(1 if sid[0] == 0x30 else 3),
            sid,
            algorithm(HASHES[digest][0]),
            tlv(0xA0, attributes),
            self.signature_algorithm or usual,
            tlv(0x04, signature),
        )

    def token(self) -> bytes:
        """Returns the ContentInfo."""
        info = self.info()
        digest = hash_of((self.signer or self.authority.tsa).key, self.digest)
        certificates = self.authority.certificates() if self.certificates is None else self.certificates
        signed = seq(
            integer(3),
            tlv(0x31, algorithm(HASHES[digest][0])),
            seq(oid(self.content_type), tlv(0xA0, tlv(0x04, info))),
            tlv(0xA0, *certificates) if certificates else b"",
            tlv(0x31, self.signer_info(info) * self.signers),
        )
        return seq(oid("1.2.840.113549.1.7.2"), tlv(0xA0, signed))

    def response(self) -> bytes:
        """Returns the TimeStampResp."""
        return seq(seq(integer(self.status)), self.token())

    def with_(self, **changes: Any) -> Stamp:
        return replace(self, **changes)


OPENSSL = """[tsa]
default_tsa = one
[one]
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
digests = sha256
default_policy = 1.3.6.1.4.1.99999.1
serial = serial
accuracy = secs:2, millisecs:5
ess_cert_id_alg = sha256
"""


def openssl_stamp(folder: Path, authority: Authority, note: bytes, more: str) -> bytes:
    """Returns a time stamp by `openssl ts` with the time of its clock; `more` are further settings."""
    key = authority.tsa.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files = {"tsa.pem": authority.tsa.pem, "tsa.key": key, "note": note, "serial": b"1267\n"}
    files |= {"chain.pem": authority.pem(), "tsa.cnf": (OPENSSL + more).encode()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    query = ["-query", "-data", "note", "-sha256", "-cert", "-out", "query"]
    reply = ["-reply", "-config", "tsa.cnf", "-queryfile", "query", "-out", "reply"]
    for arguments in (query, reply):
        subprocess.run(["openssl", "ts", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)
    return (folder / "reply").read_bytes()


# -- Good and bad stamps --


@dataclass
class Case:
    """A time stamp of a note with the certificates beside it, and the roots of the auditor."""

    stamp: Stamp
    roots: bytes
    pem: bytes | None = None
    change: Callable[[bytes], bytes] | None = None

    def members(self) -> dict[str, bytes]:
        """Returns the members of a bundle."""
        response = self.stamp.response()
        found = {"tsa-0.tsr": self.change(response) if self.change else response}
        return found if self.pem is None else {**found, "tsa-0.pem": self.pem}


Make: TypeAlias = Callable[[bytes], Case]


def plain(authority: Authority | None = None, **changes: Any) -> Make:
    """Makes a stamp of an authority, with these changes of the stamp."""

    def make(note: bytes) -> Case:
        made = authority or Authority.of()
        return Case(Stamp(made, note, **changes), made.root.pem)

    return make


def of(kind: str = "p256", ca_kind: str = "p256", intermediates: int = 0, **more: Any) -> Make:
    """Makes a plain stamp of an authority with these arguments of `Authority.of`."""
    return lambda note: plain(Authority.of(kind, ca_kind, intermediates, **more))(note)


def changed(change: Callable[[bytes], bytes]) -> Make:
    """Makes a plain stamp and changes its bytes."""

    def make(note: bytes) -> Case:
        case = plain()(note)
        case.change = change
        return case

    return make


def absent(place: str) -> Make:
    """Makes a stamp without certificates, which are in `place`."""

    def make(note: bytes) -> Case:
        authority = Authority.of(intermediates=1)
        case = Case(Stamp(authority, note, certificates=[]), authority.root.pem)
        if place == "bundle":
            case.pem = b"The TSA:\r\n" + authority.pem().replace(b"\n", b" \r\n")
        elif place == "roots":
            case.roots += authority.pem()
        return case

    return make


def unsorted(note: bytes) -> Case:
    authority = Authority.of(intermediates=2)
    stranger = issue("Stranger", key_of("rsa2048", 7), ca=True)
    certificates = sorted([*authority.certificates(), authority.root.der, stranger.der], reverse=True)
    return Case(
        Stamp(authority, note, certificates=[b"\x30\x03\x02\x01\x00", *certificates]), authority.root.pem
    )


def key_id(note: bytes) -> Case:
    key = key_of("p256")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    authority = Authority.of(extensions=[(identifier, False)])
    return Case(Stamp(authority, note, sid=tlv(0x80, identifier.digest)), authority.root.pem)


def first_id(attributes: list[bytes], signer: Issued, keep: bool = False) -> list[bytes]:
    """Replaces signingCertificateV2 by signingCertificate, or adds it."""
    certificate = seq(seq(seq(tlv(0x04, hashlib.sha1(signer.der).digest()))))
    first = seq(oid("1.2.840.113549.1.9.16.2.12"), tlv(0x31, certificate))
    return [*attributes, first] if keep else [*attributes[:2], first]


def named_by(digest: str, number: int, keep: bool = False) -> Make:
    """Makes a stamp that names its certificate by `signingCertificate`, or that of another number."""

    def make(note: bytes) -> Case:
        authority = Authority.of()
        other = authority.tsa if number == 0 else issue("Other", key_of("p256", number))
        changes: dict[str, Any] = {"id_hash": digest}
        if digest == "sha1":
            changes = {"attributes": lambda found: first_id(found, other, keep)}
        return Case(Stamp(authority, note, **changes), authority.root.pem)

    return make


def two_roots(note: bytes) -> Case:
    case = plain()(note)
    case.roots = issue("Other root", key_of("rsa2048", 8), ca=True).pem + case.roots
    return case


def unpinned(note: bytes) -> Case:
    authority = Authority.of()
    certificates = [*authority.certificates(), authority.root.der]
    twin = issue("Root", key_of("p256", 99), ca=True)
    return Case(Stamp(authority, note, certificates=certificates), twin.pem, authority.root.pem)


def swapped(by_sid: bool) -> Make:
    """Makes a stamp whose signer is another certificate of the same TSA; one of both names the other one."""

    def make(note: bytes) -> Case:
        authority = Authority.of()
        other = issue("TSA", key_of("p256", 3), authority.root)
        stamp = Stamp(authority, note, certificates=[other.der, authority.tsa.der])
        if by_sid:
            issuer = other.certificate.issuer.public_bytes()
            stamp.sid = seq(issuer, integer(other.serial))
        else:
            stamp.signer, stamp.certificate_id = other, hashlib.sha256(authority.tsa.der).digest()
        return Case(stamp, authority.root.pem)

    return make


def with_between(count: int = 1, **more: Any) -> Make:
    """Makes a stamp under CAs of which the last one has these arguments of `issue`."""

    def make(note: bytes) -> Case:
        authority = Authority.of(intermediates=count - 1)
        issuer = authority.between[-1] if authority.between else authority.root
        authority.between.append(issue("Last CA", key_of("p256", 50), issuer, **{"ca": True, **more}))
        authority.tsa = issue("TSA", key_of("p256"), authority.between[-1])
        return Case(Stamp(authority, note), authority.root.pem)

    return make


def with_root(**more: Any) -> Make:
    """Makes a stamp under a root with these arguments of `issue`."""

    def make(note: bytes) -> Case:
        root = issue("Root", key_of("p256", 1), **{"ca": True, **more})
        authority = Authority(root, issue("TSA", key_of("p256"), root))
        return Case(Stamp(authority, note), root.pem)

    return make


def with_short_root(note: bytes) -> Case:
    """Makes a stamp with one CA under a root that allows none."""
    root = issue("Root", key_of("p256", 1), ca=True, path_length=0)
    between = issue("CA", key_of("p256", 10), root, ca=True)
    authority = Authority(root, issue("TSA", key_of("p256"), between), [between])
    return Case(Stamp(authority, note), root.pem)


def many_paths(width: int) -> Make:
    """Makes a stamp under CAs that issued each other, so that there are many paths, none to a root."""

    def make(note: bytes) -> Case:
        authority = Authority.of()
        keys = [key_of("p256", 20 + number) for number in range(width)]
        ring = [
            issue("Ring", key, Issued(keys[at - 1], authority.root.certificate), ca=True, issuer_name="Ring")
            for at, key in enumerate(keys)
        ]
        tsa = issue("TSA", key_of("p256"), Issued(keys[0], ring[0].certificate))
        made = Authority(authority.root, tsa, ring)
        return Case(Stamp(made, note), authority.root.pem)

    return make


def indefinite(response: bytes) -> bytes:
    """Gives the outer element an indefinite length."""
    header = 2 + (response[1] & 0x7F)
    return b"\x30\x80" + response[header:] + b"\0\0"


def long_length(response: bytes) -> bytes:
    """Gives the outer element a length with a zero in front."""
    size = response[1] & 0x7F
    return bytes([0x30, 0x81 + size, 0]) + response[2:]


def huge_length(response: bytes) -> bytes:
    return b"\x30\x84\xff\xff\xff\xff" + response[2 + (response[1] & 0x7F) :]


def as_context(signed: bytes) -> bytes:
    """Signs the attributes with the tag that they have in the token."""
    return sign(key_of("p256"), "sha256", b"\xa0" + signed[1:])


def repeated(attributes: list[bytes]) -> list[bytes]:
    return [*attributes, attributes[0]]


def damaged(signed: bytes) -> bytes:
    signature = bytearray(sign(key_of("p256"), "sha256", signed))
    signature[-1] ^= 1
    return bytes(signature)


def negative_number(signed: bytes) -> bytes:
    """Signs with numbers that lack their leading zeros, or have one too many."""
    signature = sign(key_of("p256"), "sha256", signed)
    size = signature[3]
    r, s = signature[4 : 4 + size], signature[6 + size :]
    return seq(tlv(0x02, b"\0" + r), tlv(0x02, b"\0" + s))


def critical_extension() -> bytes:
    extension = seq(oid("1.2.3.4"), b"\x01\x01\xff", tlv(0x04, b"\x05\x00"))
    return tlv(0xA1, extension)


DAY = timedelta(days=1)
ANY_PURPOSE = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
TIME_STAMPING, SERVER = ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.SERVER_AUTH
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
CONSTRAINED = x509.NameConstraints([x509.DNSName("lifts.example")], None)
NONCE = integer(2**63 + 5)
GOOD: dict[str, Make] = {
    "rsa2048": of("rsa2048", "rsa2048"),
    "rsa3072": of("rsa3072", "rsa2048"),
    "rsa4096": of("rsa4096", "p256"),
    "p256": of("p256", "rsa2048"),
    "p384": of("p384", "p384"),
    "rsa with SHA-384": lambda note: plain(Authority.of("rsa2048"), digest="sha384")(note),
    "rsa with SHA-512": lambda note: plain(Authority.of("rsa2048"), digest="sha512")(note),
    "sha512WithRSA": lambda note: plain(
        Authority.of("rsa2048"), digest="sha512", signature_algorithm=algorithm("1.2.840.113549.1.1.13")
    )(note),
    "p256 with SHA-384": plain(digest="sha384"),
    "p384 with SHA-256": lambda note: plain(Authority.of("p384"), digest="sha256")(note),
    "two CAs": of(intermediates=2),
    "six CAs": of(intermediates=6),
    "path length": with_between(path_length=0),
    "CA for time stamps": with_between(usage=[TIME_STAMPING]),
    "certificates in the bundle": absent("bundle"),
    "certificates of the auditor": absent("roots"),
    "unsorted certificates": unsorted,
    "two roots": two_roots,
    "signer by key id": key_id,
    "signingCertificate": named_by("sha1", 0),
    "both signingCertificates": named_by("sha1", 0, keep=True),
    "signingCertificateV2 with SHA-512": named_by("sha512", 0),
    "status 1": plain(status=1),
    "serial of the CA": of(serial=2**159 - 1),
    "no accuracy": plain(accuracy=b""),
    "micros": plain(accuracy=seq(integer(2), tlv(0x80, b"\x03\xe7"), tlv(0x81, b"\x01"))),
    "fraction": plain(gen_time=tlv(0x18, b"20260304050607.0625Z")),
    "last second": of(not_after=STAMPED),
    "first second": of(not_before=STAMPED),
    "nonce and name": plain(info_tail=b"\x01\x01\xff" + NONCE + tlv(0xA0, tlv(0x82, b"tsa.example"))),
    "content commitment": of(key_usage="content_commitment"),
    "no key usage": of(key_usage=None),
    "alternative names": of(extensions=[(x509.SubjectAlternativeName([x509.DNSName("tsa.example")]), True)]),
}
# The reason of each.
BAD: dict[str, tuple[str, Make]] = {
    "empty token": ("malformed", changed(lambda _: seq(seq(integer(0))))),
    "truncated": ("malformed", changed(lambda response: response[:-1])),
    "half": ("malformed", changed(lambda response: response[: len(response) // 2])),
    "text": ("malformed", changed(lambda _: b"no stamp")),
    "trailing bytes": ("malformed", changed(lambda response: response + b"\0")),
    "indefinite length": ("malformed", changed(indefinite)),
    "long length": ("malformed", changed(long_length)),
    "huge length": ("malformed", changed(huge_length)),
    "nested": ("malformed", changed(lambda _: b"\x30\x82\x7f\xff" * 16_000)),
    "over 64 KiB": (
        "malformed",
        plain(more_attributes=[seq(oid("1.2.3"), tlv(0x31, bytes(2)) * 17_000)]),
    ),
    "many certificates": ("malformed", plain(certificates=[b"\x30\x00"] * 17)),
    "no signer": ("malformed", plain(signers=0)),
    "two signers": ("malformed", plain(signers=2)),
    "status 2": ("not_granted", plain(status=2)),
    "status -1": ("not_granted", plain(status=-1)),
    "type of data": ("malformed", plain(content_type="1.2.840.113549.1.7.1")),
    "critical extension": ("malformed", plain(info_tail=critical_extension())),
    "local time": ("malformed", plain(gen_time=tlv(0x18, b"20260304050607"))),
    "fraction of zeros": ("malformed", plain(gen_time=tlv(0x18, b"20260304050607.50Z"))),
    "no such day": ("malformed", plain(gen_time=tlv(0x18, b"20260230050607Z"))),
    "accuracy of 1000 ms": ("malformed", plain(accuracy=seq(tlv(0x80, b"\x03\xe8")))),
    "accuracy of 0 ms": ("malformed", plain(accuracy=seq(tlv(0x80, b"\x00")))),
    "long serial": ("malformed", plain(serial=2**511)),
    "other imprint": ("other_imprint", plain(imprint=bytes(32))),
    "imprint with SHA-512": ("other_imprint", plain(imprint_hash="sha512")),
    "SHA-1": ("algorithm", lambda note: plain(Authority.of("rsa2048"), digest="sha1")(note)),
    "PSS": ("algorithm", plain(signature_algorithm=algorithm("1.2.840.113549.1.1.10"))),
    "other digests": ("algorithm", plain(signature_algorithm=algorithm(ECDSA_WITH["sha384"], null=False))),
    "ECDSA with NULL": ("algorithm", plain(signature_algorithm=algorithm(ECDSA_WITH["sha256"]))),
    "signed type of data": ("attributes", plain(signed_content_type="1.2.840.113549.1.7.1")),
    "no signed type": ("attributes", plain(signed_content_type=None)),
    "other digest": ("attributes", plain(message_digest=bytes(32))),
    "no signingCertificate": ("attributes", plain(attributes=lambda found: found[:2])),
    "attribute twice": ("attributes", plain(attributes=repeated)),
    "id with SHA-1": ("attributes", plain(id_hash="sha1")),
    "certificate nowhere": ("no_signer", absent("nowhere")),
    "unknown critical extension": ("no_signer", of(extensions=[(UNKNOWN, True)])),
    "signer of another name": ("other_signer", swapped(by_sid=True)),
    "other id": ("other_signer", swapped(by_sid=False)),
    "other signingCertificate": ("other_signer", named_by("sha1", 5, keep=True)),
    "no purpose": ("usage", of(usage=[])),
    "purpose not critical": ("usage", of(critical=False)),
    "two purposes": ("usage", of(usage=[TIME_STAMPING, SERVER])),
    "other purpose": ("usage", of(usage=[SERVER])),
    "any purpose": ("usage", of(usage=[ANY_PURPOSE])),
    "key usage": ("usage", of(key_usage="key_agreement")),
    "damaged signature": ("signature", plain(signature=damaged)),
    "signed with A0": ("signature", plain(signature=as_context)),
    "long numbers": ("signature", plain(signature=negative_number)),
    "empty signature": ("signature", plain(signature=lambda _: b"")),
    "short RSA key": ("signature", of("rsa1024")),
    "P-521": ("signature", lambda note: plain(Authority.of("p521"), digest="sha256")(note)),
    "unpinned root": ("untrusted", unpinned),
    "expired": ("untrusted", of(not_after=STAMPED - timedelta(seconds=1))),
    "not yet valid": ("untrusted", of(not_before=STAMPED + timedelta(seconds=1))),
    "expired CA": ("untrusted", with_between(not_after=STAMPED - DAY)),
    "expired root": ("untrusted", with_root(not_after=STAMPED - DAY)),
    "signer is a CA": ("untrusted", of(ca=True, usage=[TIME_STAMPING], key_usage="digital_signature")),
    "CA is none": ("untrusted", with_between(ca=False, usage=[], key_usage="key_cert_sign")),
    "CA without constraints": ("untrusted", with_between(ca=None, usage=[], key_usage="key_cert_sign")),
    "CA may not issue": ("untrusted", with_between(key_usage="crl_sign")),
    "CA for servers": ("untrusted", with_between(usage=[SERVER])),
    "CA for any purpose": ("untrusted", with_between(usage=[ANY_PURPOSE])),
    "CA with name constraints": ("untrusted", with_between(extensions=[(CONSTRAINED, True)])),
    "CA with an unknown critical extension": ("untrusted", with_between(extensions=[(UNKNOWN, True)])),
    "root may not issue": ("untrusted", with_root(key_usage="crl_sign")),
    "path too long": ("untrusted", with_short_root),
    "seven CAs": ("untrusted", of(intermediates=7)),
    "many paths": ("untrusted", many_paths(14)),
}
