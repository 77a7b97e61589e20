"""Time stamps of one checkpoint, good and bad: `python tests/timestamps.py` writes tests/vectors/timestamps.

Each has the reason for which docs/reference/log.md refuses it, and every verifier gives the same reason.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgesentry.testing import _tsa
from edgesentry.testing._log import LOG, WITNESS
from edgesentry.testing._tsa import (
    IS_CA,
    OTHER_TSA,
    TIME_STAMPING,
    TSA,
    Key,
    Token,
    attribute,
    certificate,
    extension,
    integer,
    octets,
    oid,
    pem,
    purposes,
    seq,
    tlv,
)

FOLDER = Path(__file__).parent / "vectors" / "timestamps"
TEXT = f"{LOG.name}\n5\nWwQ0CdS/u8E+HYxqfONJASKf5PKG3ONMvdTVeirn2tk=\n"
STAMPED = f"{TEXT}\n{LOG.line(TEXT)}"
CHECKPOINT = STAMPED + WITNESS.line(TEXT)
IMPRINT = hashlib.sha256(STAMPED.encode()).digest()
GOOD = TSA.token(IMPRINT)
ROOT = ("tsa.example root", 2)
# Before and after the time of the stamps.
ENDED = ("20200101000000Z", "20230101000000Z")
BEGUN = ("20230101000000Z", "20240101000000Z")
LATER = ("20240101000000Z", "21200101000000Z")


@dataclass(frozen=True, slots=True)
class Case:
    """A time stamp.

    Attributes:
        name: Its name.
        stamp: The TimeStampResp.
        reason: The reason to refuse it, or None.
        roots: The certificates of the auditor.
        claimed: Certificates of the side under test.
        nonce: The nonce of the request.
        before_ms: The time before which the checkpoint existed, if it holds.
        authority: The name of the authority, if it holds.
    """

    name: str
    stamp: bytes
    reason: str | None = None
    roots: str = pem(TSA.root)
    claimed: str | None = None
    nonce: int | None = None
    before_ms: int = 1_700_000_001_000
    authority: str = "CN=tsa.example"


def signed_by(
    *extensions: bytes, serial: int = 2, valid: tuple[str, str] | None = None, digest: str = "sha256"
) -> Token:
    """A stamp by a certificate with these extensions."""
    dates = {} if valid is None else {"valid": valid}
    signer = certificate(
        TSA.title, ROOT[0], TSA.key, TSA.key, *extensions, serial=serial, digest=digest, **dates
    )
    return replace(GOOD, signer=signer, certificates=[signer])


def usage(bits: int, unused: int) -> bytes:
    """A `keyUsage`."""
    return extension("2.5.29.15", tlv(3, bytes([unused, bits])), critical=True)


STAMPS = purposes(TIME_STAMPING)
# An object identifier made from a UUID.
LARGE_ARC = "2.25.329800735698586629295641978511506172918"
# A key of RSA with 2,047 bits.
SHORT_KEY = Key(
    int(
        "cf61ce81bb735e8df152997d93f8bed11e10e82405076ac54344786ec1b88e0682e0607f587ed5fb"
        "5a365b539bcd35df80aaba4c7df6b0fcfb8c6a32bf8459d66554eb46ca28e633ca1a741bc77a8c61"
        "9d12316ec92a3bb9f54b5a43e5ebb0d1117e753ece787075c3d881340bd598dc1c80a8c47f923047"
        "396841961f3c79e5",
        16,
    ),
    int(
        "61b7b5073d2a2cca867a99869d925af7f786de1f05d0977ef466ed18d46924d17b1a12b103448fed"
        "56e040f284d9a9e3ed06b415c3b5def3d87a824972ec55a0f15ce5739f29ed1758a3958cf4306036"
        "456d492bd43c84f22cfbccea7aa79a0dcf578ef5a9a5b36472b9cfd63273c8826e995af05c06cdf2"
        "efe24abc5efdd94d",
        16,
    ),
)
MIDDLE = certificate("middle", ROOT[0], OTHER_TSA.key, TSA.key, IS_CA, serial=3)


def below(middle: bytes, *, names: str = "middle") -> Token:
    """A stamp by a certificate that another one than the root has issued."""
    signer = certificate(TSA.title, names, TSA.key, OTHER_TSA.key, STAMPS, serial=4)
    return replace(GOOD, signer=signer, named=(names, 4), certificates=[signer, middle])


def good() -> Iterator[Case]:
    """The stamps that hold."""
    yield Case("good", GOOD.response())
    yield Case("status-1", replace(GOOD, status=1).response())
    yield Case("nonce", replace(GOOD, nonce=(1 << 64) - 1).response(), nonce=(1 << 64) - 1)
    yield Case("nonce-not-asked", replace(GOOD, nonce=7).response())
    for digest in ("sha384", "sha512"):
        yield Case(f"rsa-{digest}", replace(GOOD, digest=digest).response())
        yield Case(f"certificate-id-{digest}", replace(GOOD, essence=digest).response())
    yield Case("certificate-id-sha1", replace(GOOD, essence="sha1").response())
    yield Case("fraction", replace(GOOD, at="20231114221320.0001Z").response(), before_ms=1_700_000_001_001)
    yield Case("no-accuracy", replace(GOOD, accuracy=None).response(), before_ms=1_700_000_000_000)
    accuracy = integer(2) + tlv(0x80, b"\x05") + tlv(0x81, b"\x01")
    yield Case("accuracy", replace(GOOD, accuracy=accuracy).response(), before_ms=1_700_000_002_006)
    absent = replace(GOOD, certificates=[]).response()
    yield Case("signer-of-the-auditor", absent, roots=pem(TSA.root, TSA.signer))
    yield Case("signer-claimed", absent, claimed=pem(TSA.signer))
    stranger = [OTHER_TSA.root, OTHER_TSA.signer]
    yield Case("certificates-unsorted", replace(GOOD, certificates=[TSA.signer, *stranger]).response())
    yield Case("certificates-injected", replace(GOOD, certificates=[*stranger, TSA.signer]).response())
    yield Case("certificate-unusable", replace(GOOD, certificates=[seq(integer(1)), TSA.signer]).response())
    yield Case("two-roots", GOOD.response(), roots=pem(OTHER_TSA.root, TSA.root))
    yield Case("expired-since", signed_by(STAMPS, valid=BEGUN).response())
    yield Case("key-usage", signed_by(STAMPS, usage(0x80, 7)).response())
    yield Case("intermediate", below(MIDDLE).response())
    alone = replace(below(MIDDLE), certificates=below(MIDDLE).certificates[:1]).response()
    yield Case("intermediate-of-the-auditor", alone, roots=pem(MIDDLE, TSA.root))
    yield Case("intermediate-claimed", alone, claimed=pem(MIDDLE))
    attributes = [*GOOD.attributes(), attribute("1.2.3.4", octets(b"unknown"))]
    yield Case("further-attribute", GOOD.response(attributes))
    attributes[-1] = attribute("1.2.3.4", b"\x9f\x1f no element")
    yield Case("attribute-not-read", GOOD.response(attributes))
    attributes[-1] = attribute(LARGE_ARC, octets(b"unknown"))
    yield Case("attribute-with-a-large-arc", GOOD.response(attributes))
    yield Case("extension-with-a-large-arc", signed_by(STAMPS, extension(LARGE_ARC, tlv(5))).response())


def decoys() -> Iterator[Case]:
    """Stamps beside certificates that lead astray."""
    twin = signed_by(STAMPS, valid=LATER).signer
    yield Case("same-name", replace(GOOD, certificates=[twin, TSA.signer]).response())
    key_id = extension("2.5.29.14", octets(b"key"))
    named = replace(signed_by(STAMPS, key_id), key_id=b"key")
    decoy = certificate("decoy", "decoy", OTHER_TSA.key, OTHER_TSA.key, STAMPS, key_id)
    yield Case("key-id", named.response())
    yield Case("same-key-id", replace(named, certificates=[decoy, *named.certificates]).response())
    yield Case("other-key-id", replace(named, key_id=b"other").response(), "no_signer")

    # Rule 5 of chains, and roots that share subject and key.
    old_root = certificate(ROOT[0], ROOT[0], TSA.key, TSA.key, IS_CA, valid=ENDED, serial=7)
    for order, roots in (("before", (old_root, TSA.root)), ("behind", (TSA.root, old_root))):
        yield Case(f"root-{order}-an-expired-one", GOOD.response(), roots=pem(*roots))
    twin = certificate(ROOT[0], ROOT[0], TSA.key, TSA.key, IS_CA, serial=8)
    yield Case("root-in-another-edition", replace(GOOD, certificates=[TSA.signer, twin]).response())
    signer = certificate(ROOT[0], ROOT[0], TSA.key, TSA.key, STAMPS, serial=2)
    like_root = replace(GOOD, signer=signer, certificates=[signer])
    yield Case("signer-like-its-root", like_root.response(), "untrusted")


def paths() -> Iterator[Case]:
    """Stamps with several paths from the signer."""
    own, other = TSA.key, OTHER_TSA.key
    ended_root = certificate("old root", "old root", other, other, IS_CA, valid=ENDED)
    ended = certificate("middle", ROOT[0], other, own, IS_CA, serial=3, valid=ENDED)
    from_ended = certificate("middle", "old root", other, other, IS_CA, serial=5)
    forged = certificate("middle", ROOT[0], other, other, IS_CA, serial=6)
    plain = below(MIDDLE)
    signer = plain.signer

    both_roots = pem(ended_root, TSA.root)

    def case(name: str, *between: bytes, reason: str | None = None, roots: str = both_roots) -> Case:
        return Case(name, replace(plain, certificates=[signer, *between]).response(), reason, roots=roots)

    for name, bad in (("expired", ended), ("expired-root", from_ended), ("forged", forged)):
        yield case(f"paths-{name}-first", bad, MIDDLE)
        yield case(f"paths-{name}-last", MIDDLE, bad)
    yield case("paths-all-bad", ended, from_ended, forged, reason="untrusted")
    # A loop between two CAs, and a way out of it.
    loop = [
        certificate("middle", "upper", other, own, IS_CA, serial=10),
        certificate("upper", "middle", own, other, IS_CA, serial=11),
    ]
    yield case("loop", *loop, reason="untrusted")
    yield case("loop-with-a-way-out", *loop, certificate("upper", ROOT[0], own, own, IS_CA, serial=12))
    # The search verifies ten signatures for each of ten CAs, and 110 with an eleventh one.
    upper = certificate("upper", "upper", own, own, IS_CA)
    strangers = [certificate("upper", "elsewhere", other, other, IS_CA, serial=at) for at in range(40, 48)]
    crossed = [certificate("middle", "upper", other, SHORT_KEY, IS_CA, serial=at) for at in range(20, 30)]
    last = certificate("middle", "upper", other, own, IS_CA, serial=30)
    roots = pem(*strangers, upper)
    yield case("paths-100-signatures", *crossed[1:], last, roots=roots)
    yield case("paths-110-signatures", *crossed, last, roots=roots, reason="untrusted")


def names() -> Iterator[Case]:
    """Stamps of authorities with names that are not plain."""

    def part(kind: str, tag: int, text: bytes) -> bytes:
        return seq(oid(kind), tlv(tag, text))

    def case(name: str, subject: bytes, authority: str) -> Case:
        signer = certificate(subject, ROOT[0], TSA.key, TSA.key, STAMPS, serial=2)
        stamp = replace(GOOD, signer=signer, certificates=[signer]).response()
        return Case(f"name-{name}", stamp, authority=authority)

    common, country, organization = "2.5.4.3", "2.5.4.6", "2.5.4.10"
    hostile = '# a,b+c"d\\e;<f>=\x00\n\x85ü '
    escaped = '\\# a\\,b\\+c\\"d\\\\e\\;\\<f\\>=\\00\\0A\\C2\\85ü\\ '
    yield case("escapes", seq(tlv(0x31, part(common, 12, hostile.encode()))), f"CN={escaped}")
    yield case("space", seq(tlv(0x31, part(common, 19, b" "))), "CN=\\ ")
    parts = [
        tlv(0x31, part(country, 19, b"DE")),
        tlv(0x31, part("0.9.2342.19200300.100.1.25", 22, b"example")),
        tlv(0x31, part(organization, 30, "Lüfte".encode("utf-16-be")), part("2.5.4.97", 12, b"VATDE-1")),
        tlv(0x31, part(common, 12, "TSA 🕰".encode())),
    ]
    yield case("parts", seq(*parts), "CN=TSA 🕰,O=Lüfte+organizationIdentifier=VATDE-1,DC=example,C=DE")
    parts = [
        tlv(0x31, part("1.2.3.4294967296", 12, b"x")),
        tlv(0x31, part("2.999.1", 12, b"x")),
        tlv(0x31, part(common, 12, b"\xff"), part(organization, 30, b"\xd8\0"), part(country, 2, b"\1")),
    ]
    authority = "CN=#0c01ff+O=#1e02d800+C=#020101,2.999.1=#0c0178,1.2.3.4294967296=#0c0178"
    yield case("values-in-hex", seq(*parts), authority)
    for name, subject in (
        ("with-a-large-arc", seq(tlv(0x31, part(LARGE_ARC, 12, b"x")))),
        ("without-form", seq(part(common, 12, b"x"))),
    ):
        yield case(name, subject, f"#{subject.hex()}")
    yield case("empty", seq(), "")
    yield case("long", seq(tlv(0x31, part(common, 12, "🕰".encode() * 300))), "CN=" + "🕰" * 197)


def wrong_bytes() -> Iterator[Case]:
    """Bytes that are not a stamp of the checkpoint."""
    whole = GOOD.response()
    yield Case("empty", b"", "malformed")
    yield Case("text", b"not a stamp", "malformed")
    yield Case("truncated", whole[:-1], "malformed")
    yield Case("trailing", whole + b"\0", "malformed")
    yield Case("indefinite", b"\x30\x80" + whole[4:] + b"\0\0", "malformed")
    yield Case("long-length", b"\x30\x83\0" + whole[2:], "malformed")
    padding = [octets(bytes(65_536))]
    yield Case(
        "too-large", replace(GOOD, certificates=[*GOOD.certificates, *padding]).response(), "malformed"
    )
    yield Case("many-certificates", replace(GOOD, certificates=[TSA.signer] * 17).response(), "malformed")
    yield Case("two-signers", GOOD.response(signers=2), "malformed")
    yield Case("no-signers", GOOD.response(signers=0), "malformed")
    yield Case(
        "other-content", whole.replace(oid(_tsa.TST_INFO), oid("1.2.840.113549.1.9.16.1.5")), "malformed"
    )
    yield Case("critical-extension", replace(GOOD, critical=True).response(), "malformed")
    for name, at in (
        ("zone", "20231114221320+0100"),
        ("no-seconds", "202311142213Z"),
        ("zero-fraction", "20231114221320.10Z"),
        ("month-13", "20231314221320Z"),
    ):
        yield Case(f"time-{name}", replace(GOOD, at=at).response(), "malformed")
    yield Case("accuracy-zero", replace(GOOD, accuracy=tlv(0x80, b"\0")).response(), "malformed")
    yield Case("rejected", replace(GOOD, status=2).response(), "not_granted")
    yield Case("rejected-with-a-token", seq(seq(integer(2)), seq(b"\xff")), "not_granted")
    yield Case("rejected-with-more", seq(seq(integer(2)), seq(), seq()), "malformed")
    large = [TSA.signer, b"\x9f\x1f\x01\x00"]
    yield Case("large-tag", replace(GOOD, certificates=large).response(), "malformed")
    imprint = hashlib.sha256(b"other").digest()
    for name, token in (("signer", GOOD), ("signer-of-another-imprint", replace(GOOD, imprint=imprint))):
        signature = token.key.sign(tlv(0x31, *sorted(token.attributes())))
        changed = token.response().replace(octets(signature), tlv(12, signature))
        yield Case(f"malformed-{name}", changed, "malformed")
    other = TSA.token(hashlib.sha256(CHECKPOINT.encode()).digest())
    yield Case("imprint-of-cosigned", other.response(), "other_imprint")
    yield Case("other-nonce", replace(GOOD, nonce=8).response(), "other_nonce", nonce=7)
    yield Case("no-nonce", whole, "other_nonce", nonce=7)


def wrong_signature() -> Iterator[Case]:
    """Stamps whose signature or signed attributes do not hold."""
    yield Case("sha1", replace(GOOD, digest="sha1").response(), "algorithm")
    kind, digest, certificate_id = GOOD.attributes()
    for name, attributes in {
        "none": [],
        "no-type": [digest, certificate_id],
        "no-digest": [kind, certificate_id],
        "no-certificate-id": [kind, digest],
        "type-twice": [kind, kind, digest, certificate_id],
        "digest-twice": [kind, digest, digest, certificate_id],
        "certificate-id-twice": [kind, digest, certificate_id, certificate_id],
        "other-type": [attribute("1.2.840.113549.1.9.3", oid("1.2.3")), digest, certificate_id],
        "two-digests": [
            kind,
            attribute("1.2.840.113549.1.9.4", octets(bytes(32)), digest[-34:]),
            certificate_id,
        ],
        "other-digest": [kind, attribute("1.2.840.113549.1.9.4", octets(bytes(32))), certificate_id],
    }.items():
        yield Case(f"attributes-{name}", GOOD.response(attributes), "attributes")
    absent = replace(GOOD, certificates=[])
    yield Case("no-signer", absent.response(), "no_signer")
    yield Case("other-serial", replace(GOOD, named=(ROOT[0], 9)).response(), "no_signer")
    yield Case("other-issuer", replace(GOOD, named=("other", 2)).response(), "no_signer")
    yield Case("other-certificate-id", replace(GOOD, signer=TSA.root).response(), "other_signer")
    twin = signed_by(STAMPS, valid=LATER).signer
    yield Case("same-name-only", replace(GOOD, certificates=[twin]).response(), "other_signer")
    signature = bytearray(GOOD.key.sign(tlv(0x31, *sorted(GOOD.attributes()))))
    signature[100] ^= 1
    yield Case("damaged", GOOD.response(signature=bytes(signature)), "signature")
    yield Case("other-key", replace(GOOD, key=OTHER_TSA.key).response(), "signature")
    signer = certificate(TSA.title, ROOT[0], SHORT_KEY, TSA.key, STAMPS, serial=2)
    short = replace(GOOD, key=SHORT_KEY, signer=signer, certificates=[signer])
    yield Case("rsa-2047", short.response(), "signature")


def wrong_certificate() -> Iterator[Case]:
    """Stamps by a certificate that is not for stamps, or without a chain."""
    server = "1.3.6.1.5.5.7.3.1"
    yield Case("no-purpose", signed_by(usage(0x80, 7)).response(), "usage")
    yield Case("purpose-not-critical", signed_by(purposes(TIME_STAMPING, critical=False)).response(), "usage")
    yield Case("two-purposes", signed_by(purposes(TIME_STAMPING, server)).response(), "usage")
    yield Case("other-purpose", signed_by(purposes(server)).response(), "usage")
    yield Case("encipherment", signed_by(STAMPS, usage(0x20, 5)).response(), "usage")
    yield Case("root-not-pinned", OTHER_TSA.token(IMPRINT).response(), "untrusted")
    signers_root = replace(OTHER_TSA.token(IMPRINT), certificates=[OTHER_TSA.signer, OTHER_TSA.root])
    yield Case("root-brought-along", signers_root.response(), "untrusted")
    yield Case("root-claimed", OTHER_TSA.token(IMPRINT).response(), "untrusted", claimed=pem(OTHER_TSA.root))
    yield Case("expired-then", signed_by(STAMPS, valid=ENDED).response(), "untrusted")
    yield Case("not-yet-valid", signed_by(STAMPS, valid=LATER).response(), "untrusted")
    old = certificate(ROOT[0], ROOT[0], TSA.key, TSA.key, IS_CA, valid=ENDED)
    yield Case("root-expired-then", GOOD.response(), "untrusted", roots=pem(old))
    plain = certificate(ROOT[0], ROOT[0], TSA.key, TSA.key)
    yield Case("root-not-a-ca", GOOD.response(), "untrusted", roots=pem(plain))
    yield Case("signer-is-a-ca", signed_by(STAMPS, IS_CA).response(), "untrusted")
    yield Case("certificate-sha1", signed_by(STAMPS, digest="sha1").response(), "untrusted")
    forged = certificate(TSA.title, ROOT[0], TSA.key, OTHER_TSA.key, STAMPS, serial=2)
    yield Case(
        "certificate-forged", replace(GOOD, signer=forged, certificates=[forged]).response(), "untrusted"
    )
    unknown = extension("1.2.3.4", tlv(5), critical=True)
    yield Case("critical-in-certificate", signed_by(STAMPS, unknown).response(), "no_signer")
    alone = replace(below(MIDDLE), certificates=below(MIDDLE).certificates[:1])
    yield Case("intermediate-missing", alone.response(), "untrusted")
    for name, *extensions in (
        ("not-a-ca",),
        ("without-usage", IS_CA, usage(0x80, 7)),
        ("for-servers", IS_CA, purposes(server)),
    ):
        middle = certificate("middle", ROOT[0], OTHER_TSA.key, TSA.key, *extensions, serial=3)
        yield Case(f"intermediate-{name}", below(middle).response(), "untrusted")
    ended = certificate("middle", ROOT[0], OTHER_TSA.key, TSA.key, IS_CA, serial=3, valid=ENDED)
    yield Case("intermediate-expired-then", below(ended).response(), "untrusted")
    middle = certificate("middle", ROOT[0], SHORT_KEY, TSA.key, IS_CA, serial=3)
    signer = certificate(TSA.title, "middle", TSA.key, SHORT_KEY, STAMPS, serial=4)
    under = replace(GOOD, signer=signer, named=("middle", 4), certificates=[signer, middle])
    yield Case("intermediate-rsa-2047", under.response(), "untrusted")
    yield Case("key-usage-not-der", signed_by(STAMPS, usage(0x81, 7)).response(), "no_signer")
    names = extension("2.5.29.17", tlv(5))
    yield Case("names-not-a-sequence", signed_by(STAMPS, names).response(), "no_signer")
    constrained = extension("2.5.29.19", seq(tlv(1, b"\xff"), integer(0)), critical=True)
    short = certificate(ROOT[0], ROOT[0], TSA.key, TSA.key, constrained)
    yield Case("path-too-long", below(MIDDLE).response(), "untrusted", roots=pem(short))


def cases() -> list[Case]:
    """All of them."""
    right = [*good(), *decoys(), *paths(), *names()]
    return [*right, *wrong_bytes(), *wrong_signature(), *wrong_certificate()]


def files() -> dict[str, bytes]:
    """The files of the vectors, by name."""
    names: dict[str, str] = {}
    contents = {"checkpoint": CHECKPOINT.encode()}
    expected: list[dict[str, Any]] = []

    def file(kind: str, text: str | None) -> str | None:
        if text is None:
            return None
        name = names.setdefault(text, f"{kind}-{len(names)}.pem")
        contents[name] = text.encode()
        return name

    for case in cases():
        contents[f"{case.name}.tsr"] = case.stamp
        expected.append(
            {
                "stamp": f"{case.name}.tsr",
                "roots": file("roots", case.roots),
                "claimed": file("claimed", case.claimed),
                "nonce": None if case.nonce is None else str(case.nonce),
                "reason": case.reason,
                "before_ms": None if case.reason else case.before_ms,
                "authority": None if case.reason else case.authority,
            }
        )
    listed = {"imprint": IMPRINT.hex(), "stamps": expected}
    return contents | {"expected.json": (json.dumps(listed, indent=1) + "\n").encode()}


def vectors() -> list[Case]:
    """The cases in the files, but those with the nonce of a request: a bundle has no request."""
    listed = json.loads((FOLDER / "expected.json").read_bytes())["stamps"]
    names = {one[kind] for one in listed for kind in ("roots", "claimed")} - {None}
    text = {name: (FOLDER / name).read_text() for name in names}
    return [
        Case(
            one["stamp"],
            (FOLDER / one["stamp"]).read_bytes(),
            one["reason"],
            text[one["roots"]],
            text.get(one["claimed"]),
            before_ms=one["before_ms"],
            authority=one["authority"],
        )
        for one in listed
        if one["nonce"] is None
    ]


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    contents = files()
    for path in FOLDER.iterdir():
        if path.name not in contents:
            path.unlink()
    for name, content in contents.items():
        (FOLDER / name).write_bytes(content)
