"""Time stamping authorities in Python, after docs/reference/log.md, "Time stamps".

For tests only: the keys are public, and RSA is computed slowly and not in constant time.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

STAMPED_AT: Final = "20231114221320Z"
"""The time at which an authority stamps by default."""

_EXPONENT = 65537
# DigestInfo of PKCS#1 v1.5 without its digest, by hash.
_DIGEST_INFO = {
    "sha1": "3021300906052b0e03021a05000414",
    "sha256": "3031300d060960864801650304020105000420",
    "sha384": "3041300d060960864801650304020205000430",
    "sha512": "3051300d060960864801650304020305000440",
}
_OIDS = {"sha1": "1.3.14.3.2.26", "sha256": "2.16.840.1.101.3.4.2.1", "sha384": "2.16.840.1.101.3.4.2.2"}
_OIDS["sha512"] = "2.16.840.1.101.3.4.2.3"
_WITH_RSA = {"sha1": 5, "sha256": 11, "sha384": 12, "sha512": 13}
TST_INFO: Final = "1.2.840.113549.1.9.16.1.4"


# DER.


def tlv(tag: int, *parts: bytes) -> bytes:
    """Returns an element."""
    content = b"".join(parts)
    if len(content) < 128:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def seq(*parts: bytes) -> bytes:
    """Returns a SEQUENCE."""
    return tlv(0x30, *parts)


def integer(number: int) -> bytes:
    """Returns an INTEGER."""
    return tlv(2, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def octets(content: bytes) -> bytes:
    """Returns an OCTET STRING."""
    return tlv(4, content)


def oid(text: str) -> bytes:
    """Returns an OBJECT IDENTIFIER."""
    first, second, *rest = (int(part) for part in text.split("."))
    content = bytearray()
    for number in (first * 40 + second, *rest):
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(number & 0x7F | 0x80)
        content.extend(reversed(digits))
    return tlv(6, bytes(content))


def algorithm(digest: str) -> bytes:
    """Returns the AlgorithmIdentifier of a hash."""
    return seq(oid(_OIDS[digest]), tlv(5))


def with_rsa(digest: str) -> bytes:
    """Returns the AlgorithmIdentifier of RSA PKCS#1 v1.5 with a hash."""
    return seq(oid(f"1.2.840.113549.1.1.{_WITH_RSA[digest]}"), tlv(5))


def name(common: str | bytes) -> bytes:
    """Returns the Name with a common name alone; a Name stays as it is."""
    if isinstance(common, bytes):
        return common
    return seq(tlv(0x31, seq(oid("2.5.4.3"), tlv(12, common.encode()))))


def extension(identifier: str, value: bytes, *, critical: bool = False) -> bytes:
    """Returns an Extension."""
    return seq(oid(identifier), tlv(1, b"\xff") if critical else b"", octets(value))


def purposes(*identifiers: str, critical: bool = True) -> bytes:
    """Returns `extKeyUsage`."""
    return extension("2.5.29.37", seq(*(oid(one) for one in identifiers)), critical=critical)


TIME_STAMPING: Final = "1.3.6.1.5.5.7.3.8"
IS_CA: Final = extension("2.5.29.19", seq(tlv(1, b"\xff")), critical=True)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of RSA, with its primes."""

    p: int
    q: int

    @property
    def info(self) -> bytes:
        """The SubjectPublicKeyInfo."""
        key = seq(integer(self.p * self.q), integer(_EXPONENT))
        return seq(seq(oid("1.2.840.113549.1.1.1"), tlv(5)), tlv(3, b"\0", key))

    def sign(self, message: bytes, digest: str = "sha256") -> bytes:
        """Returns a signature of PKCS#1 v1.5."""
        modulus = self.p * self.q
        size = (modulus.bit_length() + 7) // 8
        info = bytes.fromhex(_DIGEST_INFO[digest]) + hashlib.new(digest, message).digest()
        padded = b"\0\1" + b"\xff" * (size - len(info) - 3) + b"\0" + info
        secret = pow(_EXPONENT, -1, (self.p - 1) * (self.q - 1))
        return pow(int.from_bytes(padded, "big"), secret, modulus).to_bytes(size, "big")


def certificate(
    subject: str | bytes,
    issuer: str | bytes,
    key: Key,
    issuer_key: Key,
    *extensions: bytes,
    serial: int = 1,
    valid: tuple[str, str] = ("20200101000000Z", "21200101000000Z"),
    digest: str = "sha256",
) -> bytes:
    """Returns the DER of a certificate.

    Args:
        subject: The common name of the subject, or its Name.
        issuer: The common name of the issuer, or its Name.
        key: The key of the subject.
        issuer_key: The key of the issuer, which signs.
        extensions: The extensions.
        serial: The serial number.
        valid: The beginning and the end of its validity.
        digest: The hash of the signature.
    """
    content = seq(
        tlv(0xA0, integer(2)),
        integer(serial),
        with_rsa(digest),
        name(issuer),
        seq(*(_time(time) for time in valid)),
        name(subject),
        key.info,
        tlv(0xA3, seq(*extensions)),
    )
    return seq(content, with_rsa(digest), tlv(3, b"\0", issuer_key.sign(content, digest)))


def _time(time: str) -> bytes:
    return tlv(23, time[2:].encode()) if time < "2050" else tlv(24, time.encode())


def pem(*certificates: bytes) -> str:
    """Returns certificates as PEM."""
    return "".join(
        f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(one).decode()}-----END CERTIFICATE-----\n"
        for one in certificates
    )


@dataclass(frozen=True, slots=True)
class Token:
    """The parts of a time stamp. Each field can be replaced, to make one that does not hold.

    Attributes:
        imprint: The imprint.
        key: The key that signs.
        signer: The certificate that the stamp names as that of the signer.
        named: The issuer and the serial number by which the stamp names the certificate.
        certificates: The certificates in the stamp.
        at: The time, as `genTime` has it.
        digest: The hash of the signature.
        nonce: The nonce, if any.
        status: The status.
        serial: The serial number of the stamp.
        essence: The hash of the certificate's id, `sha1` for the first version of the attribute.
        critical: True if the stamp has a critical extension.
        accuracy: The content of the accuracy, or None.
        key_id: The key identifier that names the certificate in place of issuer and serial number.
    """

    imprint: bytes
    key: Key
    signer: bytes
    named: tuple[str, int]
    certificates: Sequence[bytes]
    at: str = STAMPED_AT
    digest: str = "sha256"
    nonce: int | None = None
    status: int = 0
    serial: int = 1
    essence: str = "sha256"
    critical: bool = False
    accuracy: bytes | None = integer(1)
    key_id: bytes | None = None

    def content(self) -> bytes:
        """Returns the TSTInfo."""
        return seq(
            integer(1),
            oid("1.3.6.1.4.1.99999.1"),
            seq(algorithm("sha256"), octets(self.imprint)),
            integer(self.serial),
            tlv(24, self.at.encode()),
            b"" if self.accuracy is None else seq(self.accuracy),
            b"" if self.nonce is None else integer(self.nonce),
            tlv(0xA1, extension("1.3.6.1.4.1.99999.2", tlv(5), critical=True)) if self.critical else b"",
        )

    def attributes(self) -> list[bytes]:
        """Returns the signed attributes."""
        digest = hashlib.new(self.essence, self.signer).digest()
        if self.essence == "sha1":
            certificate_id = ("1.2.840.113549.1.9.16.2.12", seq(octets(digest)))
        else:
            identifier = b"" if self.essence == "sha256" else algorithm(self.essence)
            certificate_id = ("1.2.840.113549.1.9.16.2.47", seq(identifier, octets(digest)))
        return [
            attribute("1.2.840.113549.1.9.3", oid(TST_INFO)),
            attribute("1.2.840.113549.1.9.4", octets(hashlib.new(self.digest, self.content()).digest())),
            attribute(certificate_id[0], seq(seq(certificate_id[1]))),
        ]

    def response(
        self, attributes: Sequence[bytes] | None = None, signature: bytes | None = None, signers: int = 1
    ) -> bytes:
        """Returns the TimeStampResp.

        Args:
            attributes: Other signed attributes.
            signature: Another signature.
            signers: The number of signatures.
        """
        attributes = sorted(self.attributes() if attributes is None else attributes)
        signed_bytes = tlv(0x31, *attributes) if attributes else self.content()
        signature = signature or self.key.sign(signed_bytes, self.digest)
        issuer, serial = self.named
        signer = seq(
            integer(1),
            seq(name(issuer), integer(serial)) if self.key_id is None else tlv(0x80, self.key_id),
            algorithm(self.digest),
            tlv(0xA0, *attributes) if attributes else b"",
            with_rsa(self.digest),
            octets(signature),
        )
        signed = seq(
            integer(3),
            tlv(0x31, algorithm(self.digest)),
            seq(oid(TST_INFO), tlv(0xA0, octets(self.content()))),
            tlv(0xA0, *self.certificates) if self.certificates else b"",
            tlv(0x31, *[signer] * signers),
        )
        token = seq(oid("1.2.840.113549.1.7.2"), tlv(0xA0, signed))
        return seq(seq(integer(self.status)), token if self.status < 2 else b"")


def attribute(identifier: str, *values: bytes) -> bytes:
    """Returns a signed attribute."""
    return seq(oid(identifier), tlv(0x31, *values))


@dataclass(frozen=True, slots=True)
class Authority:
    """A time stamping authority with a root of its own.

    Attributes:
        title: The beginning of its names.
        key: Its key, which is that of the root too.
    """

    title: str
    key: Key

    @property
    def root(self) -> bytes:
        """The certificate of the root."""
        return certificate(f"{self.title} root", f"{self.title} root", self.key, self.key, IS_CA)

    @property
    def signer(self) -> bytes:
        """The certificate of the signer, with the serial number 2."""
        usage = purposes(TIME_STAMPING)
        return certificate(self.title, f"{self.title} root", self.key, self.key, usage, serial=2)

    def token(self, imprint: bytes) -> Token:
        """Returns a valid stamp.

        Args:
            imprint: The SHA-256 of the stamped note.
        """
        return Token(imprint, self.key, self.signer, (f"{self.title} root", 2), [self.signer])


def stamp_of(checkpoint: str, authority: Authority) -> bytes:
    """Returns the time stamp of a checkpoint.

    Args:
        checkpoint: The note; the name of the log is its first line.
        authority: The authority.
    """
    text, _, signatures = checkpoint.rpartition("\n\n")
    origin = text.partition("\n")[0]
    own = [line for line in signatures.splitlines(keepends=True) if line.split(" ")[1] == origin]
    return _stamp(hashlib.sha256(f"{text}\n\n{''.join(own)}".encode()).digest(), authority)


@cache
def _stamp(imprint: bytes, authority: Authority) -> bytes:
    return authority.token(imprint).response()


TSA: Final = Authority(
    "tsa.example",
    Key(
        int(
            "cdd78b3829ba46ef6ae026d89b3eba6d938115317214d7c08326035537eda5f6eee41e3d725d13fb"
            "9bf732310ece532e0f910cfe98703231d0adbfc1ccc245223a79669c548073ff879771fa45d55c21"
            "494ca5a496911c5abb634d19c23b24e430ffdd625e318e90dfbc2fd36dbc4c95b963dbddb0a86987"
            "0250995c9fa395ed",
            16,
        ),
        int(
            "bb0f59474b5047a848799b5fc3a795706681378f24a0c0e0514ea95371373a517ca233cfe7a9bd94"
            "28f4d5a4d6145913823cbebe0483b09e8c6499aafc1c07e93f96a260f5cb19fa720eaefb6f243a6e"
            "a27b17c5cbe3dd3ed51e64bd383fec45fdf6cbd4ff250c1655d0617029424647a2a95369d7423be3"
            "a1ffcd49aa93c4a7",
            16,
        ),
    ),
)
"""The authority whose root the auditor trusts."""
OTHER_TSA: Final = Authority(
    "other.example",
    Key(
        int(
            "fc8972d9628a80c7a8c4a04c943232d52e1d647a76aa3a4af4efbe39e1da3623822dde41e266dc6a"
            "14a1a9189784be7eca4009a09d7d77de31199aa576dd7abacc34227b8b11c8fe7f064f9cdf2d52fb"
            "126696eaf92bdc1fb40f9bee023090593dcf6539105715635e97631dd2a03f2062a535fcad85d3be"
            "5145e364fdcbc359",
            16,
        ),
        int(
            "b5dd81840e05d51d0c637d8c9d8125edb3fdff4733bf8e1371658682daee93e87bc0aa9979fd41c8"
            "04bb8f7555d293d70b613d74e0928bd198fb1d3ab77bd19396a1b4c5734cba87071b46ba9bc5531b"
            "ef30d0d23a2567af02f562ce3b362497eff653e06ab7b94ba2638c0d6e6eaa0b04e0de465b68e4ab"
            "cb68d2703e3f5a05",
            16,
        ),
    ),
)
"""An authority that the auditor does not trust."""
