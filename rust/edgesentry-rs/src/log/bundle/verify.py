#!/usr/bin/env python3
"""Verifies an evidence bundle of EdgeSentry.

This file needs Python 3.8 or newer and nothing else. It shares no code with the writer of the bundle.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import hashlib
import json
import os
import random
import re
import sys
import time
from bisect import bisect_left, bisect_right
from datetime import datetime, timedelta
from functools import lru_cache

# --- Texts ---

MAX_SIZE = 2**63 - 1
WHITE_SPACE = frozenset(
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
BASE64 = re.compile("[A-Za-z0-9+/]*={0,2}", re.ASCII)
DECIMAL = re.compile("0|[1-9][0-9]{0,18}", re.ASCII)
HEX = re.compile("[0-9a-f]*", re.ASCII)


class Malformed(Exception):
    """The bytes do not have the form of their format; the text says why."""


def decode_base64(text):
    """Returns the bytes of canonical base64, or None."""
    if len(text) % 4 or not BASE64.fullmatch(text):
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    # The last character may have bits after the last byte; only zeros are canonical.
    return data if base64.b64encode(data).decode() == text else None


def encode_base64(data):
    """Returns the canonical base64 of bytes."""
    return base64.b64encode(data).decode()


def parse_decimal(text):
    """Returns the value of a decimal without leading zero that is at most 2^63 - 1, or None."""
    if not DECIMAL.fullmatch(text):
        return None
    value = int(text)
    return value if value <= MAX_SIZE else None


def parse_hash(text):
    """Returns the 32 bytes of a hash in base64, or None."""
    data = decode_base64(text)
    return data if data is not None and len(data) == 32 else None


def is_key_name(name):
    """Returns True if a text can be the name of a key in a note."""
    return bool(name) and "+" not in name and not CONTROL.search(name) and WHITE_SPACE.isdisjoint(name)


# --- The tree: RFC 6962 with SHA-256 ---

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(leaf):
    """Returns the hash of a leaf."""
    return hashlib.sha256(b"\0" + leaf).digest()


def node_hash(left, right):
    """Returns the hash of a node above two hashes."""
    return hashlib.sha256(b"\1" + left + right).digest()


# --- BLAKE3 ---
#
# Many messages at a time: an integer holds the same 32-bit word of each, in lanes of 40 bits. The eight bits
# above a word take the carries of the additions of a compression, so only rotations need a mask.

LANE_BYTES = 5
MAX_LANES = 1024
BLAKE3_IV = (
    *(0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A),
    *(0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19),
)
BLAKE3_PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT, DERIVE_CONTEXT, DERIVE_MATERIAL = 1, 2, 4, 8, 32, 64
RECORD_SIGNATURE_CONTEXT = b"edgesentry-rs 2026 record signature v1"


def _schedule():
    """Returns the indices of the message words, for each of the seven rounds."""
    order = list(range(16))
    rounds = []
    for _ in range(7):
        rounds.append(tuple(order))
        order = [order[at] for at in BLAKE3_PERMUTATION]
    return tuple(rounds)


BLAKE3_SCHEDULE = _schedule()
BLAKE3_MIXED = (
    *((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)),
    *((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)),
)


class Lanes:
    """A number of lanes, with the constants for them."""

    def __init__(self, count):
        self.count = count
        self.ones = int.from_bytes(b"\1\0\0\0\0" * count, "little")
        self.words = self.ones * 0xFFFFFFFF
        self.low = {by: self.ones * ((1 << 32 - by) - 1) for by in (16, 12, 8, 7)}
        self.high = {by: self.ones * ((1 << by) - 1 << 32 - by) for by in (16, 12, 8, 7)}
        self.iv = tuple(self.ones * word for word in BLAKE3_IV)

    def pack(self, values):
        """Returns one word per lane."""
        return int.from_bytes(b"".join(value.to_bytes(LANE_BYTES, "little") for value in values), "little")

    def words_of(self, data, start, stride):
        """Returns the 16 words of the block at `start`, `start + stride` and so on."""
        end = start + stride * self.count
        words = []
        for at in range(start, start + 64, 4):
            lane = bytearray(LANE_BYTES * self.count)
            for byte in range(4):
                lane[byte::LANE_BYTES] = data[at + byte : end : stride]
            words.append(int.from_bytes(lane, "little"))
        return words

    def bytes_of(self, words):
        """Returns the bytes of eight words: 32 for each lane."""
        data = bytearray(32 * self.count)
        for number, word in enumerate(words):
            lane = word.to_bytes(LANE_BYTES * self.count, "little")
            for byte in range(4):
                data[4 * number + byte :: 32] = lane[byte::LANE_BYTES]
        return bytes(data)

    def compress(self, chain, block, counter, length, flags):
        """Returns the eight chaining words after a block. Each argument has one word per lane."""
        low16, low12, low8, low7 = self.low[16], self.low[12], self.low[8], self.low[7]
        high16, high12, high8, high7 = self.high[16], self.high[12], self.high[8], self.high[7]
        state = [*chain, *self.iv[:4], counter, 0, length, flags]
        for order in BLAKE3_SCHEDULE:
            for number, (i, j, k, m) in enumerate(BLAKE3_MIXED):
                a, b, c, d = state[i], state[j], state[k], state[m]
                a = a + b + block[order[2 * number]]
                d ^= a
                d = (d >> 16) & low16 | (d << 16) & high16
                c += d
                b ^= c
                b = (b >> 12) & low12 | (b << 20) & high12
                a = a + b + block[order[2 * number + 1]]
                d ^= a
                d = (d >> 8) & low8 | (d << 24) & high8
                c += d
                b ^= c
                b = (b >> 7) & low7 | (b << 25) & high7
                state[i], state[j], state[k], state[m] = a, b, c, d
        return [(state[at] ^ state[at + 8]) & self.words for at in range(8)]


@lru_cache(maxsize=64)
def lanes_of(count):
    """Returns a number of lanes, which a caller needs often."""
    return Lanes(count)


def _blake3_short(messages, key, flags):
    """Returns the hashes of messages of at most 1,024 bytes that have the same number of blocks."""
    lanes = lanes_of(len(messages))
    blocks = max(1, (len(messages[0]) + 63) // 64)
    stride = 64 * blocks
    data = b"".join([message.ljust(stride, b"\0") for message in messages])
    chain = [lanes.ones * word for word in key]
    full = lanes.ones * 64
    for block in range(blocks):
        kind, length = flags, full
        if block == 0:
            kind |= CHUNK_START
        if block == blocks - 1:
            kind |= CHUNK_END | ROOT
            length = lanes.pack([len(message) - 64 * block for message in messages])
        chain = lanes.compress(chain, lanes.words_of(data, 64 * block, stride), 0, length, lanes.ones * kind)
    joined = lanes.bytes_of(chain)
    return [joined[at : at + 32] for at in range(0, len(joined), 32)]


class Blake3:
    """BLAKE3 of one message of any length, with its chunks in lanes."""

    # The chaining values of this many chunks are one subtree.
    BATCH = 256

    def __init__(self, key=BLAKE3_IV, flags=0):
        self.key = key
        self.flags = flags
        self.rest = bytearray()
        self.subtrees = []  # (level, chaining value): perfect subtrees of chunks, largest first
        self.chunks = 0

    def update(self, data):
        """Adds bytes."""
        self.rest += data
        batch = self.BATCH * 1024
        # The last chunk stays: it may be the root.
        while len(self.rest) > batch:
            values = self._chunks(bytes(self.rest[:batch]))
            del self.rest[:batch]
            while len(values) > 1:
                values = self._parents(values)
            self._push(values[0], self.BATCH.bit_length() - 1)
        return self

    def digest(self):
        """Returns the hash."""
        rest = bytes(self.rest)
        if not self.subtrees and len(rest) <= 1024:
            return _blake3_short([rest], self.key, self.flags)[0]
        subtrees, chunks = list(self.subtrees), self.chunks
        whole = (len(rest) - 1) // 1024
        if whole:
            for value in self._chunks(rest[: 1024 * whole]):
                self._push(value, 0)
        value = self._last_chunk(rest[1024 * whole :])
        stack = [one for _, one in self.subtrees]
        self.subtrees, self.chunks = subtrees, chunks
        while len(stack) > 1:
            value = self._parents([stack.pop(), value])[0]
        return self._parents([stack.pop(), value], ROOT)[0]

    def _push(self, value, level):
        self.chunks += 1 << level
        while self.subtrees and self.subtrees[-1][0] == level:
            value = self._parents([self.subtrees.pop()[1], value])[0]
            level += 1
        self.subtrees.append((level, value))

    def _chunks(self, data):
        """Returns the chaining values of whole chunks, none of them the root."""
        count = len(data) // 1024
        lanes = lanes_of(count)
        chain = [lanes.ones * word for word in self.key]
        counter = lanes.pack([(self.chunks + at) & 0xFFFFFFFF for at in range(count)])
        for block in range(16):
            kind = self.flags | (CHUNK_START if block == 0 else 0) | (CHUNK_END if block == 15 else 0)
            words = lanes.words_of(data, 64 * block, 1024)
            chain = lanes.compress(chain, words, counter, lanes.ones * 64, lanes.ones * kind)
        joined = lanes.bytes_of(chain)
        return [joined[at : at + 32] for at in range(0, len(joined), 32)]

    def _last_chunk(self, data):
        lanes = lanes_of(1)
        chain = list(self.key)
        blocks = max(1, (len(data) + 63) // 64)
        for block in range(blocks):
            part = data[64 * block : 64 * block + 64]
            kind = self.flags | (CHUNK_START if block == 0 else 0)
            kind |= CHUNK_END if block == blocks - 1 else 0
            words = lanes.words_of(part.ljust(64, b"\0"), 0, 64)
            chain = lanes.compress(chain, words, self.chunks & 0xFFFFFFFF, len(part), kind)
        return lanes.bytes_of(chain)

    def _parents(self, values, more=0):
        """Returns the chaining values of the nodes above pairs of values."""
        lanes = lanes_of(len(values) // 2)
        chain = [lanes.ones * word for word in self.key]
        kind = self.flags | PARENT | more
        words = lanes.words_of(b"".join(values), 0, 64)
        joined = lanes.bytes_of(lanes.compress(chain, words, 0, lanes.ones * 64, lanes.ones * kind))
        return [joined[at : at + 32] for at in range(0, len(joined), 32)]


def blake3(message):
    """Returns the BLAKE3 hash of a message."""
    return Blake3().update(message).digest()


def blake3_many(messages, key=BLAKE3_IV, flags=0):
    """Returns the BLAKE3 hashes of messages, which are fastest if they have similar lengths."""
    hashes = [b""] * len(messages)
    groups = {}
    for at, message in enumerate(messages):
        if len(message) > 1024:
            hashes[at] = Blake3(key, flags).update(message).digest()
        else:
            groups.setdefault((len(message) + 63) // 64 or 1, []).append(at)
    for group in groups.values():
        for start in range(0, len(group), MAX_LANES):
            part = group[start : start + MAX_LANES]
            for at, value in zip(part, _blake3_short([messages[at] for at in part], key, flags)):
                hashes[at] = value
    return hashes


def derived_key(context):
    """Returns the key words of BLAKE3 in its derive-key mode."""
    key = Blake3(flags=DERIVE_CONTEXT).update(context).digest()
    return tuple(int.from_bytes(key[at : at + 4], "little") for at in range(0, 32, 4))


RECORD_SIGNATURE_KEY = derived_key(RECORD_SIGNATURE_CONTEXT)


def signing_digests(records):
    """Returns the digests that scheme `record` signs, of canonical bytes without signature."""
    return blake3_many(records, RECORD_SIGNATURE_KEY, DERIVE_MATERIAL)


# --- Ed25519: step 3 of the specification ---
#
# A signature holds if R decodes canonically, S < L and [8](S·B - k·A - R) = 0; k = SHA-512(R ‖ A ‖ message).
# Points are (X, Y, Z, T) with x = X/Z, y = Y/Z and xy = T/Z. Nothing here is secret.

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
D2 = 2 * D % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
LOW_255 = 2**255 - 1
IDENTITY = (0, 1, 1, 0)
# Signatures that are verified as one sum.
SIGNATURE_BATCH = 4096


def decode_point(encoding):
    """Returns x and y of the point with this canonical encoding, or None."""
    y = int.from_bytes(encoding, "little")
    sign, y = y >> 255, y & LOW_255
    if y >= P:
        return None
    square = y * y % P
    u, v = square - 1, (D * square + 1) % P
    v3 = v * v % P * v % P
    x = u * v3 * pow(u * v3 * v3 * v % P, (P - 5) // 8, P) % P
    root = v * x * x % P
    if root != u % P:
        if root != -u % P:
            return None
        x = x * SQRT_M1 % P
    if x & 1 != sign:
        if x == 0:
            return None
        x = P - x
    return x, y


def add(one, other):
    """Returns the sum of two points."""
    x1, y1, z1, t1 = one
    x2, y2, z2, t2 = other
    a = (y1 - x1) * (y2 - x2) % P
    b = (y1 + x1) * (y2 + x2) % P
    c = t1 * D2 % P * t2 % P
    d = 2 * z1 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def double(point):
    """Returns twice a point."""
    x, y, z, _ = point
    a, b = x * x % P, y * y % P
    c = 2 * z * z % P
    h = a + b
    e = h - (x + y) * (x + y) % P
    g = a - b
    f = c + g
    return e * f % P, g * h % P, f * g % P, e * h % P


def negate(point):
    """Returns the negative of a point."""
    x, y, z, t = point
    return P - x, y, z, P - t


def extended(x, y):
    """Returns the point with these coordinates."""
    return x, y, 1, x * y % P


def is_identity(point):
    """Returns True for the neutral element."""
    x, y, z, _ = point
    return x % P == 0 and (y - z) % P == 0


def is_of_small_order(point):
    """Returns True if eight times a point is the neutral element."""
    return is_identity(double(double(double(point))))


def window_table(point):
    """Returns 0 to 15 times a point."""
    table = [IDENTITY, point]
    for _ in range(14):
        table.append(add(table[-1], point))
    return table


def multiply(terms):
    """Returns the sum of scalar times point, of pairs (scalar below 2^256, table of the point)."""
    total = IDENTITY
    for shift in range(252, -4, -4):
        if total is not IDENTITY:
            total = double(double(double(double(total))))
        for scalar, table in terms:
            digit = scalar >> shift & 15
            if digit:
                total = add(total, table[digit])
    return total


BASE_TABLE = window_table(
    extended(
        15112221349535400772501151409588531511454012693041857206046113283949847762202,
        46316835694926478169428394003475163141307993866256225615783033603165251855960,
    )
)


class PublicKey:
    """A key that passed step 2.1: canonical, not of small order, torsion-free."""

    def __init__(self, encoding):
        point = decode_point(encoding)
        if point is None:
            raise Malformed("weak key: it is not the canonical encoding of a point on the curve")
        point = extended(*point)
        if is_of_small_order(point):
            raise Malformed("weak key: it is a point of small order, under which anyone can sign")
        self.minus_table = window_table(negate(point))
        if not is_identity(multiply([(L, self.minus_table)])):
            raise Malformed(
                "weak key: it has a torsion component, so verifiers would disagree on its signatures"
            )
        self.encoding = encoding


def equation_of(key, message, signature):
    """Returns the encoding of R, S and k; None if S is not below L."""
    s = int.from_bytes(signature[32:], "little")
    if s >= L:
        return None
    r = signature[:32]
    k = int.from_bytes(hashlib.sha512(r + key.encoding + message).digest(), "little") % L
    return r, s, k


def verify(key, message, signature):
    """Returns True if a signature of 64 bytes holds."""
    equation = len(signature) == 64 and equation_of(key, message, signature)
    if not equation:
        return False
    r = decode_point(equation[0])
    return r is not None and _holds(key, extended(*r), equation[1], equation[2])


def _holds(key, r, s, k):
    return is_of_small_order(add(multiply([(s, BASE_TABLE), (k, key.minus_table)]), negate(r)))


def bad_signatures(signed):
    """Returns the ascending indices of the signatures that do not hold, of triples (key, message, signature).

    A sum with coefficients of 128 bits decides many at a time: it holds only if each signature does, except
    with a probability of 2^-128. A sum that fails is split.
    """
    bad = []
    for start in range(0, len(signed), SIGNATURE_BATCH):
        entries = []
        for at, (key, message, signature) in enumerate(signed[start : start + SIGNATURE_BATCH], start):
            equation = equation_of(key, message, signature)
            point = equation and decode_point(equation[0])
            if not point:
                bad.append(at)
                continue
            entries.append((at, key, point, equation[1], equation[2]))
        _find_bad(entries, bad, is_known_bad=False)
    return sorted(bad)


def _find_bad(entries, bad, is_known_bad):
    if not entries or (not is_known_bad and _sum_holds(entries)):
        return
    sample = entries[:: len(entries) // 16 + 1]
    wrong = sum(not _entry_holds(entry) for entry in sample)
    if len(entries) <= 16 or 4 * wrong >= len(sample):
        bad.extend(entry[0] for entry in entries if not _entry_holds(entry))
        return
    middle = len(entries) // 2
    left_holds = _sum_holds(entries[:middle])
    if not left_holds:
        _find_bad(entries[:middle], bad, is_known_bad=True)
    _find_bad(entries[middle:], bad, is_known_bad=left_holds)


def _entry_holds(entry):
    _, key, (x, y), s, k = entry
    return _holds(key, extended(x, y), s, k)


def _sum_holds(entries):
    """Returns True if [8](Σ z·s·B - Σ z·k·A - Σ z·R) = 0 for random z."""
    random = os.urandom(16 * len(entries))
    coefficients = [int.from_bytes(random[at : at + 16], "little") for at in range(0, len(random), 16)]
    base = 0
    keys = {}
    points = []
    for (_, key, (x, y), s, k), z in zip(entries, coefficients):
        base += z * s
        keys[key] = keys.get(key, 0) + z * k
        points.append(((y - x) % P, (y + x) % P, x * y % P * D2 % P))
    terms = [(scalar % L, key.minus_table) for key, scalar in keys.items()]
    total = multiply([(base % L, BASE_TABLE), *terms])
    return is_of_small_order(add(total, negate(_multiply_many(points, coefficients))))


def _multiply_many(points, coefficients):
    """Returns the sum of coefficient (below 2^128) times point (as y - x, y + x, 2dxy)."""
    # Digits are between -half and half: a point is added to the bucket of its digit, or its negative is.
    width = max(4, min(11, len(points).bit_length() - 2))
    half, mask = 1 << width - 1, (1 << width) - 1
    bias = sum(half << shift for shift in range(0, 129, width))
    biased = [coefficient + bias for coefficient in coefficients]
    total = IDENTITY
    for shift in range(128 // width * width, -1, -width):
        for _ in range(width if total is not IDENTITY else 0):
            total = double(total)
        buckets = [None] * (half + 1)
        for (minus, plus, t2d), scalar in zip(points, biased):
            digit = (scalar >> shift & mask) - half
            if digit < 0:
                digit, minus, plus, t2d = -digit, plus, minus, P - t2d
            elif digit == 0:
                continue
            bucket = buckets[digit]
            if bucket is None:
                bucket = IDENTITY
            x, y, z, t = bucket
            a = (y - x) * minus % P
            b = (y + x) * plus % P
            c = t * t2d % P
            z += z
            e, f, g, h = b - a, z - c, z + c, b + a
            buckets[digit] = (e * f % P, g * h % P, f * g % P, e * h % P)
        running = window = IDENTITY
        for bucket in reversed(buckets[1:]):
            if bucket is not None:
                running = add(running, bucket)
            if running is not IDENTITY:
                window = add(window, running)
        total = add(total, window) if total is not IDENTITY else window
    return total


# --- Canonical encodings ---

HASH_BYTES = 32
MAX_U64 = 2**64 - 1
RECORD, HEADS, KEY, REVOKED, ERASED, OPENED = 1, 2, 3, 4, 5, 6
HEADS_ENTRY = 0x10
SCHEMES = ("payload-hash", "record")


def read_varint(data, at):
    """Returns a LEB128 integer of the shortest form and the place behind it; IndexError if the bytes end."""
    byte = data[at]
    at += 1
    if byte < 0x80:
        return byte, at
    value, shift = byte & 0x7F, 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 or value > MAX_U64:
                raise Malformed("a varint is longer than needed or exceeds 64 bits")
            return value, at
        shift += 7
        if shift > 63:
            raise Malformed("a varint is longer than needed or exceeds 64 bits")


def write_varint(value):
    """Returns the LEB128 form of an integer."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Reader:
    """Reads the fields of a leaf or of a heads entry."""

    def __init__(self, data, at):
        self.data = data
        self.at = at

    def byte(self):
        """Returns the next byte."""
        return self.bytes(1)[0]

    def varint(self):
        """Returns the next integer."""
        try:
            value, self.at = read_varint(self.data, self.at)
        except IndexError:
            raise Malformed("the bytes end within a field") from None
        return value

    def bytes(self, length=HASH_BYTES):
        """Returns the next bytes, by default those of a hash or key."""
        value = self.data[self.at : self.at + length]
        if len(value) != length:
            raise Malformed("the bytes end within a field")
        self.at += length
        return value

    def text(self):
        """Returns the bytes of the next string, which are UTF-8."""
        value = self.bytes(self.varint())
        check_utf8(value)
        return value

    def option(self):
        """Returns True if the value of an option follows."""
        tag = self.byte()
        if tag > 1:
            raise Malformed("the byte before an option is neither 00 nor 01")
        return tag == 1

    def finish(self):
        """Checks that no byte is left."""
        if self.at != len(self.data):
            raise Malformed("bytes follow the last field")


def check_utf8(data):
    """Checks that bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        raise Malformed("a string is not UTF-8") from None


def parse_record(leaf):
    """Returns device id, sequence, payload hash, previous hash, signature and its place in a record leaf."""
    try:
        length, at = read_varint(leaf, 1)
        start, at = at, at + length
        device_id = leaf[start:at]
        sequence, at = read_varint(leaf, at)
        _, at = read_varint(leaf, at)
        payload_hash = leaf[at : at + 32]
        at += 32
        if leaf[at] != 64:
            raise Malformed("a signature has 64 bytes")
        place = at
        previous = leaf[at + 65 : at + 97]
        length, start = read_varint(leaf, at + 97)
    except IndexError:
        raise Malformed("the bytes end within a field") from None
    if start + length != len(leaf):
        raise Malformed("the last field does not end with the bytes")
    try:
        leaf[start:].decode()
        device_id.decode()
    except UnicodeDecodeError:
        raise Malformed("a string is not UTF-8") from None
    return device_id, sequence, payload_hash, previous, leaf[place + 1 : place + 65], place


class Head:
    """A sequence and the hash of the record there."""

    __slots__ = ("hash", "sequence")

    def __init__(self, sequence, record_hash):
        self.sequence = sequence
        self.hash = record_hash

    def __eq__(self, other):
        return (self.sequence, self.hash) == (other.sequence, other.hash)

    __hash__ = None

    def __str__(self):
        return f"sequence {self.sequence} with hash {self.hash.hex()}"


NO_HEAD = Head(0, bytes(HASH_BYTES))


def parse_heads_leaf(leaf):
    """Returns records, devices and root of a heads leaf."""
    reader = Reader(leaf, 1)
    found = reader.varint(), reader.varint(), reader.bytes()
    reader.varint()
    reader.finish()
    return found


def parse_key_leaf(leaf):
    """Returns device id, public key and start (a head or None) of a key leaf."""
    reader = Reader(leaf, 1)
    device_id = reader.text()
    reader.varint()
    public_key = reader.bytes()
    if reader.byte() > 1:
        raise Malformed("the scheme is neither 0 nor 1")
    start = Head(reader.varint(), reader.bytes()) if reader.option() else None
    reader.varint()
    reader.finish()
    return device_id, public_key, start


def parse_revoked_leaf(leaf):
    """Checks a leaf of revoked keys."""
    reader = Reader(leaf, 1)
    reader.text()
    reader.varint()
    reader.varint()
    reader.finish()


def parse_erased_leaf(leaf):
    """Returns device id, sequence and payload hash of a leaf of an erased payload."""
    reader = Reader(leaf, 1)
    found = reader.text(), reader.varint(), reader.bytes()
    reader.text()
    reader.varint()
    reader.finish()
    return found


def parse_opened_leaf(leaf):
    """Returns the name of the log that a leaf opens."""
    reader = Reader(leaf, 1)
    origin = reader.text().decode()
    reader.varint()
    if reader.option():
        Checkpoint(reader.text().decode(), reader.varint(), reader.bytes())
    reader.varint()
    reader.finish()
    Checkpoint(origin, 0, EMPTY_ROOT)
    return origin


def parse_heads_entry(entry):
    """Returns device id and head of an entry of the heads tree."""
    reader = Reader(entry, 0)
    if reader.byte() != HEADS_ENTRY:
        raise Malformed("an entry of the heads tree begins with 10")
    device_id = reader.text()
    head = Head(reader.varint(), reader.bytes())
    start = Head(reader.varint(), reader.bytes())
    reader.finish()
    if head.sequence == 0 and head.hash != start.hash:
        raise Malformed("a device without a record has the hash of its start")
    return device_id, head


def write_heads_entry(device_id, head, start):
    """Returns the bytes of an entry of the heads tree."""
    return b"".join(
        [
            bytes([HEADS_ENTRY]),
            write_varint(len(device_id)),
            device_id,
            write_varint(head.sequence),
            head.hash,
            write_varint(start.sequence),
            start.hash,
        ]
    )


# --- Notes, checkpoints and policies ---

MAX_NOTE_BYTES = 128 << 10
MAX_SIGNATURES = 64
MAX_ORIGIN_BYTES = 255
MAX_POLICY_ITEMS = 256
LOG_KEY, WITNESS_KEY = 1, 4


class Checkpoint:
    """Name, size and root of a log at one time."""

    def __init__(self, origin, size, root):
        if not 1 <= len(origin.encode()) <= MAX_ORIGIN_BYTES or CONTROL.search(origin):
            raise Malformed("the origin of a checkpoint has 1 to 255 bytes and no control character")
        if size > MAX_SIZE or (size == 0 and root != EMPTY_ROOT):
            raise Malformed(
                "the size of a checkpoint exceeds 2^63 - 1, or its root is not that of the empty tree"
            )
        self.origin = origin
        self.size = size
        self.root = root

    @classmethod
    def parse(cls, text):
        """Returns the checkpoint in the text of a note."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise Malformed("a checkpoint is three lines: origin, size and root")
        size, root = parse_decimal(lines[1]), parse_hash(lines[2])
        if size is None or root is None:
            raise Malformed("the second line of a checkpoint is a decimal, the third one a hash in base64")
        return cls(lines[0], size, root)

    def __eq__(self, other):
        return (self.origin, self.size, self.root) == (other.origin, other.size, other.root)

    __hash__ = None

    def __str__(self):
        return f"root {encode_base64(self.root)} at size {self.size} of {self.origin}"


class Note:
    """A text and its signatures: triples of name, key id and bytes."""

    def __init__(self, data):
        if len(data) > MAX_NOTE_BYTES:
            raise Malformed("the note has more than 131,072 bytes")
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise Malformed("the note is not UTF-8") from None
        if CONTROL.search(text.replace("\n", "")):
            raise Malformed("the note has a control character")
        end = text.rfind("\n\n")
        if end < 0 or not text.endswith("\n"):
            raise Malformed(
                "the note is not a text, an empty line and signature lines, each ended by a line feed"
            )
        self.text = text[: end + 1]
        lines = text[end + 2 :].split("\n")[:-1]
        if not lines:
            raise Malformed("the note has no signature")
        if len(lines) > MAX_SIGNATURES:
            raise Malformed("the note has more than 64 signatures")
        self.signatures = [self._signature(line) for line in lines]

    @staticmethod
    def _signature(line):
        words = line[2:].split(" ", 1)
        data = decode_base64(words[1]) if line.startswith("\u2014 ") and len(words) == 2 else None
        if data is None or len(data) < 5 or not is_key_name(words[0]):
            raise Malformed("a signature line is a dash, a name and canonical base64")
        return words[0], data[:4], data[4:]


class VerifierKey:
    """A public key with its name and type: NAME+ID+BASE64."""

    def __init__(self, text):
        parts = text.split("+", 2)
        if len(parts) != 3 or len(parts[1]) != 8 or not HEX.fullmatch(parts[1]):
            raise Malformed("a key is NAME+ID+BASE64 with 8 lower-case hex digits")
        self.name = parts[0]
        data = decode_base64(parts[2])
        if data is None or len(data) != 33 or data[0] not in (LOG_KEY, WITNESS_KEY):
            raise Malformed("a key has type 0x01 or 0x04 and 32 bytes, in canonical base64")
        self.kind = data[0]
        self.encoding = data[1:]
        self.key = PublicKey(self.encoding)
        if not is_key_name(self.name):
            raise Malformed("the name of a key has no space, control character or plus sign")
        self.id = hashlib.sha256(self.name.encode() + b"\n" + data).digest()[:4]
        if self.id.hex() != parts[1]:
            raise Malformed("the key id does not belong to the name and the key")

    def decide(self, text, signature):
        """Returns None if a signature does not hold, else its time: 0 for that of a log."""
        if self.kind == LOG_KEY:
            return 0 if verify(self.key, text.encode(), signature) else None
        time = int.from_bytes(signature[:8], "big")
        message = f"cosignature/v1\ntime {time}\n{text}".encode()
        return time if time <= MAX_SIZE and verify(self.key, message, signature[8:]) else None


class Distrust(Exception):
    """The policy does not trust a checkpoint: a code of a finding, and a reason."""

    def __init__(self, code, reason):
        super().__init__(reason)
        self.code = code


class Policy:
    """The logs, witnesses and groups of a policy, and its quorum."""

    def __init__(self, data):
        if len(data) > MAX_NOTE_BYTES:
            raise Malformed("the policy has more than 131,072 bytes")
        self.logs = []
        self.witnesses = []  # pairs of name and key
        self.groups = []  # triples of name, threshold and members
        self.quorum = None  # a name, or "none"
        self._names = set()
        self._members = set()
        self._keys = set()
        for number, line in enumerate(data.split(b"\n"), 1):
            try:
                self._line(line)
            except Malformed as problem:
                raise Malformed(f"line {number} of the policy: {problem}") from None
        if self.quorum is None:
            raise Malformed("a policy has exactly one quorum line")

    def _line(self, line):
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise Malformed("it is not UTF-8") from None
        text = text.replace("\t", " ")
        if CONTROL.search(text):
            raise Malformed("it has a control character")
        words = [word for word in text.split(" ") if word]
        comment = next((at for at, word in enumerate(words) if word.startswith("#")), len(words))
        words = words[:comment]
        kind, count = (words[0] if words else ""), len(words)
        if not words:
            return
        if kind == "log" and count in (2, 3):
            self._room(self.logs)
            self.logs.append(self._key(words[1], LOG_KEY))
        elif kind == "witness" and count in (3, 4):
            self._room(self.witnesses)
            key = self._key(words[2], WITNESS_KEY)
            self._define(words[1])
            self.witnesses.append((words[1], key))
        elif kind == "group" and count >= 3:
            self._room(self.groups)
            self._group(words[1], words[2], words[3:])
        elif kind == "quorum" and count == 2:
            if self.quorum is not None:
                raise Malformed("a policy has exactly one quorum line")
            if words[1] != "none":
                self._known(words[1])
            self.quorum = words[1]
        else:
            raise Malformed("it is not a log, witness, group or quorum line")

    def _group(self, name, threshold, members):
        needed = {"all": len(members), "any": 1}.get(threshold)
        if needed is None:
            needed = parse_decimal(threshold)
        if needed is None or not 1 <= needed <= len(members):
            raise Malformed("the threshold of a group is between 1 and the number of its members")
        for member in members:
            self._known(member)
            if member in self._members:
                raise Malformed(f"{quoted(member)} is already a member of a group")
            self._members.add(member)
        self._define(name)
        self.groups.append((name, needed, members))

    def _key(self, text, kind):
        key = VerifierKey(text)
        if key.kind != kind:
            raise Malformed("a log needs a key of type 0x01, a witness one of type 0x04")
        if key.encoding in self._keys:
            raise Malformed("this public key is already in the policy")
        self._keys.add(key.encoding)
        return key

    @staticmethod
    def _room(items):
        if len(items) >= MAX_POLICY_ITEMS:
            raise Malformed("a policy has at most 256 logs, witnesses and groups each")

    def _known(self, name):
        if name not in self._names:
            raise Malformed(f"no witness or group {quoted(name)} is defined above")

    def _define(self, name):
        if name == "none" or name in self._names:
            raise Malformed(f"the name {quoted(name)} is taken")
        self._names.add(name)

    def evaluate(self, note):
        """Returns the trusted checkpoint of a note, its cosignatures and the time of the quorum.

        The cosignatures are pairs of name and Unix seconds; the time is None if no quorum is required.
        """
        try:
            checkpoint = Checkpoint.parse(note.text)
        except Malformed as problem:
            raise Distrust("checkpoint_untrusted", str(problem)) from None
        known = {}
        for key in [log for log in self.logs if log.name == checkpoint.origin] + [
            key for _, key in self.witnesses
        ]:
            known.setdefault((key.name, key.id), []).append(key)
        times = {}
        for name, key_id, signature in note.signatures:
            keys = known.get((name, key_id))
            if keys is None:
                continue
            if len(keys) > 1:
                raise Distrust("checkpoint_untrusted", f"two keys have the name {quoted(name)}")
            if keys[0].encoding in times:
                raise Distrust("checkpoint_untrusted", f"two signatures by {quoted(name)}")
            time = keys[0].decide(note.text, signature)
            if time is None:
                reason = f"the signature by {quoted(name)} is not valid for this text"
                raise Distrust("checkpoint_untrusted", reason)
            times[keys[0].encoding] = time
        if not any(log.encoding in times for log in self.logs):
            reason = f"no signature by a key of log {quoted(checkpoint.origin)} in the policy"
            raise Distrust("checkpoint_untrusted", reason)
        cosigned = [(name, times[key.encoding]) for name, key in self.witnesses if key.encoding in times]
        if self.quorum == "none":
            return checkpoint, cosigned, None
        time = self._quorum_time(dict(cosigned))
        if time is None:
            names = ", ".join(quoted(name) for name, _ in cosigned) or "none"
            reason = f"signed by {names}; the quorum is {quoted(self.quorum)}"
            raise Distrust("witness_quorum_missing", reason)
        return checkpoint, cosigned, time

    def _quorum_time(self, times):
        """Returns the latest time at or after which the whole quorum has signed; None if it has not."""
        times = dict(times)
        for name, threshold, members in self.groups:
            signed = sorted((times[member] for member in members if member in times), reverse=True)
            if len(signed) >= threshold:
                times[name] = signed[threshold - 1]
        return times.get(self.quorum)


# --- Time stamps: docs/reference/log.md, "Time stamps" ---

MAX_STAMP_BYTES = 64 << 10
MAX_CERTIFICATES = 16
MAX_PEM_BYTES = 1 << 20
MAX_PEM_CERTIFICATES = 64
MAX_CERTIFICATE_BYTES = 64 << 10
MAX_BETWEEN = 6
MAX_SIGNATURES_OF_CHAINS = 100
MAX_NAME = 200
EPOCH = datetime(1970, 1, 1)
BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, OBJECT_ID = 1, 2, 3, 4, 6
UTC_TIME, GENERALIZED_TIME, SEQUENCE, SET = 0x17, 0x18, 0x30, 0x31


def object_id(text):
    """Returns the content of an object identifier."""
    first, second, *rest = map(int, text.split("."))
    out = bytearray([40 * first + second])
    for arc in rest:
        digits = [arc & 0x7F]
        while arc >= 0x80:
            arc >>= 7
            digits.append(arc & 0x7F | 0x80)
        out += bytes(reversed(digits))
    return bytes(out)


SIGNED_DATA, TST_INFO = object_id("1.2.840.113549.1.7.2"), object_id("1.2.840.113549.1.9.16.1.4")
CONTENT_TYPE, MESSAGE_DIGEST = object_id("1.2.840.113549.1.9.3"), object_id("1.2.840.113549.1.9.4")
SIGNING_CERTIFICATE = object_id("1.2.840.113549.1.9.16.2.12")
SIGNING_CERTIFICATE_V2 = object_id("1.2.840.113549.1.9.16.2.47")
READ_ATTRIBUTES = {CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_CERTIFICATE, SIGNING_CERTIFICATE_V2}
SUBJECT_KEY_ID, KEY_USAGE = object_id("2.5.29.14"), object_id("2.5.29.15")
BASIC_CONSTRAINTS, NAME_CONSTRAINTS = object_id("2.5.29.19"), object_id("2.5.29.30")
EXTENDED_KEY_USAGE, TIME_STAMPING = object_id("2.5.29.37"), object_id("1.3.6.1.5.5.7.3.8")
ALTERNATIVE_NAME, REVOCATION_LISTS = object_id("2.5.29.17"), object_id("2.5.29.31")
TRANSPARENCY = object_id("1.3.6.1.4.1.11129.2.4.2")
UNDERSTOOD = {KEY_USAGE, BASIC_CONSTRAINTS, EXTENDED_KEY_USAGE, ALTERNATIVE_NAME, REVOCATION_LISTS}
RSA, EC = object_id("1.2.840.113549.1.1.1"), object_id("1.2.840.10045.2.1")
DIGESTS = {
    object_id("2.16.840.1.101.3.4.2.1"): "sha256",
    object_id("2.16.840.1.101.3.4.2.2"): "sha384",
    object_id("2.16.840.1.101.3.4.2.3"): "sha512",
}
SIGNATURES = {
    object_id("1.2.840.113549.1.1.11"): (RSA, "sha256"),
    object_id("1.2.840.113549.1.1.12"): (RSA, "sha384"),
    object_id("1.2.840.113549.1.1.13"): (RSA, "sha512"),
    object_id("1.2.840.10045.4.3.2"): (EC, "sha256"),
    object_id("1.2.840.10045.4.3.3"): (EC, "sha384"),
}
# Parameters that are absent or NULL.
PLAIN = (b"", b"\5\0")
# The DER before a digest in a signature of RSA.
DIGEST_INFO = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
NAMES = {
    object_id("2.5.4.3"): "CN",
    object_id("2.5.4.5"): "serialNumber",
    object_id("2.5.4.6"): "C",
    object_id("2.5.4.7"): "L",
    object_id("2.5.4.8"): "ST",
    object_id("2.5.4.9"): "STREET",
    object_id("2.5.4.10"): "O",
    object_id("2.5.4.11"): "OU",
    object_id("2.5.4.97"): "organizationIdentifier",
    object_id("0.9.2342.19200300.100.1.1"): "UID",
    object_id("0.9.2342.19200300.100.1.25"): "DC",
}
# UTF8String, NumericString, PrintableString, IA5String, VisibleString; BMPString.
STRINGS = {0x0C: "utf-8", 0x12: "utf-8", 0x13: "utf-8", 0x16: "utf-8", 0x1A: "utf-8", 0x1E: "utf-16-be"}


class Der:
    """The elements of some bytes, which are taken one after the other."""

    def __init__(self, data):
        self.elements = []
        self.next_element = 0
        at = 0
        while at < len(data):
            begin, at = at, at + 2
            if at > len(data) or data[begin] & 0x1F == 0x1F:
                raise Malformed("the DER ends within an element, or has a tag of several bytes")
            length = data[begin + 1]
            if length >= 0x80:
                size = length & 0x7F
                digits = data[at : at + size]
                at, length = at + size, int.from_bytes(digits, "big")
                if not 1 <= size <= 4 or len(digits) != size or digits[0] == 0 or length < 0x80:
                    raise Malformed("a length in the DER is indefinite or longer than needed")
            start, at = at, at + length
            if at > len(data):
                raise Malformed("the DER ends within an element")
            self.elements.append((data[begin], data[start:at], data[begin:at]))

    def next(self):
        """Returns tag, content and all bytes of the next element."""
        if self.next_element == len(self.elements):
            raise Malformed("an element of the DER lacks a field")
        self.next_element += 1
        return self.elements[self.next_element - 1]

    def is_next(self, tag):
        """Returns True if the next element has this tag."""
        return self.next_element < len(self.elements) and self.elements[self.next_element][0] == tag

    def element(self, tag):
        """Returns tag, content and all bytes of the next element, which has this tag."""
        if not self.is_next(tag):
            raise Malformed(f"expected an element of DER with the tag {tag:02x}")
        return self.next()

    def take(self, tag):
        """Returns the content of the next element, which has this tag."""
        return self.element(tag)[1]

    def whole(self, tag):
        """Returns all bytes of the next element, which has this tag."""
        return self.element(tag)[2]

    def inside(self, tag):
        """Returns the elements in the next element, which has this tag."""
        return Der(self.take(tag))

    def optional(self, tag):
        """Returns the content of the next element if it has this tag, else None."""
        return self.take(tag) if self.is_next(tag) else None

    def each(self):
        """Yields tag, content and all bytes of each element that is left."""
        while self.next_element < len(self.elements):
            yield self.next()

    def each_of(self, tag):
        """Yields tag, content and all bytes of each element that is left; each has this tag."""
        while self.next_element < len(self.elements):
            yield self.element(tag)

    def finish(self):
        """Checks that no element is left."""
        if self.next_element != len(self.elements):
            raise Malformed("an element of the DER has more fields than expected")

    def integer_bytes(self, tag=INTEGER, most=MAX_STAMP_BYTES):
        """Returns the content of the next integer, which has its shortest form and at most so many bytes."""
        data = self.take(tag)
        if len(data) > most:
            raise Malformed(f"a number has more than {most} bytes")
        if not data or (len(data) > 1 and data[0] in (0, 0xFF) and (data[0] ^ data[1]) < 0x80):
            raise Malformed("an integer in the DER does not have its shortest form")
        return data

    def integer(self, tag=INTEGER):
        """Returns the next integer, which is not negative."""
        data = self.integer_bytes(tag)
        if data[0] >= 0x80:
            raise Malformed("an integer is negative")
        return int.from_bytes(data, "big")

    def boolean(self):
        """Returns the next element as True or False if it is a boolean, else False."""
        data = self.optional(BOOLEAN)
        if data not in (None, b"\0", b"\xff"):
            raise Malformed("a boolean in the DER is neither 00 nor FF")
        return data == b"\xff"

    def bits(self):
        """Returns the number of unused bits of the next bit string, and its bytes."""
        data = self.take(BIT_STRING)
        if not data or data[0] > 7 or (data[0] and (len(data) == 1 or data[-1] & ((1 << data[0]) - 1))):
            raise Malformed("a bit string in the DER has no bits, or bits that are not used")
        return data[0], data[1:]

    def whole_bytes(self):
        """Returns the bytes of the next bit string, which has whole bytes."""
        unused, data = self.bits()
        if unused:
            raise Malformed("a bit string does not have whole bytes")
        return data

    def small(self):
        """Returns the next integer, which is from 0 to 255."""
        value = self.integer()
        if value > 255:
            raise Malformed("a number is larger than 255")
        return value

    def algorithm(self):
        """Returns the object identifier of an algorithm, and all bytes of its parameters."""
        body = self.inside(SEQUENCE)
        found = body.take(OBJECT_ID)
        parameters = [whole for _, _, whole in body.each()]
        if len(parameters) > 1:
            raise Malformed("an algorithm has more than one field behind its identifier")
        return found, b"".join(parameters)

    def digest_name(self):
        """Returns the name of the hash that an algorithm is; None if it is not accepted."""
        found, parameters = self.algorithm()
        return DIGESTS.get(found) if parameters in PLAIN else None


def signature_algorithm(found, parameters):
    """Returns the kind of the key and the name of the hash; None if they are not accepted."""
    kind, digest_name = SIGNATURES.get(found, (None, None))
    is_accepted = parameters == b"" or (kind == RSA and parameters in PLAIN)
    return (kind, digest_name) if kind is not None and is_accepted else None


def parse_time(tag, content):
    """Returns the Unix seconds of a time, and its fraction of a second as decimal digits."""
    digits = "([0-9]{2})" if tag == UTC_TIME else "([0-9]{4})"
    fraction = "" if tag == UTC_TIME else r"(?:\.([0-9]*[1-9]))?"
    match = re.fullmatch(digits + "([0-9]{2})" * 5 + fraction + "Z", content.decode("latin-1"), re.ASCII)
    if match is None:
        raise Malformed("a time is not in UTC, or not of the form of DER")
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    if tag == UTC_TIME:
        year += 1900 if year >= 50 else 2000
    try:
        found = datetime(year, month, day, hour, minute, second)
    except ValueError:
        raise Malformed("a time is not in the calendar") from None
    if found < EPOCH:
        raise Malformed("a time is before 1970")
    return (found - EPOCH) // timedelta(seconds=1), (
        match.group(7) if tag == GENERALIZED_TIME else None
    ) or ""


def parse_date(tag, content):
    """Returns the Unix seconds of a date in a certificate."""
    seconds, fraction = parse_time(tag, content)
    if fraction or tag not in (UTC_TIME, GENERALIZED_TIME):
        raise Malformed("a date of a certificate is not one, or has a fraction")
    return seconds


class Curve:
    """A curve y² = x³ - 3x + b of FIPS 186 with its base point; a point is (x, y), or None at infinity."""

    def __init__(self, p, b, n, base):
        self.p, self.b, self.n = p, b, n
        self.size = (p.bit_length() + 7) // 8
        self.base = base

    def decode(self, data):
        """Returns the point in its uncompressed form."""
        size = self.size
        x, y = int.from_bytes(data[1 : 1 + size], "big"), int.from_bytes(data[1 + size :], "big")
        if len(data) != 1 + 2 * size or data[0] != 4 or x >= self.p or y >= self.p:
            raise Malformed("a point of a key is not in uncompressed form")
        if (y * y - x * x * x + 3 * x - self.b) % self.p:
            raise Malformed("a point of a key is not on its curve")
        return x, y

    def add(self, one, other):
        """Returns the sum of two points."""
        if one is None or other is None:
            return one or other
        (x1, y1), (x2, y2), p = one, other, self.p
        if x1 != x2:
            slope = (y2 - y1) * pow(x2 - x1, -1, p)
        elif (y1 + y2) % p == 0:
            return None
        else:
            slope = 3 * (x1 * x1 - 1) * pow(2 * y1, -1, p)
        x = (slope * slope - x1 - x2) % p
        return x, (slope * (x1 - x) - y1) % p

    def holds(self, point, digest, r, s):
        """Decides the equation of ECDSA."""
        if not (0 < r < self.n and 0 < s < self.n):
            return False
        inverse = pow(s, -1, self.n)
        number = int.from_bytes(digest[: self.size], "big")
        one, two = number * inverse % self.n, r * inverse % self.n
        table = (None, self.base, point, self.add(self.base, point))
        total = None
        for bit in range(self.n.bit_length() - 1, -1, -1):
            total = self.add(self.add(total, total), table[(one >> bit & 1) + 2 * (two >> bit & 1)])
        return total is not None and total[0] % self.n == r


CURVES = {
    b"\6\x08" + object_id("1.2.840.10045.3.1.7"): Curve(
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
        0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
        (
            0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
            0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
        ),
    ),
    b"\6\5" + object_id("1.3.132.0.34"): Curve(
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
        (
            0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
            0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
        ),
    ),
}


class RsaKey:
    """A key of RSA, for signatures of PKCS #1 v1.5."""

    kind = RSA

    def __init__(self, data):
        outer = Der(data)
        body = outer.inside(SEQUENCE)
        outer.finish()
        self.n, self.e = body.integer(), body.integer()
        body.finish()
        if not 2048 <= self.n.bit_length() <= 8192 or self.n % 2 == 0:
            raise Malformed("a key of RSA does not have 2,048 to 8,192 bits")
        if not 3 <= self.e < 2**33 or self.e % 2 == 0:
            raise Malformed("the exponent of a key of RSA is not an odd number from 3 to 2^33")

    def holds(self, digest_name, message, signature):
        """Returns True if a signature holds."""
        size = (self.n.bit_length() + 7) // 8
        value = int.from_bytes(signature, "big")
        info = DIGEST_INFO[digest_name] + hashlib.new(digest_name, message).digest()
        expected = b"\0\1" + b"\xff" * (size - 3 - len(info)) + b"\0" + info
        is_number = len(signature) == size and value < self.n
        return is_number and pow(value, self.e, self.n) == int.from_bytes(expected, "big")


class EcKey:
    """A key of ECDSA."""

    kind = EC

    def __init__(self, curve, data):
        self.curve = curve
        self.point = curve.decode(data)

    def holds(self, digest_name, message, signature):
        """Returns True if a signature holds."""
        try:
            outer = Der(signature)
            body = outer.inside(SEQUENCE)
            outer.finish()
            r, s = body.integer(), body.integer()
            body.finish()
        except Malformed:
            return False
        return self.curve.holds(self.point, hashlib.new(digest_name, message).digest(), r, s)


def parse_public_key(spki):
    """Returns the key in a SubjectPublicKeyInfo."""
    body = Der(spki).inside(SEQUENCE)
    kind, parameters = body.algorithm()
    bits = body.whole_bytes()
    body.finish()
    if kind == RSA and parameters == b"\5\0":
        return RsaKey(bits)
    if kind == EC and parameters in CURVES:
        return EcKey(CURVES[parameters], bits)
    raise Malformed("a key is neither one of RSA nor on P-256 or P-384")


class Certificate:
    """A usable certificate of X.509."""

    def __init__(self, der):
        if len(der) > MAX_CERTIFICATE_BYTES:
            raise Malformed("a certificate has more than 65,536 bytes")
        self.der = der
        outer = Der(der)
        body = outer.inside(SEQUENCE)
        outer.finish()
        self.signed = body.whole(SEQUENCE)
        algorithm = body.whole(SEQUENCE)
        self.algorithm = signature_algorithm(*Der(algorithm).algorithm())
        self.signature = body.whole_bytes()
        body.finish()
        fields = Der(self.signed).inside(SEQUENCE)
        if fields.optional(0xA0) != b"\2\1\2":
            raise Malformed("a certificate is not of version 3")
        self.serial = fields.integer_bytes(most=21)
        if fields.whole(SEQUENCE) != algorithm:
            raise Malformed("a certificate names two signature algorithms")
        self.issuer = fields.whole(SEQUENCE)
        validity = fields.inside(SEQUENCE)
        self.not_before, self.not_after = parse_date(*validity.next()[:2]), parse_date(*validity.next()[:2])
        validity.finish()
        self.subject = fields.whole(SEQUENCE)
        self.spki = fields.whole(SEQUENCE)
        self.key_id = self.key_usage = self.purposes = None
        self.is_ca, self.path_length, self.purposes_are_critical = False, None, False
        if fields.is_next(0xA3):
            extensions = fields.inside(0xA3)
            self._extensions(extensions.inside(SEQUENCE))
            extensions.finish()
        fields.finish()

    def _extensions(self, extensions):
        seen = set()
        while extensions.is_next(SEQUENCE):
            extension = extensions.inside(SEQUENCE)
            kind, is_critical, value = (
                extension.take(OBJECT_ID),
                extension.boolean(),
                extension.take(OCTET_STRING),
            )
            extension.finish()
            if kind in seen or kind == NAME_CONSTRAINTS or (is_critical and kind not in UNDERSTOOD):
                raise Malformed(
                    "a certificate has an extension twice, name constraints or an unknown critical one"
                )
            seen.add(kind)
            if kind not in (*UNDERSTOOD, SUBJECT_KEY_ID, TRANSPARENCY):
                continue
            content = Der(value)
            if kind == BASIC_CONSTRAINTS:
                body = content.inside(SEQUENCE)
                self.is_ca = body.boolean()
                self.path_length = body.small() if body.is_next(INTEGER) else None
                body.finish()
            elif kind == KEY_USAGE:
                self.key_usage = (content.bits()[1] or b"\0")[0]
            elif kind == EXTENDED_KEY_USAGE:
                body = content.inside(SEQUENCE)
                self.purposes, self.purposes_are_critical = [], is_critical
                while body.is_next(OBJECT_ID):
                    self.purposes.append(body.take(OBJECT_ID))
                body.finish()
            elif kind == SUBJECT_KEY_ID:
                self.key_id = content.take(OCTET_STRING)
            elif kind in (ALTERNATIVE_NAME, REVOCATION_LISTS):
                content.take(SEQUENCE)
            else:
                content.take(OCTET_STRING)
            content.finish()
        extensions.finish()

    def is_valid_at(self, seconds):
        """Returns True in the validity of the certificate."""
        return self.not_before <= seconds <= self.not_after

    def may_stamp(self):
        """Returns True if the key may sign time stamps, and nothing else (step S12)."""
        may_sign = self.key_usage is None or self.key_usage & 0xC0
        return bool(may_sign and self.purposes_are_critical and self.purposes == [TIME_STAMPING])

    def is_same_entity(self, other):
        """Returns True if both have the same subject and the same key."""
        return (self.subject, self.spki) == (other.subject, other.spki)

    def may_issue(self, between, is_root):
        """Returns True if it may stand above `between` certificates and the signer in a chain."""
        is_long_enough = self.path_length is None or self.path_length >= between
        may_sign = self.key_usage is None or self.key_usage & 0x04
        may_stamp = is_root or self.purposes is None or TIME_STAMPING in self.purposes
        return bool(self.is_ca and is_long_enough and may_sign and may_stamp)

    def verifies(self, algorithm, message, signature):
        """Returns True if a signature is one of the key of this certificate."""
        try:
            key = parse_public_key(self.spki)
        except Malformed:
            return False
        return (
            algorithm is not None and key.kind == algorithm[0] and key.holds(algorithm[1], message, signature)
        )


def usable_certificates(encodings):
    """Returns the certificates that are usable."""
    found = []
    for encoding in encodings:
        with contextlib.suppress(Malformed):
            found.append(Certificate(encoding))
    return found


def parse_pem(data):
    """Returns the encodings of the certificates in a file."""
    if len(data) > MAX_PEM_BYTES:
        raise Malformed("a file of certificates has more than 1 MiB")
    found, block = [], None
    for line in data.split(b"\n"):
        line = line.rstrip(b" \t\r")
        if block is None:
            block = [] if line == b"-----BEGIN CERTIFICATE-----" else None
        elif line == b"-----END CERTIFICATE-----":
            found.append(decode_base64(b"".join(block).decode("latin-1")))
            if found[-1] is None or len(found) > MAX_PEM_CERTIFICATES:
                raise Malformed("a certificate is not canonical base64, or there are more than 64")
            block = None
        else:
            block.append(line)
    if block is not None or not found:
        raise Malformed("the last certificate has no end, or there is none")
    return found


class Roots:
    """The roots that the auditor trusts for time stamps, and certificates that complete chains."""

    def __init__(self, data):
        self.certificates = [Certificate(encoding) for encoding in parse_pem(data)]
        self.roots = [one for one in self.certificates if one.issuer == one.subject]
        if not self.roots:
            raise Malformed("no certificate in it is a root: its own issuer")


class BadStamp(Exception):
    """A time stamp is not valid: the reason of the step, and a sentence."""

    def __init__(self, reason, message):
        super().__init__(f"{reason}: {message}")
        self.reason = reason


def dotted(content):
    """Returns an object identifier with decimal arcs below 2^63."""
    arcs, arc = [], None
    for byte in content:
        if (arc is None and byte == 0x80) or (arc or 0) >= 2**56:
            raise Malformed("an object identifier is not one, or has an arc that is too large")
        arc = (arc or 0) << 7 | byte & 0x7F
        if byte < 0x80:
            arcs.append(arc)
            arc = None
    if not arcs or arc is not None:
        raise Malformed("an object identifier is not one")
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, [first, arcs[0] - 40 * first, *arcs[1:]]))


def name_part(kind, tag, value, whole):
    """Returns an attribute of a distinguished name as RFC 4514 writes it."""
    if kind not in NAMES:
        return f"{dotted(kind)}=#{whole.hex()}"
    try:
        text = value.decode(STRINGS[tag])
    except (KeyError, UnicodeDecodeError):
        return f"{NAMES[kind]}=#{whole.hex()}"
    text = re.sub(r'["+,;<>\\]|^[# ]|(?!^) \Z', r"\\\g<0>", text)
    text = CONTROL.sub(lambda match: "".join(f"\\{byte:02X}" for byte in match.group().encode()), text)
    return f"{NAMES[kind]}={text}"


def name_text(name):
    """Returns a distinguished name for people."""
    parts = []
    try:
        outer = Der(name)
        for _, attributes, _ in outer.inside(SEQUENCE).each_of(SET):
            texts = []
            for _, attribute, _ in Der(attributes).each_of(SEQUENCE):
                body = Der(attribute)
                texts.append(name_part(body.take(OBJECT_ID), *body.next()))
                body.finish()
            parts.append("+".join(texts))
    except Malformed:
        return f"#{name.hex()}"[:MAX_NAME]
    return ",".join(reversed(parts))[:MAX_NAME]


class TimeStamp:
    """A time stamp under verification (steps S1 to S14)."""

    def __init__(self, file):
        self.file = file
        self.authority = self.serial = self.time = None
        self.accuracy_us = 0

    def verify(self, data, imprint, roots, others):
        """Verifies the bytes of the stamp, or raises BadStamp."""
        try:
            self._verify(data, imprint, roots, others)
        except Malformed as problem:
            raise BadStamp("malformed", str(problem)) from None

    def _verify(self, data, imprint, roots, others):
        if len(data) > MAX_STAMP_BYTES:
            raise Malformed("a time stamp has at most 65,536 bytes")
        content, certificates, signer = self._response(data)
        self._info(content, imprint)
        signer.check_algorithm()
        try:
            ids = signer.check_attributes(content)
        except Malformed as problem:
            raise BadStamp("attributes", str(problem)) from None
        near = [*usable_certificates(certificates), *roots.certificates, *others]
        named = [one for one in near if signer.is_named(one)]
        if not named:
            raise BadStamp("no_signer", "no usable certificate is the one that the time stamp names")
        certificate = next((one for one in named if has_ids(one, ids)), None)
        if certificate is None:
            raise BadStamp("other_signer", "the signed id is that of another certificate")
        self.authority = name_text(certificate.subject)
        if not certificate.may_stamp():
            raise BadStamp(
                "usage", "the certificate is not for time stamps alone, or is not marked so as critical"
            )
        if not certificate.verifies(signer.algorithm, signer.signed, signer.signature):
            raise BadStamp("signature", "the signature does not hold under the key of the certificate")
        if not has_chain(certificate, near, roots.roots, self.time[0]):
            raise BadStamp("untrusted", "no chain leads to your roots that is valid at the time of the stamp")

    @staticmethod
    def _response(data):
        """Steps S2 to S4. Returns the content, the encodings of certificates and the signer."""
        outer = Der(data)
        response = outer.inside(SEQUENCE)
        outer.finish()
        information = response.inside(SEQUENCE)
        status = information.integer_bytes()
        information.optional(SEQUENCE)
        if information.is_next(BIT_STRING):
            information.bits()
        information.finish()
        token = response.optional(SEQUENCE)
        response.finish()
        if status not in (b"\0", b"\1"):
            raise BadStamp("not_granted", f"the authority answered with the status {status.hex()}")
        if token is None:
            raise Malformed("the answer has no token")
        token = Der(token)
        if token.take(OBJECT_ID) != SIGNED_DATA:
            raise Malformed("the token is not signed data")
        wrapped = token.inside(0xA0)
        token.finish()
        signed = wrapped.inside(SEQUENCE)
        wrapped.finish()
        signed.small()
        signed.take(SET)
        content = signed.inside(SEQUENCE)
        certificates = [one for _, _, one in Der(signed.optional(0xA0) or b"").each()]
        signed.optional(0xA1)
        signers = signed.inside(SET)
        signed.finish()
        if content.take(OBJECT_ID) != TST_INFO:
            raise Malformed("the token does not have the type of time stamps")
        wrapped = content.inside(0xA0)
        content.finish()
        info = wrapped.take(OCTET_STRING)
        wrapped.finish()
        if len(certificates) > MAX_CERTIFICATES:
            raise Malformed("a token has at most 16 certificates")
        signer = SignerInfo(signers.inside(SEQUENCE))
        signers.finish()
        return info, certificates, signer

    def _info(self, content, imprint):
        """Steps S5 and S6."""
        outer = Der(content)
        info = outer.inside(SEQUENCE)
        outer.finish()
        if info.small() != 1:
            raise Malformed("the time stamp is not of version 1")
        info.take(OBJECT_ID)
        stamped = info.inside(SEQUENCE)
        digest_name, found = stamped.digest_name(), stamped.take(OCTET_STRING)
        stamped.finish()
        self.serial = info.integer_bytes(most=64).hex()
        time = info.take(GENERALIZED_TIME)
        self.accuracy_us = parse_accuracy(info.inside(SEQUENCE)) if info.is_next(SEQUENCE) else 0
        info.boolean()
        if info.is_next(INTEGER):
            info.integer_bytes()
        info.optional(0xA0)
        extensions = Der(info.optional(0xA1) or b"")
        while extensions.is_next(SEQUENCE):
            body = extensions.inside(SEQUENCE)
            body.take(OBJECT_ID)
            if body.boolean():
                raise Malformed("the time stamp has a critical extension")
            body.take(OCTET_STRING)
            body.finish()
        extensions.finish()
        info.finish()
        self.time = parse_time(GENERALIZED_TIME, time)
        if digest_name != "sha256" or found != imprint:
            raise BadStamp(
                "other_imprint", "the stamp is not of this checkpoint with the signatures of its log"
            )

    def times_ms(self):
        """Returns the time of the stamp and the time before which the checkpoint existed, both rounded up."""
        seconds, fraction = self.time
        milliseconds = int(fraction[:3].ljust(3, "0")) + (len(fraction) > 3)
        time = 1000 * seconds + milliseconds
        return time, time - (-self.accuracy_us // 1000)

    def to_json(self):
        """Returns the stamp as an object of JSON."""
        time, before = self.times_ms()
        return {
            "file": self.file,
            "authority": self.authority,
            "serial": self.serial,
            "time_ms": time,
            "before_ms": before,
        }

    def __str__(self):
        time, before = map(time_text_ms, self.times_ms())
        form = "time stamp {}: the checkpoint existed before {}; stamped {} by {}, accurate to {} s"
        return form.format(self.file, before, time, quoted(self.authority), decimal(self.accuracy_us))


class SignerInfo:
    """The signer of a token (step S4)."""

    def __init__(self, body):
        body.small()
        self.key_id = body.optional(0x80)
        self.name = None
        if self.key_id is None:
            name = body.inside(SEQUENCE)
            self.name = name.whole(SEQUENCE), name.integer_bytes()
            name.finish()
        self.digest_name = body.digest_name()
        self.attributes = body.whole(0xA0) if body.is_next(0xA0) else None
        kind, parameters = body.algorithm()
        self.algorithm = signature_algorithm(kind, parameters)
        if kind == RSA and parameters in PLAIN:
            self.algorithm = RSA, self.digest_name
        self.signature = body.take(OCTET_STRING)
        body.optional(0xA1)
        body.finish()

    def check_algorithm(self):
        """Step S8."""
        if None in (self.digest_name, self.algorithm) or self.algorithm[1] != self.digest_name:
            raise BadStamp("algorithm", "the algorithms of the signature are not accepted")

    def check_attributes(self, content):
        """Step S9. Returns the algorithms and digests of the certificate that the attributes name."""
        if self.attributes is None:
            raise Malformed("the token has no signed attributes")
        self.signed = bytes([SET]) + self.attributes[1:]
        values = {}
        for _, attribute, _ in Der(self.attributes).inside(0xA0).each_of(SEQUENCE):
            body = Der(attribute)
            kind, value = body.take(OBJECT_ID), body.take(SET)
            body.finish()
            if kind not in READ_ATTRIBUTES:
                continue
            if kind in values:
                raise Malformed("a signed attribute is there twice")
            values[kind] = Der(value)
        ids = [kind for kind in (SIGNING_CERTIFICATE, SIGNING_CERTIFICATE_V2) if kind in values]
        if not ids or not {CONTENT_TYPE, MESSAGE_DIGEST} <= values.keys():
            raise Malformed("a signed attribute is missing")
        if values[CONTENT_TYPE].take(OBJECT_ID) != TST_INFO:
            raise Malformed("the signed type is not that of time stamps")
        digest = hashlib.new(self.digest_name, content).digest()
        if values[MESSAGE_DIGEST].take(OCTET_STRING) != digest:
            raise Malformed("the signed digest is not that of the content")
        found = [parse_certificate_id(kind, values[kind]) for kind in ids]
        for value in values.values():
            value.finish()
        return found

    def is_named(self, certificate):
        """Returns True if the signer names this certificate."""
        if self.key_id is not None:
            return certificate.key_id == self.key_id
        return self.name == (certificate.issuer, certificate.serial)


def parse_certificate_id(kind, value):
    """Returns algorithm and digest of the first id in `signingCertificate` or `signingCertificateV2`."""
    attribute = value.inside(SEQUENCE)
    ids = attribute.inside(SEQUENCE)
    attribute.optional(SEQUENCE)
    attribute.finish()
    first = ids.inside(SEQUENCE)
    digest_name = "sha1" if kind == SIGNING_CERTIFICATE else "sha256"
    if kind == SIGNING_CERTIFICATE_V2 and first.is_next(SEQUENCE):
        digest_name = first.digest_name()
    if digest_name is None:
        raise Malformed("the algorithm of signingCertificateV2 is not accepted")
    digest = first.take(OCTET_STRING)
    first.optional(SEQUENCE)
    first.finish()
    return digest_name, digest


def has_ids(certificate, ids):
    """Returns True if each digest is that of a certificate."""
    return all(hashlib.new(digest_name, certificate.der).digest() == digest for digest_name, digest in ids)


def decimal(microseconds):
    """Returns seconds as a decimal."""
    return f"{microseconds / 10**6:.6f}".rstrip("0").rstrip(".")


def parse_accuracy(body):
    """Returns an accuracy in microseconds."""
    seconds = body.integer() if body.is_next(INTEGER) else 0
    parts = [body.integer(tag) if body.is_next(tag) else None for tag in (0x80, 0x81)]
    body.finish()
    if seconds >= 2**31 or any(part is not None and not 1 <= part <= 999 for part in parts):
        raise Malformed("the accuracy of the time stamp is out of range")
    return seconds * 10**6 + (parts[0] or 0) * 1000 + (parts[1] or 0)


def has_chain(signer, certificates, roots, seconds):
    """Returns True if the search of step S14 finds a chain from the signer to a root: breadth first."""
    if signer.is_ca or not signer.is_valid_at(seconds):
        return False
    anchors = {one.der for one in roots}
    issuers = {}
    for one in certificates:
        if one.is_valid_at(seconds) and not one.is_same_entity(signer):
            issuers.setdefault(one.der, one)
    left, level = MAX_SIGNATURES_OF_CHAINS, [signer]
    for between in range(MAX_BETWEEN + 1):
        below, level = level, []
        for one in below:
            for der, issuer in list(issuers.items()):
                is_root = der in anchors
                is_too_deep = between == MAX_BETWEEN and not is_root
                if issuer.subject != one.issuer or is_too_deep or not issuer.may_issue(between, is_root):
                    continue
                if left == 0:
                    return False
                left -= 1
                if not issuer.verifies(one.algorithm, one.signed, one.signature):
                    continue
                if is_root:
                    return True
                level.append(issuer)
                del issuers[der]
    return False


def stamped_imprint(data, note):
    """Returns the digest that stamps a note: that of its text and the signatures whose name is the origin."""
    origin = note.text.split("\n", 1)[0]
    lines = data.decode()[len(note.text) + 1 :].split("\n")[:-1]
    own = [f"{line}\n" for line in lines if line.startswith(f"\u2014 {origin} ")]
    return hashlib.sha256((note.text + "\n" + "".join(own)).encode()).digest()


# --- Keys of devices ---

SPKI = bytes.fromhex("302a300506032b6570032100")
SSH = b"\0\0\0\x0bssh-ed25519\0\0\0\x20"


class RingKey:
    """A key of a device: valid from a sequence until the next key of the device."""

    __slots__ = ("key", "scheme", "valid_from")

    def __init__(self, valid_from, scheme, key):
        self.valid_from = valid_from
        self.scheme = scheme
        self.key = key


class DeviceKeys:
    """The keys of a device, in the order of the sequences from which they are valid."""

    __slots__ = ("keys", "starts")

    def __init__(self):
        self.starts = []
        self.keys = []

    def at(self, sequence):
        """Returns the place of the key that signs a sequence (step 2.2); -1 if there is none."""
        return bisect_right(self.starts, sequence) - 1


class KeyRing:
    """The keys of devices (step 2), by device id."""

    def __init__(self):
        self.devices = {}
        self._schemes = {}
        self._known = {}

    def add(self, device_id, valid_from, scheme, encoding):
        """Adds a key of 32 bytes."""
        if self._schemes.setdefault(encoding, scheme) != scheme:
            raise Malformed(f"key {encoding.hex()} has two schemes: a key belongs to one")
        key = self._known.get(encoding)
        if key is None:
            key = self._known[encoding] = PublicKey(encoding)
        keys = self.devices.setdefault(device_id, DeviceKeys())
        at = bisect_left(keys.starts, valid_from)
        if at < len(keys.starts) and keys.starts[at] == valid_from:
            raise Malformed(f"device {shown(device_id)} has two keys from sequence {valid_from}")
        keys.starts.insert(at, valid_from)
        keys.keys.insert(at, RingKey(valid_from, scheme, key))

    @classmethod
    def of_bundle(cls, data):
        """Parses the member `keys` of a bundle."""
        ring = cls()
        before = None
        for line in text_lines(data):
            words = line.split(" ")
            if len(words) != 5 or words[0] != "key":
                raise Malformed("a line of keys is `key BASE64 VALID_FROM SCHEME HEX`")
            device_id, valid_from = decode_text(words[1]), parse_decimal(words[2])
            if device_id is None or not valid_from or words[3] not in SCHEMES:
                raise Malformed("a key has a device id in base64, a sequence from 1 on, and a scheme")
            if len(words[4]) != 64 or not HEX.fullmatch(words[4]):
                raise Malformed("a key has 64 lower-case hex digits")
            if before is not None and before >= (device_id, valid_from):
                raise Malformed("the keys are not in order")
            before = device_id, valid_from
            ring.add(device_id, valid_from, words[3], bytes.fromhex(words[4]))
        return ring

    @classmethod
    def of_json(cls, data, default_scheme):
        """Parses a key ring, as `eds` reads it."""
        try:
            devices = json.loads(data.decode(), object_pairs_hook=unique, parse_constant=refuse_constant)
        except (UnicodeDecodeError, ValueError, RecursionError) as error:
            raise Malformed(f"it is not JSON: {error}") from None
        if not isinstance(devices, dict):
            raise Malformed("expected an object of devices and their keys")
        ring = cls()
        for device, entries in devices.items():
            try:
                device_id = device.encode()
                entries = entries if isinstance(entries, list) else [entries]
                if not entries:
                    raise Malformed("the list of keys is empty")
                for entry in entries:
                    valid_from, scheme, text = key_entry(entry)
                    ring.add(device_id, valid_from, scheme or default_scheme, public_key_bytes(text))
            except UnicodeEncodeError:
                raise Malformed("a device id is not a text") from None
            except Malformed as problem:
                raise Malformed(f"device {quoted(device)}: {problem}") from None
        return ring


# --- Successions of keys: step 12 of the specification ---

SUCCESSION_PREFIX = b"edgesentry:succession:"
SUCCESSION_CONTEXT = b"edgesentry-rs 2026 key succession v1"
SUCCESSION_FORM = re.compile(rb"1:(payload-hash|record):([0-9a-f]{64}):([0-9a-f]{128})")


def succession_problem(reference, device, sequence, payload_hash, old):
    """Returns expected and actual value of the first check that fails; None if the succession holds."""
    form = SUCCESSION_FORM.fullmatch(reference)
    if form is None:
        expected = "an object reference of the form edgesentry:succession:1:SCHEME:KEY:PROOF"
        return expected, "one of another form"
    scheme, encoding, proof = [part.decode() for part in form.groups()]
    encoding, proof = bytes.fromhex(encoding), bytes.fromhex(proof)
    valid_from = sequence + 1
    if valid_from == 1 << 64:
        return "a sequence at which the new key signs", "the last sequence"
    if encoding == old.key.encoding:
        return "another key than the old one", f"key {encoding.hex()}"
    if (old.scheme, scheme) == ("record", "payload-hash"):
        return "a new key of scheme record, as the old one", "one of scheme payload-hash"
    parts = [write_varint(len(SUCCESSION_CONTEXT)), SUCCESSION_CONTEXT]
    parts += [write_varint(len(device.device_id)), device.device_id, write_varint(valid_from)]
    parts += [bytes([SCHEMES.index(old.scheme)]), old.key.encoding, bytes([SCHEMES.index(scheme)]), encoding]
    statement = b"".join(parts)
    found = blake3_many([statement + proof])[0]
    if found != payload_hash:
        expected = f"payload hash {found.hex()}, that of the succession under the device's key"
        return expected, f"payload hash {payload_hash.hex()}"
    try:
        key = PublicKey(encoding)
    except Malformed as problem:
        return "a key that is not weak", str(problem)
    if not verify(key, statement, proof):
        return f"a proof of possession by key {encoding.hex()}", "a signature that does not hold under it"
    at = device.keys.at(valid_from)
    ring = device.keys.keys[at]
    if (device.keys.starts[at], ring.scheme, ring.key.encoding) != (valid_from, scheme, encoding):
        expected = f"key {ring.key.encoding.hex()} ({ring.scheme}) from sequence {device.keys.starts[at]} on"
        actual = f"a succession to key {encoding.hex()} ({scheme}) from sequence {valid_from} on"
        return f"the key ring with {expected}", actual
    return None


def unique(pairs):
    """Returns an object of JSON, whose names are all different."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("a name appears twice in an object")
    return found


def refuse_constant(name):
    """Refuses the numbers that JSON lacks."""
    raise Malformed(f"{name} is not a number of JSON")


def key_entry(entry):
    """Returns sequence, scheme (or None) and text of a key in a key ring."""
    if isinstance(entry, str):
        return 1, None, entry
    if not isinstance(entry, dict) or not {"key"} <= entry.keys() <= {"key", "scheme", "valid_from"}:
        raise Malformed('expected a key of 64 hex digits or an object with "key", "scheme" and "valid_from"')
    text, scheme, valid_from = entry["key"], entry.get("scheme", ""), entry.get("valid_from", 1)
    if not isinstance(text, str) or scheme not in ("", *SCHEMES) or ("scheme" in entry and not scheme):
        raise Malformed('"key" is a text, and "scheme" is "payload-hash" or "record"')
    if type(valid_from) is not int or not 1 <= valid_from <= MAX_U64:
        raise Malformed('"valid_from" is a sequence from 1 on')
    return valid_from, scheme or None, text


def public_key_bytes(text):
    """Returns the 32 bytes of a public key: hex, base64, PEM, SSH or a JSON Web Key."""
    text = text.strip()
    raw = bytes_from_text(text)
    if raw is not None:
        return raw
    if text.startswith("-----BEGIN PUBLIC KEY-----"):
        body = decode_base64("".join(text[26:].split("-----")[0].split()))
        raw = body[len(SPKI) :] if body and body.startswith(SPKI) else None
    elif text.startswith("ssh-"):
        words = text.split()
        body = decode_base64(words[1]) if len(words) > 1 else None
        raw = body[len(SSH) :] if body and body.startswith(SSH) else None
    elif text.startswith("{"):
        try:
            key = json.loads(text, object_pairs_hook=unique)
        except (ValueError, RecursionError):
            key = {}
        if key.get("kty") == "OKP" and key.get("crv") == "Ed25519" and isinstance(key.get("x"), str):
            raw = bytes_from_text(key["x"])
    else:
        body = decode_base64(text)
        raw = body[len(SPKI) :] if body and body.startswith(SPKI) else None
    if raw is None or len(raw) != 32:
        raise Malformed("a public key is 64 hex digits, base64, PEM, an ssh-ed25519 line or a JSON Web Key")
    return raw


def bytes_from_text(text):
    """Returns 32 bytes in hex, or in base64 of either alphabet with or without padding, or None."""
    digits = text[2:] if text[:2] in ("\\x", "\\X", "0x", "0X") else text
    if len(digits) == 64:
        return bytes.fromhex(digits) if HEX.fullmatch(digits.lower()) else None
    if len(text) not in (43, 44):
        return None
    padded = text if len(text) == 44 else text + "="
    if "+" not in padded and "/" not in padded:
        padded = padded.replace("-", "+").replace("_", "/")
    return decode_base64(padded)


# --- The container ---

BLOCK = 512
CHUNK = 1 << 20
MAX_MANIFEST_BYTES = 32 << 20
MAX_FILES = 100_000
MAX_NAMED = 10_000
MIB, GIB = 1 << 20, 1 << 30
# Names, the bytes that a member may have, and whether a full stop precedes the variable part.
MEMBERS = (
    (re.compile("checkpoint|policy"), 1, MAX_NOTE_BYTES),
    (re.compile("heads"), 0, 64 * MIB),
    (re.compile("keys"), 1, 64 * MIB),
    (re.compile("leaves-[0-9]{3}", re.ASCII), 1, GIB),
    (re.compile("payload-[0-9a-f]{64}", re.ASCII), 0, GIB),
    (re.compile("readme\\.txt|verify\\.html|verify\\.py"), 1, 16 * MIB),
    (re.compile("tsa-([0-9]|[1-5][0-9]|6[0-3])\\.(pem|tsr)", re.ASCII), 1, MIB),
)


class MalformedBundle(Exception):
    """The bundle is malformed at a member, or at none."""

    def __init__(self, file, reason):
        super().__init__(reason)
        self.file = file


def header_of(name, size):
    """Returns the only header that a member with this name and size can have."""
    header = bytearray(BLOCK)
    for at, value in (
        (0, name.encode()),
        (100, b"0000644"),
        (108, b"0000000"),
        (116, b"0000000"),
        (124, b"%011o" % size),
        (136, b"00000000000"),
        (148, b" " * 8),
        (156, b"0"),
        (257, b"ustar\x0000"),
        (329, b"0000000"),
        (337, b"0000000"),
    ):
        header[at : at + len(value)] = value
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


class Source:
    """The bytes of the file, read once from front to back."""

    def __init__(self, file, size, progress):
        self.file = file
        self.size = size
        self.progress = progress
        self.at = 0

    def read(self, size):
        """Returns the next bytes; fewer at the end of the file."""
        parts = []
        while size:
            part = self.file.read(min(size, CHUNK))
            if not part:
                break
            parts.append(part)
            size -= len(part)
            self.at += len(part)
        self.progress.at(self.at, self.size)
        return b"".join(parts)


class Member:
    """A member of the bundle: its content is read by `whole` or `chunks`, up to `finish`."""

    def __init__(self, source, name, size):
        self.source = source
        self.name = name
        self.size = size
        self.left = size
        self.sha256 = hashlib.sha256()
        if source.read(BLOCK) != header_of(name, size):
            raise MalformedBundle(name, f"the header of {name} is not the expected one")

    def chunks(self):
        """Yields the bytes of the content."""
        while self.left:
            data = self.source.read(min(self.left, CHUNK))
            self.left -= len(data)
            self.sha256.update(data)
            if not data:
                raise MalformedBundle(self.name, f"the file ends within {self.name}")
            yield data

    def whole(self):
        """Returns the content."""
        return b"".join(self.chunks())

    def finish(self):
        """Reads the rest of the content and the padding. Returns the digest as hex."""
        for _ in self.chunks():
            pass
        padding = -self.size % BLOCK
        if self.source.read(padding) != bytes(padding):
            raise MalformedBundle(self.name, f"the padding behind {self.name} is missing or not zero")
        return self.sha256.hexdigest()


def text_lines(data):
    """Returns the lines of an ASCII text, each of which ends with a line feed."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise Malformed("it has characters other than ASCII") from None
    lines = text.split("\n")
    if lines.pop():
        raise Malformed("the last line does not end with a line feed")
    return lines


def decode_text(base64_text):
    """Returns the bytes of UTF-8 in base64, or None."""
    data = decode_base64(base64_text)
    if data is None:
        return None
    try:
        data.decode()
    except UnicodeDecodeError:
        return None
    return data


class Manifest:
    """Scope, older size, names and files of a bundle."""

    def __init__(self, data):
        lines = text_lines(data)
        self.lines = lines
        self.next = 0
        self._expect("edgesentry-bundle@v1", "the first line is edgesentry-bundle@v1")
        scope = self._word("scope ")
        if scope not in ("full", "devices", "records"):
            raise Malformed("the second line is scope full, scope devices or scope records")
        self.scope = scope
        self.created = self._decimal("created ")
        self.since = self._decimal("since ") if self._begins("since ") else None
        if self.since == 0:
            raise Malformed("since is at least 1")
        self.payloads = self._begins("payloads")
        if self.payloads:
            self._expect("payloads", "the line payloads has one word")
        self.devices = self._devices()
        self.records = self._records()
        if bool(self.devices) != (scope == "devices") or bool(self.records) != (scope == "records"):
            raise Malformed(
                "scope devices has device lines and scope records has record lines, no other scope has them"
            )
        self.files = self._files()
        self._check_files()
        del self.lines

    def _begins(self, start):
        return self.next < len(self.lines) and self.lines[self.next].startswith(start)

    def _word(self, start):
        if not self._begins(start):
            raise Malformed(f"line {self.next + 1} does not begin with {start.strip()}")
        self.next += 1
        return self.lines[self.next - 1][len(start) :]

    def _expect(self, line, problem):
        if self._word(line):
            raise Malformed(problem)

    def _decimal(self, start):
        value = parse_decimal(self._word(start))
        if value is None:
            raise Malformed(f"line {self.next} has no decimal")
        return value

    def _devices(self):
        devices = []
        while self._begins("device "):
            device_id = decode_text(self._word("device "))
            if device_id is None or (devices and devices[-1] >= device_id) or len(devices) >= MAX_NAMED:
                raise Malformed(f"line {self.next}: device ids in base64, in order, at most 10,000")
            devices.append(device_id)
        return devices

    def _records(self):
        records = []
        while self._begins("record "):
            words = self._word("record ").split(" ")
            device_id = decode_text(words[1]) if len(words) == 2 else None
            sequence = parse_decimal(words[0])
            if device_id is None or sequence is None or len(records) >= MAX_NAMED:
                raise Malformed(f"line {self.next}: a record is SEQUENCE BASE64, at most 10,000")
            if records and records[-1] >= (device_id, sequence):
                raise Malformed(f"line {self.next}: the records are not in order")
            records.append((device_id, sequence))
        return records

    def _files(self):
        files = []
        before = ""
        for line in self.lines[self.next :]:
            self.next += 1
            words = line.split(" ")
            if len(words) != 4 or words[0] != "file" or len(words[1]) != 64 or not HEX.fullmatch(words[1]):
                raise Malformed(f"line {self.next} is not `file SHA256 BYTES NAME`")
            size, name = parse_decimal(words[2]), words[3]
            limits = next(((low, high) for names, low, high in MEMBERS if names.fullmatch(name)), None)
            if limits is None or size is None or not limits[0] <= size <= limits[1]:
                raise Malformed(f"line {self.next}: no member has this name and size")
            if name <= before:
                raise Malformed(f"line {self.next}: the names are not in order")
            before = name
            files.append((name, size, words[1]))
        return files

    def _check_files(self):
        names = [name for name, _, _ in self.files]
        if not 2 <= len(names) <= MAX_FILES:
            raise Malformed("a bundle has 2 to 100,000 files")
        parts = [name for name in names if name.startswith("leaves-")]
        if "checkpoint" not in names or not parts:
            raise Malformed("a bundle has a checkpoint and leaves")
        if parts != [f"leaves-{number:03}" for number in range(len(parts))]:
            raise Malformed("the parts of the leaves have a gap")
        if ("heads" in names) != (self.scope == "devices"):
            raise Malformed("scope devices has heads, and no other scope has them")
        self.payload_hashes = {bytes.fromhex(name[8:]) for name in names if name.startswith("payload-")}
        if self.payload_hashes and not self.payloads:
            raise Malformed("a bundle with payloads has the line payloads")
        self.has_policy = "policy" in names
        self.has_keys = "keys" in names
        self.timestamps = sum(name.startswith("tsa-") for name in names)


# --- Items: leaves and subtrees ---


class Items:
    """Parses leaves and subtrees, and folds them into the root of a tree."""

    def __init__(self, size, since, has_subtrees):
        self.size = size
        self.since = since
        self.has_subtrees = has_subtrees
        self.position = 0
        self.stack = []  # hashes of perfect subtrees; the bits of the position give their sizes
        self.last_level = None  # of the item before, if it is a subtree
        self.snapshot_at = None
        self.snapshot = None  # the root at `snapshot_at`, if an item ends there

    def root(self):
        """Returns the root of the items so far."""
        if not self.stack:
            return EMPTY_ROOT
        root = self.stack[-1]
        for left in self.stack[-2::-1]:
            root = node_hash(left, root)
        return root

    def push_leaf(self, leaf):
        """Adds a leaf."""
        sha256 = hashlib.sha256
        node = sha256(b"\0" + leaf).digest()
        place = self.position
        if place & 1:
            stack = self.stack
            while place & 1:
                node = sha256(b"\1" + stack.pop() + node).digest()
                place >>= 1
        self.stack.append(node)
        self.position += 1
        self.last_level = None
        if self.position == self.snapshot_at:
            self.snapshot = self.root()

    def push_subtree(self, level, node):
        """Adds a subtree, if the rules for subtrees allow it there."""
        start = self.position
        end = start + (1 << level)
        if not self.has_subtrees:
            raise Malformed("a bundle of scope full has no subtrees")
        if level > 62 or start & ((1 << level) - 1) or end > self.size:
            raise Malformed(f"a subtree of level {level} cannot be at position {start}")
        if self.since is not None and start < self.since < end:
            raise Malformed(f"a subtree crosses the older size {self.since}")
        place = start >> level
        if self.last_level == level and place & 1 and start != self.since:
            raise Malformed(f"two subtrees at position {start} have a common parent")
        while place & 1:
            node = node_hash(self.stack.pop(), node)
            place >>= 1
        self.stack.append(node)
        self.position = end
        self.last_level = level
        if end == self.snapshot_at:
            self.snapshot = self.root()

    def parse(self, chunks):
        """Yields the leaves of a member; the caller adds them by `push_leaf`. Subtrees are added here."""
        rest = b""
        for chunk in chunks:
            data = rest + chunk if rest else chunk
            at, end = 0, len(data)
            while end - at >= 2:
                length = data[at] << 8 | data[at + 1]
                after = at + 2 + (length or 33)
                if after > end:
                    break
                if length:
                    yield data[at + 2 : after]
                else:
                    self.push_subtree(data[at + 2], data[at + 3 : after])
                at = after
            rest = data[at:]
        if rest:
            raise Malformed("the last item does not end with the member")


# --- Findings and coverage ---

# In the order of reports.
CODES = (
    "prev_hash_mismatch",
    "sequence_gap",
    "sequence_duplicate",
    "sequence_out_of_order",
    "fork",
    "first_record_not_genesis",
    "signature_invalid",
    "unknown_device",
    "key_not_valid_at_sequence",
    "succession_invalid",
    "payload_hash_mismatch",
    "payload_missing",
    "head_mismatch",
    "device_missing",
    "record_malformed",
    "checkpoint_untrusted",
    "witness_quorum_missing",
    "checkpoint_stale",
    "checkpoint_mismatch",
    "checkpoint_inconsistent",
    "leaf_missing",
    "not_included",
    "heads_mismatch",
    "key_not_logged",
    "timestamp_invalid",
    "bundle_malformed",
)
# At one record findings of its content come before those of its links.
CONTENT_FIRST = (
    "record_malformed",
    "bundle_malformed",
    "signature_invalid",
    "unknown_device",
    "key_not_valid_at_sequence",
    "succession_invalid",
    "payload_hash_mismatch",
    "payload_missing",
    "sequence_gap",
    "sequence_duplicate",
    "sequence_out_of_order",
    "fork",
    "first_record_not_genesis",
    "prev_hash_mismatch",
)
RANK = {code: rank for rank, code in enumerate(dict.fromkeys(CONTENT_FIRST + CODES))}
MAX_DEVICES = 10_000
GAPS = {
    "beginnings_claimed": (
        "links",
        "{chains} chain(s) start after a link claimed by the bundle; earlier records could be missing",
    ),
    "links_not_checked": ("links", "the bundle has single records, so their links were not checked"),
    "no_keys": ("signatures", "no keys were given, so a chain rewritten and re-linked by anyone would pass"),
    "keys_claimed": (
        "signatures",
        "the keys are claimed by the bundle, so a chain signed again with other keys would pass",
    ),
    "unsigned": ("signatures", "{records} record(s) have no valid key and were not checked"),
    "payload_hash_only": (
        "signatures",
        "{records} record(s) are signed under scheme payload-hash, which covers the payload hash only",
    ),
    "signatures_sampled": (
        "signatures",
        "{checked} of {records} signature(s) were verified, drawn with seed {seed}; bad ones could remain",
    ),
    "no_payloads": ("payloads", "the bundle has no payloads, so changed or missing payloads would pass"),
    "payload_erased": (
        "payloads",
        "{payloads} payload(s) were erased according to the log and not compared; only the hashes remain",
    ),
    "policy_claimed": (
        "log",
        "the policy is claimed by the bundle, so who made the bundle could have signed any history",
    ),
    "log_incomplete": (
        "log",
        "the leaves end before the size of the checkpoint, so the root was not computed",
    ),
    "previous_not_compared": (
        "log",
        "the log was not compared with the earlier checkpoint, so records before it could be changed",
    ),
    "no_witnesses": (
        "log",
        "the policy requires no witness, so who holds the key of the log could have signed another history",
    ),
    "part_of_log": ("log", "the bundle is a part of the log; nothing is said about its other records"),
    "unknown_leaves": (
        "log",
        "{leaves} leaf/leaves are of a kind that this release does not know; only the hash was checked",
    ),
    "timestamps_not_checked": (
        "log",
        "{files} file(s) of time stamps were not verified, as no roots of their authorities were given",
    ),
}
# The findings of a checkpoint that no policy trusts, or that is not that of the leaves.
DENIALS = (
    *("checkpoint_untrusted", "witness_quorum_missing", "checkpoint_mismatch"),
    "checkpoint_inconsistent",
)
REQUIRABLE = {
    "signatures": ("no_keys", "keys_claimed", "unsigned", "signatures_sampled"),
    "payloads": ("no_payloads",),
    "log": (
        *("policy_claimed", "log_incomplete", "previous_not_compared", "no_witnesses", "part_of_log"),
        "unknown_leaves",
    ),
}
# Characters without a glyph that Python counts as printable.
BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\ufffc"
    "\U0001d159\U00016fe4\U000e0100-\U000e01ef]"
)


def escaped(text):
    r"""Returns text for a terminal: characters that are not visible become \\u{..}."""
    return "".join(
        one if one.isprintable() and not BLANK.match(one) else f"\\u{{{ord(one):x}}}" for one in text
    )


def quoted(text):
    """Returns a name in quotes."""
    return '"{}"'.format(escaped(text[:200].replace("\\", "\\\\").replace('"', '\\"')))


def shown(device_id):
    """Returns a device id in quotes."""
    return quoted(device_id.decode())


class Finding:
    """A failed check, with its place as far as it applies."""

    __slots__ = ("actual", "code", "device_id", "expected", "file", "sequence")

    def __init__(self, code, expected, actual, device_id=None, sequence=None, file=None):
        self.code = code
        self.expected = expected
        self.actual = actual
        self.device_id = device_id
        self.sequence = sequence
        self.file = file

    def to_json(self):
        """Returns the finding as an object of JSON."""
        found = {"code": self.code}
        if self.file is not None:
            found["file"] = self.file
        if self.device_id is not None:
            found["device_id"] = self.device_id.decode()
        if self.sequence is not None:
            found["sequence"] = self.sequence
        found.update(expected=self.expected, actual=self.actual)
        return found

    def __str__(self):
        place = [self.file] if self.file is not None else []
        if self.device_id is not None:
            place.append("device " + shown(self.device_id))
        if self.sequence is not None:
            place.append(f"sequence {self.sequence}")
        where = ", ".join(place)
        return "{}{}: expected {}, got {}".format(
            self.code, " (" + where + ")" if where else "", escaped(self.expected), escaped(self.actual)
        )


class Findings:
    """The findings of the records, of which the first ones are kept, and those of the later steps."""

    SLACK = 20_000

    def __init__(self, most):
        self.most = most
        self.counts = {}
        self.of_records = []  # triples of index, rank of the code and finding
        self.last = None  # findings behind this place are not kept
        self.later = []

    def at_record(self, index, finding):
        """Adds a finding about the entry `index`."""
        self.counts[finding.code] = self.counts.get(finding.code, 0) + 1
        place = (index, RANK[finding.code])
        if self.last is not None and place > self.last:
            return
        self.of_records.append((place, finding))
        if len(self.of_records) > self.most + self.SLACK:
            self._cut()

    def _cut(self):
        self.of_records.sort(key=lambda one: one[0])
        del self.of_records[self.most :]
        self.last = self.of_records[-1][0] if self.of_records else (-1, 0)

    def add(self, finding):
        """Adds a finding behind those of the records."""
        self.counts[finding.code] = self.counts.get(finding.code, 0) + 1
        self.later.append(finding)

    def add_bounded(self, findings, omitted):
        """Adds at most 10,000 findings of a step, and one that counts the rest."""
        for finding in findings[:MAX_DEVICES]:
            self.add(finding)
        omitted += max(0, len(findings) - MAX_DEVICES)
        if omitted:
            actual = f"{omitted} further findings of this kind"
            self.add(Finding(findings[MAX_DEVICES - 1].code, "at most 10,000 findings", actual))

    def kept(self):
        """Returns the first findings in order."""
        self._cut()
        kept = [finding for _, finding in self.of_records]
        return (kept + self.later)[: self.most]


# --- The verification: the steps of docs/reference/bundle.md ---

# Records that are remembered to tell a duplicate from a fork.
HISTORY_LIMIT = 1 << 24
# Records without their payloads that a leaf 05 can excuse (step 7.4).
MAX_LACKING = 100_000
BATCH_RECORDS = 8192
BATCH_BYTES = 8 << 20
MAX_FAST_SECONDS = 300


class Device:
    """The state of a device: its chain, and its leaves."""

    __slots__ = (
        *("count", "device_id", "first", "is_logged", "keys", "last", "log_keys", "prefixes", "runs"),
        *("signers", "start", "used"),
    )

    def __init__(self, device_id, keys):
        self.device_id = device_id
        self.keys = keys  # DeviceKeys, or None
        self.first = None  # index, sequence and previous hash of the first record, and its hash
        self.last = None  # the head
        self.count = 0
        self.runs = []  # ascending sequences: first sequence, first index, first place in `prefixes`
        self.prefixes = bytearray()
        self.used = set()  # places of keys that sign a record
        self.is_logged = False  # has a leaf 03
        self.log_keys = set()
        self.start = None  # the claimed start

    def remember(self, index, sequence, record_hash):
        """Remembers a record for step 4.4."""
        if index >= HISTORY_LIMIT:
            return
        remembered = len(self.prefixes) // 8
        if not self.runs or self.runs[-1][0] + remembered - self.runs[-1][2] != sequence:
            self.runs.append((sequence, index, remembered))
        self.prefixes += record_hash[:8]

    def backwards(self):
        """Yields index and prefix of each record that runs backwards to a sequence seen before.

        The prefix is None for the same record, else that of the first record with this sequence.
        """
        runs = self.runs
        ends = [run[2] for run in runs[1:]] + [len(self.prefixes) // 8]
        late = [
            at
            for at in range(1, len(runs))
            if runs[at][0] < runs[at - 1][0] + ends[at - 1] - runs[at - 1][2] - 1
        ]
        sequences = sorted({runs[at][0] for at in late})
        late = set(late)
        seen = {}  # by sequence: the first prefix, and all of them
        for at, (first, index, start) in enumerate(runs):
            for sequence in sequences[bisect_left(sequences, first) :]:
                if sequence - first >= ends[at] - start:
                    break
                place = 8 * (start + sequence - first)
                prefix = bytes(self.prefixes[place : place + 8])
                known = seen.get(sequence)
                if known is None:
                    seen[sequence] = prefix, {prefix}
                    continue
                if sequence == first and at in late:
                    yield index, None if prefix in known[1] else known[0]
                known[1].add(prefix)


class Inputs:
    """The inputs of the auditor, and the options."""

    def __init__(self):
        self.policy = None
        self.keys = None
        self.previous = None  # a note
        self.tsa_roots = None
        self.max_age = None  # seconds
        self.now = None  # Unix seconds
        self.signatures = "all"  # "all", or the number of records whose signatures are verified
        self.seed = 0
        self.max_findings = 100_000


class UnusableInputs(Exception):
    """The verification cannot begin: a code and a sentence."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Verification:
    """One bundle under verification."""

    def __init__(self, inputs):
        self.inputs = inputs
        self.findings = Findings(inputs.max_findings)
        self.damaged = []  # of step 3.2
        self.manifest = None
        self.policy = inputs.policy
        self.keys = inputs.keys
        self.note = None
        self.checkpoint = None
        self.previous = None  # the checkpoint in --previous
        self.compares_previous = False
        self.trusted = None  # the result of the policy
        # The leaves.
        self.items = None
        self.entries = 0  # records and malformed records
        self.records = 0
        self.malformed_records = 0
        self.not_included = []
        self.not_included_omitted = 0
        self.malformed_leaf = None
        self.unknown_leaves = 0
        self.opened_first = None  # the name in leaf 0, if it opens a log
        self.opened_later = None  # the index of another such leaf
        self.last_leaf = None  # records, devices and root of the last leaf, if it is a heads leaf
        self.wrong_heads = None  # the first other heads leaf with a wrong number of records
        self.ends_with_heads = False  # the leaf before the older size is a heads leaf
        self.devices = {}
        # The heads.
        self.heads_items = None
        self.heads = []  # triples of device id, position and head
        # The batch of records.
        self.batch = []
        self.batch_bytes = 0
        self.sample = []
        self.signable = 0
        self.random = random.Random(inputs.seed)
        self.decided = dict.fromkeys(SCHEMES, 0)
        self.signed = dict.fromkeys(SCHEMES, 0)
        self.unsigned = 0
        # Records of the manifest, and payloads.
        self.named = set()
        self.first_with_payload = {}
        self.lacking = []  # index, device id, sequence and payload hash of records without their payloads
        self.lacking_at = {}  # their places in the list, by what a leaf 05 names
        self.erased = set()  # the places that a leaf behind them names
        self.payload_findings = []
        self.beginnings_claimed = 0
        # Time stamps.
        self.imprint = None  # of the checkpoint
        self.tsa_certificates = {}  # by the name of the member that they belong to
        self.timestamps = []
        self.timestamp_findings = []
        self.gaps = []

    # -- Reading --

    def run(self, source):
        """Verifies the bundle."""
        manifest = self._read_manifest(source)
        self.manifest = manifest
        if self.policy is None and not manifest.has_policy:
            message = "the bundle has no policy; give yours with --policy"
            raise UnusableInputs("policy_missing", message)
        self.named = set(manifest.records)
        for name, size, digest in manifest.files:
            member = Member(source, name, size)
            try:
                self._read_member(member)
            except Malformed as problem:
                raise MalformedBundle(name, f"{name}: {problem}") from None
            actual = member.finish()
            if actual != digest:
                expected = f"SHA-256 {digest} as in the manifest"
                self.damaged.append(Finding("bundle_malformed", expected, actual, file=name))
        if source.read(2 * BLOCK) != bytes(2 * BLOCK) or source.read(1):
            raise MalformedBundle(
                None, "the bundle does not end with 1,024 zero bytes behind its last member"
            )
        self._conclude()

    def _read_manifest(self, source):
        header = source.read(BLOCK)
        digits = header[124:135]
        size = int(digits, 8) if re.fullmatch(rb"[0-7]{11}", digits) else 0
        if not 1 <= size <= MAX_MANIFEST_BYTES or header != header_of("manifest", size):
            raise MalformedBundle(
                "manifest", "the file does not begin with the header of a manifest: not a bundle"
            )
        data = source.read(size)
        padding = -size % BLOCK
        if len(data) != size or source.read(padding) != bytes(padding):
            raise MalformedBundle("manifest", "the file ends within the manifest, or the padding is not zero")
        try:
            return Manifest(data)
        except Malformed as problem:
            raise MalformedBundle("manifest", f"manifest: {problem}") from None

    def _read_member(self, member):
        name = member.name
        if name == "checkpoint":
            self._read_checkpoint(member.whole())
        elif name == "heads":
            self._read_heads(member)
        elif name == "keys" and self.inputs.keys is None:
            self.keys = KeyRing.of_bundle(member.whole())
        elif name == "policy" and self.inputs.policy is None:
            self.policy = Policy(member.whole())
        elif name.startswith("leaves-"):
            self._read_leaves(member)
        elif name.startswith("payload-"):
            self._read_payload(member)
        elif name.startswith("tsa-") and self.inputs.tsa_roots is not None:
            self._read_timestamp(member)

    def _read_checkpoint(self, data):
        self.note = Note(data)
        self.checkpoint = Checkpoint.parse(self.note.text)
        self.imprint = stamped_imprint(data, self.note)
        size = self.checkpoint.size
        self.items = Items(size, self.manifest.since, self.manifest.scope != "full")
        if self.inputs.previous is not None:
            self.previous = previous = Checkpoint.parse(self.inputs.previous.text)
            is_same = previous.origin == self.checkpoint.origin
            self.compares_previous = is_same and (previous.size < size or previous == self.checkpoint)
            if self.compares_previous:
                self.items.snapshot_at = previous.size
                self.items.snapshot = EMPTY_ROOT if previous.size == 0 else None

    def _read_heads(self, member):
        items = self.heads_items = Items(MAX_SIZE, None, True)
        for entry in items.parse(member.chunks()):
            device_id, head = parse_heads_entry(entry)
            if self.heads and self.heads[-1][0] >= device_id:
                raise Malformed("the entries are not in order")
            self.heads.append((device_id, items.position, head))
            items.push_leaf(entry)

    def _read_payload(self, member):
        self._flush()
        name = member.name
        hasher = Blake3()
        for chunk in member.chunks():
            hasher.update(chunk)
        payload_hash = bytes.fromhex(name[8:])
        actual = hasher.digest()
        record = self.first_with_payload.get(payload_hash)
        if actual != payload_hash:
            device_id, sequence = record or (None, None)
            finding = Finding("payload_hash_mismatch", name[8:], actual.hex(), device_id, sequence, name)
            self.payload_findings.append(finding)
        if record is None:
            expected = "the payload of a record in the bundle"
            finding = Finding("bundle_malformed", expected, "a payload of no record", file=name)
            self.payload_findings.append(finding)

    def _read_timestamp(self, member):
        """Step 15. The certificates of a time stamp come before it."""
        name, data = member.name, member.whole()
        if name.endswith(".pem"):
            self.tsa_certificates = {name[:-3] + "tsr": usable_certificates(parse_pem(data))}
            return
        stamp = TimeStamp(name)
        try:
            stamp.verify(data, self.imprint, self.inputs.tsa_roots, self.tsa_certificates.get(name, []))
            self.timestamps.append(stamp)
        except BadStamp as problem:
            expected = "a time stamp of this checkpoint by an authority under your roots"
            self.timestamp_findings.append(Finding("timestamp_invalid", expected, str(problem), file=name))

    # -- Step 6: the leaves --

    def _read_leaves(self, member):
        items = self.items
        size = items.size
        push = items.push_leaf
        for leaf in items.parse(member.chunks()):
            position = items.position
            if position >= size:
                self._beyond(leaf)
                items.position += 1
                items.last_level = None
                continue
            push(leaf)
            if leaf[0] == RECORD:
                self._record(leaf)
            else:
                self._other_leaf(leaf, position)

    def _beyond(self, leaf):
        device_id = sequence = None
        if leaf[0] == RECORD:
            with contextlib.suppress(Malformed):
                device_id, sequence = parse_record(leaf)[:2]
        if len(self.not_included) < MAX_DEVICES:
            expected = f"a leaf before the size {self.items.size} of the checkpoint"
            actual = f"a leaf at position {self.items.position}"
            self.not_included.append(Finding("not_included", expected, actual, device_id, sequence))
        else:
            self.not_included_omitted += 1

    def _other_leaf(self, leaf, position):
        kind = leaf[0]
        try:
            if kind == HEADS:
                self._heads_leaf(parse_heads_leaf(leaf), position)
            elif kind == KEY:
                device_id, public_key, start = parse_key_leaf(leaf)
                device = self._device(device_id)
                device.is_logged = True
                device.log_keys.add(public_key)
                if device.start is None:
                    device.start = start
            elif kind == REVOKED:
                parse_revoked_leaf(leaf)
            elif kind == ERASED:
                erased = parse_erased_leaf(leaf)
                if self.manifest.payloads:
                    # The records before the leaf come first.
                    self._flush()
                    self.erased.update(self.lacking_at.pop(erased, ()))
            elif kind == OPENED:
                origin = parse_opened_leaf(leaf)
                if position == 0:
                    self.opened_first = origin
                elif self.opened_later is None:
                    self.opened_later = position
            else:
                self.unknown_leaves += 1
        except Malformed:
            if self.malformed_leaf is None:
                self.malformed_leaf = position

    def _heads_leaf(self, leaf, position):
        # Malformed records are not counted, so the number is that of the records parsed so far.
        records = self.records + len(self.batch)
        if position == self.items.size - 1:
            self.last_leaf = leaf
        elif leaf[0] != records and self.wrong_heads is None:
            self.wrong_heads = position, records, leaf[0]
        if self.compares_previous and position == self.previous.size - 1:
            self.ends_with_heads = True

    def _device(self, device_id):
        device = self.devices.get(device_id)
        if device is None:
            keys = self.keys.devices.get(device_id) if self.keys is not None else None
            device = self.devices[device_id] = Device(device_id, keys)
        return device

    def _record(self, leaf):
        index = self.entries
        self.entries = index + 1
        try:
            record = parse_record(leaf)
        except Malformed as problem:
            self.malformed_records += 1
            finding = Finding("record_malformed", "the canonical encoding of a record", str(problem))
            self.findings.at_record(index, finding)
            return
        self.batch.append((index, leaf, record))
        self.batch_bytes += len(leaf)
        if len(self.batch) >= BATCH_RECORDS or self.batch_bytes >= BATCH_BYTES:
            self._flush()

    # -- Step 7: the records --

    def _flush(self):
        """Verifies the records of the batch."""
        batch, self.batch, self.batch_bytes = self.batch, [], 0
        self.records += len(batch)
        is_linked = self.manifest.scope != "records"
        hashes = blake3_many([leaf[1:] for _, leaf, _ in batch]) if is_linked else [b""] * len(batch)
        signers = []
        get = self.devices.get
        for (index, leaf, record), record_hash in zip(batch, hashes):
            device_id, sequence, payload_hash, previous, signature, place = record
            device = get(device_id) or self._device(device_id)
            device.count += 1
            last = device.last
            if device.first is None:
                device.first = index, sequence, previous, record_hash
            elif is_linked and (sequence != last.sequence + 1 or previous != last.hash):
                self._broken_link(index, device_id, last, sequence, previous, record_hash)
            device.last = Head(sequence, record_hash)
            if is_linked:
                device.remember(index, sequence, record_hash)
            else:
                self.named.discard((device_id, sequence))
            if self.keys is not None:
                self._signer(signers, device, index, sequence, payload_hash, signature, leaf, place)
            if self.manifest.payloads:
                self._payload(index, device_id, sequence, payload_hash)
        self._verify_signatures(signers)

    def _broken_link(self, index, device_id, last, sequence, previous, record_hash):
        finding = check_link(last, sequence, previous, record_hash)
        finding.device_id = device_id
        self.findings.at_record(index, finding)

    def _payload(self, index, device_id, sequence, payload_hash):
        if payload_hash in self.manifest.payload_hashes:
            self.first_with_payload.setdefault(payload_hash, (device_id, sequence))
        elif len(self.lacking) < MAX_LACKING:
            place = device_id, sequence, payload_hash
            self.lacking_at.setdefault(place, []).append(len(self.lacking))
            self.lacking.append((index, *place))
        else:
            self._missing_payload(index, device_id, sequence, payload_hash)

    def _missing_payload(self, index, device_id, sequence, payload_hash, actual="no such member"):
        expected = f"payload-{payload_hash.hex()}"
        finding = Finding("payload_missing", expected, actual, device_id, sequence)
        self.findings.at_record(index, finding)

    def _signer(self, signers, device, index, sequence, payload_hash, signature, leaf, place):
        at = device.keys.at(sequence) if device.keys is not None else -1
        if at < 0:
            self.unsigned += 1
            if device.keys is not None:
                expected = f"a key valid at sequence {sequence}"
                actual = f"the first key of the device is valid from sequence {device.keys.starts[0]}"
                finding = Finding("key_not_valid_at_sequence", expected, actual, device.device_id, sequence)
                self.findings.at_record(index, finding)
            return
        device.used.add(at)
        key = device.keys.keys[at]
        if SUCCESSION_PREFIX in leaf:
            _, start = read_varint(leaf, place + 97)
            if leaf.startswith(SUCCESSION_PREFIX, start):
                reference = leaf[start + len(SUCCESSION_PREFIX) :]
                problem = succession_problem(reference, device, sequence, payload_hash, key)
                if problem is not None:
                    finding = Finding("succession_invalid", *problem, device.device_id, sequence)
                    self.findings.at_record(index, finding)
        self.signed[key.scheme] += 1
        signer = device, index, sequence, key, payload_hash, signature, leaf[1:place] + leaf[place + 65 :]
        wanted = self.inputs.signatures
        if wanted == "all":
            signers.append(signer)
            return
        # Each record has the same chance to be in the sample.
        self.signable += 1
        if len(self.sample) < wanted:
            self.sample.append(signer)
        elif wanted:
            at = self.random.randrange(self.signable)
            if at < wanted:
                self.sample[at] = signer

    def _verify_signatures(self, signers):
        """Step 3 of the specification."""
        by_record = [signer for signer in signers if signer[3].scheme == "record"]
        digests = iter(signing_digests([signer[6] for signer in by_record]))
        signed = []
        for signer in signers:
            key = signer[3]
            self.decided[key.scheme] += 1
            message = signer[4] if key.scheme == "payload-hash" else next(digests)
            signed.append((key.key, message, signer[5]))
        for at in bad_signatures(signed):
            self._bad_signature(signers[at])

    def _bad_signature(self, signer):
        """Step 3.4: the signature may belong to another key of the device."""
        device, index, sequence, key, payload_hash, signature, unsigned = signer
        messages = {"payload-hash": payload_hash}

        def holds(other, scheme):
            if scheme not in messages:
                messages[scheme] = signing_digests([unsigned])[0]
            return verify(other, messages[scheme], signature)

        others = [other for other in device.keys.keys if other.key is not key.key]
        owner = next((other for other in others if holds(other.key, other.scheme)), None)
        expected = f"a signature under key {key.key.encoding.hex()} with scheme {key.scheme}"
        code = "signature_invalid"
        if owner is not None:
            code = "key_not_valid_at_sequence"
            actual = f"one under key {owner.key.encoding.hex()} with scheme {owner.scheme}"
        elif holds(key.key, SCHEMES[1 - SCHEMES.index(key.scheme)]):
            actual = "one that holds under the other scheme"
        else:
            actual = signature.hex()
        self.findings.at_record(index, Finding(code, expected, actual, device.device_id, sequence))

    # -- The steps behind the last member --

    def _conclude(self):
        self._flush()
        if self.inputs.signatures != "all":
            for start in range(0, len(self.sample), BATCH_RECORDS):
                self._verify_signatures(self.sample[start : start + BATCH_RECORDS])
        self._name_repetitions()
        for device in self.devices.values():
            if device.first is not None:
                self._begin(device)
        self.findings.add_bounded(self.not_included, self.not_included_omitted)
        self._checkpoint_signatures()
        self._previous_checkpoint()
        self._root_and_heads()
        if self.manifest.scope == "devices":
            self._device_heads()
        if self.manifest.scope == "records":
            for device_id, sequence in sorted(self.named):
                finding = Finding("leaf_missing", "the record", "no such record", device_id, sequence)
                self.findings.add(finding)
        elif self.inputs.keys is not None:
            self._keys_in_log()
        self._missing_payloads()
        for finding in self.payload_findings + self.timestamp_findings + self.damaged:
            self.findings.add(finding)
        self._find_gaps()

    def _missing_payloads(self):
        """Step 7.4."""
        denied = any(code in self.findings.counts for code in DENIALS)
        if self.erased and self.inputs.policy is not None and not denied:
            self._gap("payload_erased", payloads=len(self.erased))
            claim = None
        else:
            claim = (
                "no such member; a leaf erases it, "
                "which counts only under a checkpoint that your policy trusts"
            )
        for at, place in enumerate(self.lacking):
            if at not in self.erased:
                self._missing_payload(*place)
            elif claim:
                self._missing_payload(*place, claim)

    def _name_repetitions(self):
        """Step 4.4 of the specification."""
        findings = self.findings
        late = findings.counts.get("sequence_out_of_order", 0)
        if not late:
            return
        kept = {
            place[0]: finding
            for place, finding in findings.of_records
            if finding.code == "sequence_out_of_order"
        }
        for device in self.devices.values():
            for index, other in device.backwards():
                code = "sequence_duplicate" if other is None else "fork"
                late -= 1
                findings.counts[code] = findings.counts.get(code, 0) + 1
                finding = kept.get(index)
                if finding is not None:
                    finding.code = code
                    if other is not None:
                        finding.expected = f"the record seen before, with hash {other.hex()}..."
        findings.counts["sequence_out_of_order"] = late
        if not late:
            del findings.counts["sequence_out_of_order"]
        findings.of_records = [((place[0], RANK[one.code]), one) for place, one in findings.of_records]

    def _begin(self, device):
        """Step 4.1 of the specification, and devices without a key."""
        index, sequence, previous, record_hash = device.first
        if self.keys is not None and device.keys is None:
            finding = Finding("unknown_device", "a key of the device", "none", device.device_id, sequence)
            self.findings.at_record(index, finding)
        if self.manifest.scope == "records":
            return
        is_first = sequence == 1 and previous == NO_HEAD.hash
        if device.start is not None:
            finding = check_link(device.start, sequence, previous, record_hash)
            if finding is None:
                self.beginnings_claimed += not is_first
        elif is_first:
            finding = None
        else:
            expected, actual = ("sequence 1", f"sequence {sequence}")
            if sequence == 1:
                expected, actual = "a previous hash of zeros", previous.hex()
            finding = Finding("first_record_not_genesis", expected, actual, None, sequence)
        if finding is not None:
            finding.device_id = device.device_id
            self.findings.at_record(index, finding)

    def _checkpoint_signatures(self):
        """Step 8."""
        try:
            self.trusted = self.policy.evaluate(self.note)
        except Distrust as distrust:
            expected = "a checkpoint that the policy trusts"
            self.findings.add(Finding(distrust.code, expected, str(distrust)))
            return
        if self.inputs.max_age is None:
            return
        signed, now = self.trusted[2], self.inputs.now
        expected = f"a quorum that signed at most {self.inputs.max_age} s ago"
        if signed is None:
            actual = "no time: the policy requires no witness"
        elif signed - now > MAX_FAST_SECONDS:
            actual = f"signed {signed - now} s in the future"
        elif now - signed > self.inputs.max_age:
            actual = f"signed {now - signed} s ago"
        else:
            return
        self.findings.add(Finding("checkpoint_stale", expected, actual))

    def _previous_checkpoint(self):
        """Step 9."""
        if self.previous is None:
            return
        try:
            self.policy.evaluate(self.inputs.previous)
        except Distrust as distrust:
            if distrust.code != "witness_quorum_missing":
                expected = "an earlier checkpoint that the policy trusts"
                self.findings.add(Finding(distrust.code, expected, str(distrust)))
        if not self.compares_previous:
            expected = f"a checkpoint that continues {self.previous}"
            self.findings.add(Finding("checkpoint_inconsistent", expected, str(self.checkpoint)))

    def _root_and_heads(self):
        """Steps 10 and 11.1 to 11.3."""
        items, checkpoint = self.items, self.checkpoint
        if items.position < items.size:
            expected = f"leaves up to size {items.size}"
            actual = f"leaves up to position {items.position}"
            self.findings.add(Finding("checkpoint_mismatch", expected, actual))
            self._gap("log_incomplete")
            if self.compares_previous and self.previous != checkpoint:
                self._gap("previous_not_compared")
            return
        is_earlier_same = False
        if self.compares_previous:
            root = items.snapshot
            if root is None:
                self._gap("previous_not_compared")
            elif root == self.previous.root:
                is_earlier_same = True
            else:
                actual = f"root {encode_base64(root)} at size {self.previous.size} of the leaves"
                self.findings.add(Finding("checkpoint_inconsistent", str(self.previous), actual))
        root = items.root()
        if root != checkpoint.root:
            actual = f"root {encode_base64(root)} at size {items.size} of the leaves"
            self.findings.add(Finding("checkpoint_mismatch", str(checkpoint), actual))
            return
        wrong = self._wrong_leaf()
        if wrong is not None:
            self.findings.add(wrong)
        if self.manifest.scope != "records" and items.size > 0:
            wrong = self._wrong_heads(is_earlier_same)
            if wrong is not None:
                self.findings.add(wrong)

    def _wrong_leaf(self):
        """Step 10.4."""
        if self.malformed_leaf is not None:
            actual = f"leaf {self.malformed_leaf} is malformed"
            return Finding("checkpoint_mismatch", "leaves of the form of their kind", actual)
        if self.manifest.scope != "full" or self.items.size == 0:
            return None
        origin = self.checkpoint.origin
        if self.opened_first == origin and self.opened_later is None:
            return None
        if self.opened_later is not None:
            actual = f"leaf {self.opened_later} opens a log"
        elif self.opened_first is not None:
            actual = f"leaf 0 opens log {quoted(self.opened_first)}"
        else:
            actual = "no leaf opens the log"
        expected = f"leaf 0 opens log {quoted(origin)}, and no other leaf opens one"
        return Finding("checkpoint_mismatch", expected, actual)

    def _wrong_heads(self, is_earlier_same):
        """Steps 11.1 to 11.3."""
        code = "heads_mismatch"
        if self.last_leaf is None:
            return Finding(code, "a heads leaf at the end of the log", "another leaf")
        records, devices, heads_root = self.last_leaf
        if self.manifest.scope == "devices":
            found = self.heads_items
            if (found.position, found.root()) == (devices, heads_root):
                return None
            expected = f"root {encode_base64(heads_root)} of {devices} devices"
            return Finding(code, expected, f"root {encode_base64(found.root())} of {found.position}")
        if is_earlier_same and self.previous.size and not self.ends_with_heads:
            return Finding(code, "a heads leaf at the end of the earlier checkpoint", "another leaf")
        if self.wrong_heads is not None:
            position, expected, actual = self.wrong_heads
            expected = f"{expected} records before leaf {position}"
            return Finding(code, expected, f"{actual} in the heads leaf")
        tree = Items(MAX_SIZE, None, False)
        for device_id in sorted(self.devices):
            device = self.devices[device_id]
            if not device.is_logged:
                return Finding(
                    code, "a key of the device in the log", "none", device_id, device.last.sequence
                )
            start = device.start or NO_HEAD
            tree.push_leaf(write_heads_entry(device_id, device.last or Head(0, start.hash), start))
        found = self.records, tree.position, tree.root()
        if found == self.last_leaf:
            return None
        form = "root {2} of {1} devices and {0} records"
        expected = form.format(found[0], found[1], encode_base64(found[2]))
        return Finding(code, expected, form.format(records, devices, encode_base64(heads_root)))

    def _device_heads(self):
        """Step 11.4."""
        ids = [device_id for device_id, _, _ in self.heads]
        devices = {device_id for device_id, device in self.devices.items() if device.last is not None}
        found = []
        omitted = 0
        for device_id in sorted(devices.union(self.manifest.devices)):
            at = bisect_left(ids, device_id)
            end = self.devices[device_id].last if device_id in devices else None
            entry = self.heads[at][2] if at < len(ids) and ids[at] == device_id else None
            if entry is not None:
                if end is None and entry.sequence > 0:
                    finding = Finding("device_missing", str(entry), "no record", device_id, entry.sequence)
                elif end is not None and end != entry:
                    finding = Finding("head_mismatch", str(entry), str(end), device_id, entry.sequence)
                else:
                    continue
            elif end is not None:
                expected = "an entry of the device in the heads"
                finding = Finding("heads_mismatch", expected, "none", device_id, end.sequence)
            elif self._is_absent(at):
                continue
            else:
                expected = "the entries before and after the place of the device"
                finding = Finding("heads_mismatch", expected, "others", device_id)
            if len(found) < MAX_DEVICES:
                found.append(finding)
            else:
                omitted += 1
        self.findings.add_bounded(found, omitted)

    def _is_absent(self, at):
        """Returns True if the entries around a place of the list are neighbours, or borders of the tree."""
        before = self.heads[at - 1][1] if at > 0 else -1
        after = self.heads[at][1] if at < len(self.heads) else self.heads_items.position
        return before + 1 == after

    def _keys_in_log(self):
        """Step 13."""
        found = []
        omitted = 0
        for device_id in sorted(self.devices):
            device = self.devices[device_id]
            for at in sorted(device.used):
                key = device.keys.keys[at]
                if key.key.encoding in device.log_keys:
                    continue
                if len(found) >= MAX_DEVICES:
                    omitted += 1
                    continue
                have = ", ".join(sorted(one.hex() for one in device.log_keys)[:5]) or "no key of the device"
                expected = f"key {key.key.encoding.hex()} in the log"
                found.append(Finding("key_not_logged", expected, have, device_id, key.valid_from))
        self.findings.add_bounded(found, omitted)

    # -- The report --

    def _gap(self, code, **values):
        self.gaps.append((code, values))

    def _find_gaps(self):
        """Lists the checks that were not made, level by level."""
        found = dict(self.gaps)
        manifest = self.manifest
        if self.beginnings_claimed:
            found["beginnings_claimed"] = {"chains": self.beginnings_claimed}
        if manifest.scope == "records":
            found["links_not_checked"] = {}
        if self.keys is None:
            found["no_keys"] = {}
        elif self.inputs.keys is None:
            found["keys_claimed"] = {}
        if self.unsigned:
            found["unsigned"] = {"records": self.unsigned}
        if self.signed["payload-hash"]:
            found["payload_hash_only"] = {"records": self.signed["payload-hash"]}
        if self.inputs.signatures != "all" and self.keys is not None:
            found["signatures_sampled"] = {
                "checked": len(self.sample),
                "records": self.signable,
                "seed": self.inputs.seed,
            }
        if not manifest.payloads:
            found["no_payloads"] = {}
        if self.inputs.policy is None:
            found["policy_claimed"] = {}
        if self.policy.quorum == "none":
            found["no_witnesses"] = {}
        if manifest.scope != "full":
            found["part_of_log"] = {}
        if self.unknown_leaves:
            found["unknown_leaves"] = {"leaves": self.unknown_leaves}
        if manifest.timestamps and self.inputs.tsa_roots is None:
            found["timestamps_not_checked"] = {"files": manifest.timestamps}
        self.gaps = [(code, found[code]) for code in GAPS if code in found]

    def verdict(self):
        """Returns `valid`, `findings` or `nothing_to_verify`."""
        if self.findings.counts:
            return "findings"
        return "valid" if self.records else "nothing_to_verify"

    def not_checked(self):
        """Returns the checks that were not made, as sentences."""
        return [f"{GAPS[code][0]}: {GAPS[code][1].format(**values)}" for code, values in self.gaps]

    def missing_levels(self, required):
        """Returns the required levels that are not covered, each with the codes of its gaps."""
        codes = {code for code, _ in self.gaps}
        missing = []
        for level in required:
            gaps = [code for code in REQUIRABLE[level] if code in codes]
            if gaps:
                missing.append("{} ({})".format(level, ", ".join(gaps)))
        return missing

    def to_json(self):
        """Returns the report as an object of JSON."""
        findings = self.findings.kept()
        total = sum(self.findings.counts.values())
        signatures = None
        if self.keys is not None:
            signatures = {
                "payload_hash": self.decided["payload-hash"],
                "record": self.decided["record"],
                "unchecked": self.unsigned,
            }
        return {
            "verdict": self.verdict(),
            "scope": self.manifest.scope if self.manifest else None,
            "origin": self.checkpoint.origin if self.checkpoint else None,
            "size": self.checkpoint.size if self.checkpoint else None,
            "counts": {code: self.findings.counts[code] for code in CODES if code in self.findings.counts},
            "findings": [finding.to_json() for finding in findings],
            "findings_omitted": total - len(findings),
            "coverage": {
                "records": self.records,
                "devices": sum(device.count > 0 for device in self.devices.values()),
                "malformed": self.malformed_records,
                "signatures": signatures,
                "witnesses": [name for name, _ in self.trusted[1]] if self.trusted else [],
                "quorum_time": self.trusted[2] if self.trusted else None,
                "timestamps": [stamp.to_json() for stamp in self.timestamps],
                "gaps": [dict(level=GAPS[code][0], code=code, **values) for code, values in self.gaps],
                "not_checked": self.not_checked(),
            },
        }


def check_link(before, sequence, previous, record_hash):
    """Returns the finding if a record does not continue a head (steps 4.2 and 4.3 of the specification)."""
    if sequence == before.sequence + 1:
        if previous == before.hash:
            return None
        return Finding("prev_hash_mismatch", before.hash.hex(), previous.hex(), None, sequence)
    if sequence == before.sequence and record_hash != before.hash:
        return Finding("fork", before.hash.hex(), record_hash.hex(), None, sequence)
    if sequence > before.sequence:
        code = "sequence_gap"
    elif sequence == before.sequence:
        code = "sequence_duplicate"
    else:
        code = "sequence_out_of_order"
    actual = f"sequence {sequence}"
    return Finding(code, f"sequence {before.sequence + 1}", actual, None, sequence)


def verify_bundle(file, inputs, size=None, progress=None):
    """Verifies the bundle in a binary file and returns the verification with its report.

    Raises:
        UnusableInputs: neither the auditor nor the bundle has a policy.
        OSError: the file cannot be read.
    """
    verification = Verification(inputs)
    try:
        verification.run(Source(file, size, progress or Progress("never")))
    except MalformedBundle as problem:
        # The rest of a malformed file may mean anything.
        verification = Verification(inputs)
        finding = Finding("bundle_malformed", "a bundle in the form of its specification", str(problem))
        finding.file = problem.file
        verification.findings.add(finding)
    return verification


# --- The command ---

HOLDS, FINDINGS, USAGE, UNFINISHED, INTERRUPTED = 0, 1, 2, 3, 130
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Progress:
    """Shows on stderr how much was read: `auto` if it is a terminal, `always` or `never`."""

    def __init__(self, when):
        self.is_shown = when == "always" or (when == "auto" and sys.stderr.isatty())
        self.next = time.monotonic() + 0.5
        self.length = 0

    def at(self, done, total):
        """Shows the place in the file."""
        if not self.is_shown or time.monotonic() < self.next:
            return
        self.next = time.monotonic() + 0.5
        text = f"read {done // MIB:,} MiB"
        if total:
            text += f" of {total // MIB:,} ({100 * done // total} %)"
        self._write(text)

    def _write(self, text):
        sys.stderr.write("\r" + text.ljust(self.length))
        sys.stderr.flush()
        self.length = len(text)

    def end(self):
        """Removes the line."""
        if self.length:
            self._write("")
            sys.stderr.write("\r")


def parse_seconds(text):
    """Returns the seconds of a time such as 90s, 15m, 24h or 7d."""
    if not re.fullmatch("[0-9]{1,15}[smhd]", text, re.ASCII):
        raise argparse.ArgumentTypeError("expected a number with a unit, such as 90s, 15m, 24h or 7d")
    return int(text[:-1]) * UNITS[text[-1]]


def parse_signatures(text):
    """Returns `all` or a number of signatures."""
    if text in ("all", "none"):
        return text if text == "all" else 0
    if not re.fullmatch("[0-9]{1,9}", text, re.ASCII):
        raise argparse.ArgumentTypeError("expected all, none or a number of records")
    return int(text)


def parse_levels(text):
    """Returns the required levels."""
    levels = text.split(",")
    if not set(levels) <= REQUIRABLE.keys():
        raise argparse.ArgumentTypeError("expected levels of {}".format(", ".join(REQUIRABLE)))
    return levels


def read_limited(path, limit):
    """Returns the bytes of a file of the auditor."""
    with open(path, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Malformed(f"it has more than {limit:,} bytes")
    return data


def read_inputs(options):
    """Returns the inputs that the auditor gives."""
    inputs = Inputs()
    inputs.signatures = options.signatures
    inputs.seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(6), "big")
    inputs.max_findings = options.max_findings
    inputs.max_age = options.max_age
    inputs.now = int(time.time())
    for level, given, option in (("signatures", options.keys, "--keys"), ("log", options.policy, "--policy")):
        if level in options.require and given is None:
            message = f"--require {level} needs {option} FILE; nothing was read"
            raise UnusableInputs("required_input_missing", message)
    path = None
    try:
        if options.policy is not None:
            path = options.policy
            inputs.policy = Policy(read_limited(path, MAX_NOTE_BYTES))
        if options.keys is not None:
            path = options.keys
            inputs.keys = KeyRing.of_json(read_limited(path, 64 * MIB), options.scheme)
        if options.previous is not None:
            path = options.previous
            inputs.previous = Note(read_limited(path, MAX_NOTE_BYTES))
            Checkpoint.parse(inputs.previous.text)
        if options.tsa_roots is not None:
            path = options.tsa_roots
            inputs.tsa_roots = Roots(read_limited(path, MAX_PEM_BYTES))
    except Malformed as problem:
        raise UnusableInputs("input_malformed", f"{escaped(str(path))}: {problem}") from None
    return inputs


def parser():
    """Returns the parser of the command line."""
    found = argparse.ArgumentParser(
        prog="verify.py",
        description="Verify an evidence bundle of EdgeSentry, offline and without other software.",
        epilog="Exit code: 0 valid, 1 findings, 2 wrong arguments, no policy or a required level that is not "
        "covered, 3 nothing to verify or an unreadable file. Policy and keys from the bundle itself are "
        "claims: they prove nothing about the sender.",
    )
    add = found.add_argument
    add("bundle", metavar="BUNDLE", help="the bundle; - is stdin")
    add("--policy", metavar="FILE", help="policy with the logs, witnesses and quorum that you trust")
    add("--keys", metavar="FILE", help="key ring of the devices, JSON")
    add(
        "--scheme",
        choices=SCHEMES,
        default="payload-hash",
        help="signature scheme of keys for which the key ring states none [default: %(default)s]",
    )
    add("--previous", metavar="FILE", help="checkpoint of the same log that you kept from earlier")
    add("--tsa-roots", metavar="FILE", help="certificates of the roots that you trust for time stamps, PEM")
    add("--max-age", metavar="TIME", type=parse_seconds, help="refuse older cosignatures, such as 24h or 7d")
    add(
        "--require",
        metavar="LEVELS",
        type=parse_levels,
        default=[],
        help="of: {}".format(", ".join(REQUIRABLE)),
    )
    add(
        "--signatures",
        metavar="N",
        type=parse_signatures,
        default="all",
        help="verify the signatures of all records, of none, or of N drawn at random [default: all]",
    )
    add("--seed", metavar="N", type=int, help="seed of the drawing, to repeat it")
    add("--json", action="store_true", help="print the report as JSON")
    add("--max-findings", metavar="N", type=int, default=100_000, help="findings to print; all are counted")
    add(
        "--progress",
        choices=("auto", "always", "never"),
        default="auto",
        help="progress on stderr [default: auto]",
    )
    return found


def report_text(verification):
    """Returns the report for people."""
    coverage = verification.to_json()["coverage"]
    verdict = verification.verdict()
    lines = [{"valid": "VALID", "findings": "FINDINGS", "nothing_to_verify": "NOTHING TO VERIFY"}[verdict]]
    checkpoint = verification.checkpoint
    if checkpoint is not None:
        form = "{:,} records of {:,} devices; checkpoint of log {} at size {:,}; scope {}"
        lines[0] += ": " + form.format(
            coverage["records"],
            coverage["devices"],
            quoted(checkpoint.origin),
            checkpoint.size,
            verification.manifest.scope,
        )
    if verification.trusted is not None and verification.trusted[1]:
        times = "; ".join(f"{quoted(name)} {time_text(seconds)}" for name, seconds in verification.trusted[1])
        lines.append("cosigned: " + times)
    lines += [str(stamp) for stamp in verification.timestamps]
    lines += [f"{count:,} x {code}" for code, count in verification.to_json()["counts"].items()]
    lines += [str(finding) for finding in verification.findings.kept()]
    lines += ["not checked: " + sentence for sentence in verification.not_checked()]
    return "\n".join(lines)


def time_text(seconds):
    """Returns a time in UTC."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"at {seconds} s"


def time_text_ms(milliseconds):
    """Returns a time in UTC, with its milliseconds if there are some."""
    text, rest = time_text(milliseconds // 1000), milliseconds % 1000
    return text[:-1] + f".{rest:03}Z" if rest and text.endswith("Z") else text


def run(options):
    """Runs the command. Returns the exit code."""
    inputs = read_inputs(options)
    progress = Progress(options.progress)
    try:
        if options.bundle == "-":
            verification = verify_bundle(sys.stdin.buffer, inputs, None, progress)
        else:
            with open(options.bundle, "rb") as file:
                verification = verify_bundle(file, inputs, os.fstat(file.fileno()).st_size, progress)
    finally:
        progress.end()
    verdict = verification.verdict()
    status = {"valid": HOLDS, "findings": FINDINGS}.get(verdict, UNFINISHED)
    missing = verification.missing_levels(options.require)
    if missing and status == HOLDS:
        status = USAGE
    message = "required, but not covered: " + "; ".join(missing) if missing else None
    if options.json:
        report = {"ok": status == HOLDS, "report": verification.to_json()}
        if message:
            report["error"] = {"code": "required_level_not_covered", "message": message, "exit_code": status}
        print(json.dumps(report, indent=2))
    else:
        print(report_text(verification))
    if message:
        print(f"verify.py: required_level_not_covered: {message}", file=sys.stderr)
    return status


def main(arguments=None):
    """Runs the command line. Returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal or file may lack the characters of a name.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    options = parser().parse_args(arguments)
    try:
        return run(options)
    except UnusableInputs as problem:
        code, message, status = problem.code, str(problem), USAGE
    except OSError as problem:
        code, message, status = "unreadable", escaped(str(problem)), UNFINISHED
    except KeyboardInterrupt:
        code, message, status = "interrupted", "interrupted before the end", INTERRUPTED
    if options.json:
        error = {"code": code, "message": message, "exit_code": status}
        print(json.dumps({"ok": False, "error": error}))
    print(f"verify.py: {code}: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
