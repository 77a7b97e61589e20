"""Verifies the batches of producer.c: LIBRARY FIRST LAST. Each must end in a report or a known exception."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from edgesentry import read_records, verify_chain
from edgesentry.exceptions import EdgesentryError

LIBRARY, FIRST, LAST = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
make = ctypes.CDLL(LIBRARY).hostile
make.argtypes = [ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p]


class Hostile:
    """Returns the batch with the false claim of this number."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.schema = ctypes.create_string_buffer(72)
        self.array = ctypes.create_string_buffer(80)

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        make(self.seed, self.schema, self.array)
        return (
            new_capsule(ctypes.addressof(self.schema), b"arrow_schema", None),
            new_capsule(ctypes.addressof(self.array), b"arrow_array", None),
        )


outcomes: dict[str, int] = {}
for seed in range(FIRST, LAST):
    print(seed, flush=True)
    for consume in (verify_chain, lambda source: list(read_records(source, on_malformed="skip"))):
        hostile: Any = Hostile(seed)
        try:
            consume(hostile)
            outcome = "read"
        except (EdgesentryError, ValueError, TypeError) as error:
            outcome = type(error).__name__
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
print(outcomes)
assert outcomes.get("read", 0) > 0
