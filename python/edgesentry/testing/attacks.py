"""The attacks as pure functions: each takes records and returns `Tampered`, and changes no argument.

A function is named by a verb, and an attack of the catalogue by a noun: `CATALOGUE["wrong_key"]` calls
`sign_with_wrong_key`.
"""

from typing import TYPE_CHECKING, NoReturn

from edgesentry.testing._catalogue import nearest
from edgesentry.testing._edits import (
    edit_object_ref,
    flip_device_id_bit,
    flip_object_ref_bit,
    flip_payload_hash_bit,
    flip_prev_record_hash_bit,
    flip_sequence_bit,
    flip_signature_bit,
    flip_timestamp_bit,
    forge_payload,
)
from edgesentry.testing._order import (
    delete,
    duplicate,
    fork,
    insert_forged,
    move,
    remove_device,
    renumber,
    swap_with_next,
    truncate,
)
from edgesentry.testing._payloads import flip_payload_bit, remove_payload, swap_payloads
from edgesentry.testing._relinked import (
    append_replayed,
    append_with_clock_back,
    delete_and_relink,
    edit_object_ref_and_relink,
    edit_time_and_relink,
    forge_payload_and_relink,
    rename_device,
    rewrite_with_key,
    swap_and_relink,
    swap_devices,
)
from edgesentry.testing._signatures import (
    add_order_to_s,
    add_torsion_to_r,
    add_unknown_device,
    append_forged,
    forge_succession,
    mixed_order_r,
    move_r_off_curve,
    negative_zero_r,
    non_canonical_r,
    replay_signature,
    set_signature,
    sign_under_other_scheme,
    sign_with_key_of_other_sequence,
    sign_with_wrong_key,
    small_order_r,
    state_own_successor,
    zero_signature,
)

__all__ = [
    "add_order_to_s",
    "add_torsion_to_r",
    "add_unknown_device",
    "append_forged",
    "append_replayed",
    "append_with_clock_back",
    "delete",
    "delete_and_relink",
    "duplicate",
    "edit_object_ref",
    "edit_object_ref_and_relink",
    "edit_time_and_relink",
    "flip_device_id_bit",
    "flip_object_ref_bit",
    "flip_payload_bit",
    "flip_payload_hash_bit",
    "flip_prev_record_hash_bit",
    "flip_sequence_bit",
    "flip_signature_bit",
    "flip_timestamp_bit",
    "forge_payload",
    "forge_payload_and_relink",
    "forge_succession",
    "fork",
    "insert_forged",
    "mixed_order_r",
    "move",
    "move_r_off_curve",
    "negative_zero_r",
    "non_canonical_r",
    "remove_device",
    "remove_payload",
    "rename_device",
    "renumber",
    "replay_signature",
    "rewrite_with_key",
    "set_signature",
    "sign_under_other_scheme",
    "sign_with_key_of_other_sequence",
    "sign_with_wrong_key",
    "small_order_r",
    "state_own_successor",
    "swap_and_relink",
    "swap_devices",
    "swap_payloads",
    "swap_with_next",
    "truncate",
    "zero_signature",
]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> NoReturn:
        raise AttributeError(f"attacks has no function {name!r}; the nearest are {nearest(name, __all__)}")
