/*
 * EdgeSentry: sign and verify tamper-evident audit records. This file is generated from rust/capi; do not edit it.
 *
 * Pointers. The caller allocates every buffer and passes its size in bytes, or its number of elements for an array. A
 * pointer is null, or valid for that size until the function returns; memory that a function writes overlaps no other
 * argument. Null is an EDGESENTRY_INVALID_ARGUMENT unless the function allows it, or the size is 0.
 *
 * Structures. A structure with struct_size is initialized by its macro, such as EDGESENTRY_RECORD_INIT, before it is
 * used, also if the library fills it in. Later versions of the library may add fields at its end.
 *
 * Failures. A function returns EDGESENTRY_OK or another status, never ends the process, and throws nothing.
 * edgesentry_last_error has the reason, for each thread. All functions may be called from several threads.
 */

#ifndef EDGESENTRY_H
#define EDGESENTRY_H

#include <stddef.h>
#include <stdint.h>
/** An empty record, with its size. */
#define EDGESENTRY_RECORD_INIT {sizeof(edgesentry_record), 0, 0, 0, NULL, 0, NULL, 0, {0}, {0}, {0}}
/** The start of a chain. */
#define EDGESENTRY_HEAD_INIT {0, {0}}
/** An empty chain, with its size. */
#define EDGESENTRY_CHAIN_INIT {sizeof(edgesentry_chain), 0, NULL, 0, NULL, 0, NULL, NULL}
/** An empty signer, with its size. */
#define EDGESENTRY_SIGNER_INIT {sizeof(edgesentry_signer), 0, {0}, NULL, NULL}
/** A service without its URL, with the size of the structure. */
#define EDGESENTRY_SERVICE_INIT {sizeof(edgesentry_service), 0, NULL, 0, NULL, 0, NULL, 0, NULL, 0, NULL, 0}
/** Empty inputs for an update, with their size. */
#define EDGESENTRY_UPDATE_CHECK_INIT \
    {sizeof(edgesentry_update_check), 0, NULL, 0, NULL, 0, NULL, 0, NULL, 0, 0, NULL, 0}
/** An empty update, with its size. */
#define EDGESENTRY_UPDATE_INIT {sizeof(edgesentry_update), 0, 0, 0, 0, {0}, 0, 0, {0}}


// Scheme `record`: the signature covers every field. For new devices.
#define EDGESENTRY_SCHEME_RECORD 1

// Scheme `payload-hash`: the signature covers the payload hash alone. For devices that sign so today.
#define EDGESENTRY_SCHEME_PAYLOAD_HASH 2

// The size of a seed, in bytes.
#define EDGESENTRY_SEED_SIZE 32

// The size of a public key, in bytes.
#define EDGESENTRY_PUBLIC_KEY_SIZE 32

// The size of a hash, in bytes.
#define EDGESENTRY_HASH_SIZE 32

// The size of a signature, in bytes.
#define EDGESENTRY_SIGNATURE_SIZE 64

// The version of this interface. It changes when a program must be changed or compiled again.
#define EDGESENTRY_ABI_VERSION 1

// The size of the update state, in bytes: two slots.
#define EDGESENTRY_UPDATE_STATE_SIZE 1024

// The size of one slot of the update state, in bytes.
#define EDGESENTRY_UPDATE_SLOT_SIZE 512

// `update_malformed`
#define EDGESENTRY_REFUSAL_MALFORMED 1

// `update_other_name`
#define EDGESENTRY_REFUSAL_OTHER_NAME 2

// `update_untrusted`
#define EDGESENTRY_REFUSAL_UNTRUSTED 3

// `update_expired`
#define EDGESENTRY_REFUSAL_EXPIRED 4

// `update_rollback`
#define EDGESENTRY_REFUSAL_ROLLBACK 5

// `update_conflict`
#define EDGESENTRY_REFUSAL_CONFLICT 6

// `update_image_truncated`
#define EDGESENTRY_REFUSAL_IMAGE_TRUNCATED 7

// `update_image_too_long`
#define EDGESENTRY_REFUSAL_IMAGE_TOO_LONG 8

// `update_image_hash`
#define EDGESENTRY_REFUSAL_IMAGE_HASH 9

// A reason that this version of the interface does not name.
#define EDGESENTRY_REFUSAL_OTHER 255

// `prev_hash_mismatch`
#define EDGESENTRY_FINDING_PREV_HASH_MISMATCH 1

// `sequence_gap`
#define EDGESENTRY_FINDING_SEQUENCE_GAP 2

// `sequence_duplicate`
#define EDGESENTRY_FINDING_SEQUENCE_DUPLICATE 3

// `sequence_out_of_order`
#define EDGESENTRY_FINDING_SEQUENCE_OUT_OF_ORDER 4

// `fork`
#define EDGESENTRY_FINDING_FORK 5

// `first_record_not_genesis`
#define EDGESENTRY_FINDING_FIRST_RECORD_NOT_GENESIS 6

// `signature_invalid`
#define EDGESENTRY_FINDING_SIGNATURE_INVALID 7

// `unknown_device`
#define EDGESENTRY_FINDING_UNKNOWN_DEVICE 8

// `key_not_valid_at_sequence`
#define EDGESENTRY_FINDING_KEY_NOT_VALID_AT_SEQUENCE 9

// `payload_hash_mismatch`
#define EDGESENTRY_FINDING_PAYLOAD_HASH_MISMATCH 10

// `head_mismatch`
#define EDGESENTRY_FINDING_HEAD_MISMATCH 11

// `succession_invalid`
#define EDGESENTRY_FINDING_SUCCESSION_INVALID 12

// A finding that this version of the interface does not name.
#define EDGESENTRY_FINDING_OTHER 255

// The outbox of a device: one file.
typedef struct edgesentry_outbox edgesentry_outbox;

// A private key that this library has opened: of a seed file or in a token.
typedef struct edgesentry_private_key edgesentry_private_key;

// A key in a token.
typedef struct edgesentry_token edgesentry_token;

// The result of a function: `EDGESENTRY_OK`, or the reason of a failure.
typedef int32_t edgesentry_status;

// The last record of a chain. All zero: the start of the chain.
typedef struct edgesentry_head {
  // Its sequence; 0 if there is no record yet.
  uint64_t sequence;
  // Its record hash.
  uint8_t hash[32];
} edgesentry_head;

// A record. Text is UTF-8, without a final zero byte.
typedef struct edgesentry_record {
  // sizeof(edgesentry_record)
  uint32_t struct_size;
  // 0
  uint32_t reserved;
  // 1, 2, 3, ... per device.
  uint64_t sequence;
  // Unix milliseconds.
  uint64_t timestamp_ms;
  // The device, 1 to 1024 bytes.
  const char *device_id;
  // Its size.
  size_t device_id_size;
  // The place of the payload, 1 to 1024 bytes.
  const char *object_ref;
  // Its size.
  size_t object_ref_size;
  // BLAKE3 of the payload.
  uint8_t payload_hash[32];
  // Ed25519, R then S.
  uint8_t signature[64];
  // The record hash of the previous record; zero for the first.
  uint8_t prev_record_hash[32];
} edgesentry_record;

// Signs a message by Ed25519 (RFC 8032): writes EDGESENTRY_SIGNATURE_SIZE bytes to `signature` and returns 0. Any other
// number is a failure; nothing is signed then. A device signs messages of 32 bytes, never payloads. The key
// of a successor also signs the statement of the succession, which is longer.
typedef int32_t (*edgesentry_signature_function)(void *context,
                                                 const uint8_t *message,
                                                 size_t message_size,
                                                 uint8_t *signature);

// A key that is not in this process, or not for this library: in a token, in a secure element. An outbox calls `sign` on
// a thread of the library, one call at a time, while the caller waits; `sign` must not use the outbox.
typedef struct edgesentry_signer {
  // sizeof(edgesentry_signer)
  uint32_t struct_size;
  // 0
  uint32_t reserved;
  // Its public key. A signature that does not hold under it is refused.
  uint8_t public_key[32];
  // The function that signs.
  edgesentry_signature_function sign;
  // The first argument of the function.
  void *context;
} edgesentry_signer;

// A public key of a device.
typedef struct edgesentry_key {
  // The first sequence that it signs: 1 for the first key of a device.
  uint64_t valid_from;
  // EDGESENTRY_SCHEME_RECORD or EDGESENTRY_SCHEME_PAYLOAD_HASH.
  uint32_t scheme;
  // 0
  uint32_t reserved;
  // The key.
  uint8_t public_key[32];
} edgesentry_key;

// The records of one device and the inputs to verify them.
typedef struct edgesentry_chain {
  // sizeof(edgesentry_chain)
  uint32_t struct_size;
  // 0
  uint32_t reserved;
  // The records, in order.
  const struct edgesentry_record *records;
  // Their number.
  size_t record_count;
  // The keys of the device that the caller trusts.
  const struct edgesentry_key *keys;
  // Their number, at least 1.
  size_t key_count;
  // The head after which the records begin; null or all zero if they begin at sequence 1.
  const struct edgesentry_head *start;
  // A head that the caller kept, which the records must contain; null if there is none. Without it, missing records
  // at the end go unnoticed.
  const struct edgesentry_head *head;
} edgesentry_chain;

// A failed check.
typedef struct edgesentry_finding {
  // EDGESENTRY_FINDING_...
  uint32_t code;
  // 0
  uint32_t reserved;
  // The position of the record, from 0; UINT64_MAX if the record is missing.
  uint64_t index;
  // Its sequence; 0 if it has none.
  uint64_t sequence;
} edgesentry_finding;

// A request of a flush, and the room for its response.
typedef struct edgesentry_request {
  // The size of the structure; set by the library.
  uint32_t struct_size;
  // Set by the caller: the HTTP status of the response.
  uint32_t http_status;
  // The body, for POST /api/v1/ingest with the content type application/json.
  const uint8_t *body;
  // Its size.
  size_t body_size;
  // Room for the body of the response.
  uint8_t *response;
  // Its size; a longer response is cut.
  size_t response_capacity;
  // Set by the caller: the size of the body of the response.
  size_t response_size;
} edgesentry_request;

// Sends a request, and fills in its response. Returns 0 if there is one; otherwise the record stays in the outbox.
typedef int32_t (*edgesentry_send)(void *context, struct edgesentry_request *request);

// The result of a flush.
typedef struct edgesentry_flushed {
  // Records that the service has accepted now.
  uint64_t accepted;
  // Records that the service already held.
  uint64_t duplicates;
  // Records that still wait.
  uint64_t waiting;
  // The sequence of the record that the service rejected; 0 if there is none.
  uint64_t rejected_sequence;
} edgesentry_flushed;

// The inputs for the verification of an update.
typedef struct edgesentry_update_check {
  // sizeof(edgesentry_update_check)
  uint32_t struct_size;
  // How many publishers must have signed.
  uint32_t threshold;
  // The product of this device.
  const char *name;
  // Its size.
  size_t name_size;
  // The public keys of the publishers that the device trusts, EDGESENTRY_PUBLIC_KEY_SIZE bytes each.
  const uint8_t *keys;
  // The size of all keys, in bytes.
  size_t keys_size;
  // The manifest, as received.
  const uint8_t *manifest;
  // Its size.
  size_t manifest_size;
  // Both slots of the update state, as stored.
  const uint8_t *state;
  // EDGESENTRY_UPDATE_STATE_SIZE
  size_t state_size;
  // The time, Unix milliseconds; 0 if the device has no clock.
  uint64_t now_ms;
  // Memory for pieces of the image.
  uint8_t *buffer;
  // Its size, such as 4096.
  size_t buffer_size;
} edgesentry_update_check;

// Reads the next bytes of an image into `buffer`, and returns their number: 0 at the end, negative after a failure.
typedef int64_t (*edgesentry_read)(void *context, uint8_t *buffer, size_t capacity);

// A verified update, or the reason why it is refused.
typedef struct edgesentry_update {
  // sizeof(edgesentry_update)
  uint32_t struct_size;
  // EDGESENTRY_REFUSAL_..., or 0.
  uint32_t refusal;
  // The version.
  uint64_t version;
  // The lowest version that the device accepts afterwards.
  uint64_t minimum_version;
  // The size of the image.
  uint64_t image_size;
  // BLAKE3 of the image.
  uint8_t image_hash[32];
  // The slot of the state that must be written, 0 or 1.
  uint32_t slot;
  // 0
  uint32_t reserved;
  // The content of that slot.
  uint8_t slot_bytes[512];
} edgesentry_update;

// A service on the network. Text is UTF-8, and of size 0 if there is none.
typedef struct edgesentry_service {
  // sizeof(edgesentry_service)
  uint32_t struct_size;
  // The longest time of a call, in milliseconds; 0 stands for 60,000.
  uint32_t timeout_ms;
  // https://HOST:PORT, or http://HOST:PORT for a connection without TLS.
  const char *url;
  // Its size.
  size_t url_size;
  // A token with the scope ingest, if the service requires one.
  const char *token;
  // Its size.
  size_t token_size;
  // The PEM file of the trusted authorities; those of the system by default.
  const char *ca;
  // Its size.
  size_t ca_size;
  // The PEM file of the certificate of the device, if it has one.
  const char *certificate;
  // Its size.
  size_t certificate_size;
  // The PEM file of the private key of the certificate, which only its owner can read.
  const char *certificate_key;
  // Its size.
  size_t certificate_key_size;
} edgesentry_service;

// Everything that was asked for was done, and holds.
#define EDGESENTRY_OK 0

// The evidence was checked, and does not hold.
#define EDGESENTRY_FINDINGS 1

// There was nothing to verify. Never a pass.
#define EDGESENTRY_NOTHING_TO_VERIFY 2

// An argument is null, has another size, or is out of its range.
#define EDGESENTRY_INVALID_ARGUMENT 3

// A buffer is too small.
#define EDGESENTRY_BUFFER_TOO_SMALL 4

// A public key is not safe to use.
#define EDGESENTRY_WEAK_KEY 5

// The sequence of the chain is at its maximum.
#define EDGESENTRY_CHAIN_FULL 6

// Bytes are not the canonical bytes of a record.
#define EDGESENTRY_MALFORMED 7

// The system has no random numbers.
#define EDGESENTRY_NO_RANDOM 8

// The outbox cannot go on: see the text of the failure.
#define EDGESENTRY_OUTBOX 9

// The records stay in the outbox; the same call may succeed later.
#define EDGESENTRY_TRY_AGAIN 10

// The service rejects a record, which stays in the outbox.
#define EDGESENTRY_REJECTED 11

// The update is refused: `refusal` has the reason.
#define EDGESENTRY_REFUSED 12

// Neither slot of the update state is valid. Refuse updates; do not create a new state.
#define EDGESENTRY_STATE_DAMAGED 13

// The function that reads the image has failed.
#define EDGESENTRY_UNREADABLE 14

// The signer or the token failed, or the signature does not hold; nothing was signed.
#define EDGESENTRY_SIGNER 15

// A bug in this library; please report it.
#define EDGESENTRY_INTERNAL 100

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Returns the version of the library, such as "0.1.0". The text is static.
const char *edgesentry_version(void);

// Returns EDGESENTRY_ABI_VERSION of the library, to be compared with that of the header.
uint32_t edgesentry_abi_version(void);

// Copies the text of the last failure of this thread to `out`, with a final zero byte; a text that does not fit is cut.
// Returns the size of the whole text without the zero byte: 0 if the last call succeeded.
//
// `out` has `capacity` bytes, or is null.
size_t edgesentry_last_error(char *out,
                             size_t capacity);

// Makes a new key pair with random numbers of the system.
//
// `seed` has EDGESENTRY_SEED_SIZE bytes, the secret: keep it on the device. `public_key` has EDGESENTRY_PUBLIC_KEY_SIZE
// bytes: register it with the service.
edgesentry_status edgesentry_keygen(uint8_t *seed,
                                    size_t seed_size,
                                    uint8_t *public_key,
                                    size_t public_key_size);

// Computes the public key of a seed.
//
// `seed` has EDGESENTRY_SEED_SIZE bytes, `public_key` EDGESENTRY_PUBLIC_KEY_SIZE bytes.
edgesentry_status edgesentry_public_key(const uint8_t *seed,
                                        size_t seed_size,
                                        uint8_t *public_key,
                                        size_t public_key_size);

// Computes BLAKE3 of bytes: the payload hash of a payload.
//
// `hash` has EDGESENTRY_HASH_SIZE bytes.
edgesentry_status edgesentry_hash(const uint8_t *bytes, size_t size, uint8_t *hash, size_t hash_size);

// Signs the next record of a chain.
//
// The caller fills in `device_id`, `timestamp_ms` and `object_ref` of `record`, and its `struct_size`; the function fills
// in the other fields. `head` is the last record of the chain, all zero at its start, and becomes the new one. Store
// the record and the head durably before the record is sent. After a failure neither has changed.
//
// `seed` has EDGESENTRY_SEED_SIZE bytes. The function does not allocate.
edgesentry_status edgesentry_sign(const uint8_t *seed,
                                  size_t seed_size,
                                  uint32_t scheme,
                                  struct edgesentry_head *head,
                                  const uint8_t *payload,
                                  size_t payload_size,
                                  struct edgesentry_record *record);

// Like edgesentry_sign, with a key that this process does not have. `signer` signs 32 bytes, and its signature is
// verified. After a failure of it, EDGESENTRY_SIGNER, neither `record` nor `head` has changed.
edgesentry_status edgesentry_sign_with(const struct edgesentry_signer *signer,
                                       uint32_t scheme,
                                       struct edgesentry_head *head,
                                       const uint8_t *payload,
                                       size_t payload_size,
                                       struct edgesentry_record *record);

// Writes the canonical bytes of a record, over which its hash is computed.
//
// `size` receives their number, also after EDGESENTRY_BUFFER_TOO_SMALL. `out` has `capacity` bytes, and may be null if
// `capacity` is 0. The function does not allocate.
edgesentry_status edgesentry_canonical_bytes(const struct edgesentry_record *record,
                                             uint8_t *out,
                                             size_t capacity,
                                             size_t *size);

// Reads a record from its canonical bytes; all other bytes are EDGESENTRY_MALFORMED.
//
// The caller fills in `struct_size` of `record`. Its text then points into `bytes`.
edgesentry_status edgesentry_parse_record(const uint8_t *bytes,
                                          size_t size,
                                          struct edgesentry_record *record);

// Computes the record hash: BLAKE3 of the canonical bytes.
//
// `hash` has EDGESENTRY_HASH_SIZE bytes. The function does not allocate.
edgesentry_status edgesentry_record_hash(const struct edgesentry_record *record,
                                         uint8_t *hash,
                                         size_t hash_size);

// Verifies the signature of one record, and its payload unless `payload` is null. Its place in the chain is not checked:
// see edgesentry_verify_chain.
//
// Returns EDGESENTRY_OK, or EDGESENTRY_FINDINGS with the code in `finding`, which may be null. `public_key` has
// EDGESENTRY_PUBLIC_KEY_SIZE bytes; `scheme` is that of the registered key.
edgesentry_status edgesentry_verify_record(const struct edgesentry_record *record,
                                           const uint8_t *public_key,
                                           size_t public_key_size,
                                           uint32_t scheme,
                                           const uint8_t *payload,
                                           size_t payload_size,
                                           uint32_t *finding);

// Verifies the records of one device: signatures, links, and the heads that the caller gives.
//
// Returns EDGESENTRY_OK, or EDGESENTRY_FINDINGS. The first `capacity` findings, in the order of their records, are
// written to `findings`, which may be null if `capacity` is 0; `found` receives the number of all. The function allocates.
edgesentry_status edgesentry_verify_chain(const struct edgesentry_chain *chain,
                                          struct edgesentry_finding *findings,
                                          size_t capacity,
                                          size_t *found);

// Opens a private key by the text that the option --key of eds has: the path of a seed file of eds keygen, which only its
// owner can read, or the PKCS#11 URI of a key in a token (libraries with the feature pkcs11). A URI names the library of the
// token with module-path; its PIN comes from pin-source or from the environment variable EDS_PKCS11_PIN.
//
// `key` is text. `private_key` receives the key; close it with edgesentry_signer_close. `signer` receives its public key
// and edgesentry_signer_sign with the key as context, for edgesentry_sign_with and edgesentry_outbox_open_with.
//
// Returns EDGESENTRY_INVALID_ARGUMENT if the text names no key, EDGESENTRY_SIGNER if the key cannot be opened. Several
// threads may use a key.
edgesentry_status edgesentry_signer_open(const char *key,
                                         size_t key_size,
                                         struct edgesentry_private_key **private_key,
                                         struct edgesentry_signer *signer);

// Signs a message with a private key: `context` is the key. `signature` has EDGESENTRY_SIGNATURE_SIZE bytes.
edgesentry_status edgesentry_signer_sign(void *context,
                                         const uint8_t *message,
                                         size_t message_size,
                                         uint8_t *signature);

// Closes a private key, after the outboxes and all other calls that use it. Null is allowed.
edgesentry_status edgesentry_signer_close(struct edgesentry_private_key *private_key);

// Opens the outbox of a device, creating its file if it is missing. The outbox keeps signed records durably until the
// service has confirmed them. Only in libraries with the feature outbox, as are all functions of outboxes.
//
// `path` and `device_id` are text. `seed` has EDGESENTRY_SEED_SIZE bytes. `outbox` receives the outbox; close it with
// edgesentry_outbox_close. Several threads may use it, and calls wait for each other.
edgesentry_status edgesentry_outbox_open(const char *path,
                                         size_t path_size,
                                         const char *device_id,
                                         size_t device_id_size,
                                         const uint8_t *seed,
                                         size_t seed_size,
                                         uint32_t scheme,
                                         struct edgesentry_outbox **outbox);

// Like edgesentry_outbox_open, with a key that this process does not have. The function and the context of `signer` must
// stay valid until the outbox is closed. If the signer fails, edgesentry_outbox_sign returns EDGESENTRY_SIGNER, nothing
// was signed, and the records in the outbox stay.
edgesentry_status edgesentry_outbox_open_with(const char *path,
                                              size_t path_size,
                                              const char *device_id,
                                              size_t device_id_size,
                                              const struct edgesentry_signer *signer,
                                              uint32_t scheme,
                                              struct edgesentry_outbox **outbox);

// Signs the next record of the device and keeps it with its payload. Both are durable when the function returns
// EDGESENTRY_OK; after a failure nothing was signed.
//
// The caller fills in `timestamp_ms` and `object_ref` of `record`, and its `struct_size`; the function fills in the other
// fields. `device_id` then points into the outbox until it is closed.
edgesentry_status edgesentry_outbox_sign(struct edgesentry_outbox *outbox,
                                         const uint8_t *payload,
                                         size_t payload_size,
                                         struct edgesentry_record *record);

// Signs a record of the times that the device has, and keeps it: its clock `timestamp_ms`, the number of its starts, the
// milliseconds since the start, and the last time that edgesentry_outbox_note_service_time has kept. docs/reference/clock.md has
// its payload.
//
// `boot_counter` and `uptime_ms` are null if they are unknown. `sequence` receives the sequence of the record; it may be null.
edgesentry_status edgesentry_outbox_sign_clock(struct edgesentry_outbox *outbox,
                                               uint64_t timestamp_ms,
                                               const uint64_t *boot_counter,
                                               const uint64_t *uptime_ms,
                                               uint64_t *sequence);

// Keeps a time that the service gave now, Unix milliseconds, for the next clock record: the Date of a successful response. Call
// it after the flush, not in its function.
edgesentry_status edgesentry_outbox_note_service_time(struct edgesentry_outbox *outbox,
                                                      uint64_t service_time_ms);

// Replaces the key of the device: signs the next record of the chain, which states the key of `seed`, with the present key
// and keeps it. The key of `seed` signs all later records. Store `seed` durably before, and delete the present seed after.
// After a failure or a crash, open the outbox with the present seed and call the function again, or with `seed`: an outbox
// signs nothing with a key that was replaced.
//
// `seed` has EDGESENTRY_SEED_SIZE bytes; `scheme` must not be weaker than the present one. `sequence` receives the sequence
// of the record; the new key is valid from the next one on.
edgesentry_status edgesentry_outbox_rotate(struct edgesentry_outbox *outbox,
                                           uint64_t timestamp_ms,
                                           const uint8_t *seed,
                                           size_t seed_size,
                                           uint32_t scheme,
                                           uint64_t *sequence);

// Replaces the key of the device as edgesentry_outbox_rotate does, by that of `successor`, which is copied and signs all
// later records. Its functions and `context` must stay valid until the outbox is closed.
edgesentry_status edgesentry_outbox_rotate_with(struct edgesentry_outbox *outbox,
                                                uint64_t timestamp_ms,
                                                const struct edgesentry_signer *successor,
                                                uint32_t scheme,
                                                uint64_t *sequence);

// Sends the waiting records in order with the function `send`, which gets `context`, one record at a time. Each leaves
// the outbox when the service has confirmed it. Sending a record again is safe. `send` must neither use nor close an
// outbox; a use returns EDGESENTRY_INVALID_ARGUMENT.
//
// Returns EDGESENTRY_OK if none is left; EDGESENTRY_TRY_AGAIN if there was no response, or one that asks to try later;
// EDGESENTRY_REJECTED if the service rejects a record, which stays in the outbox with those behind it. `flushed` is
// filled in after EDGESENTRY_OK and EDGESENTRY_REJECTED.
edgesentry_status edgesentry_outbox_flush(struct edgesentry_outbox *outbox,
                                          edgesentry_send send,
                                          void *context,
                                          struct edgesentry_flushed *flushed);

// Reads the number of records that wait to be sent, and the last record of the chain. Either may be null.
edgesentry_status edgesentry_outbox_state(struct edgesentry_outbox *outbox,
                                          uint64_t *waiting,
                                          struct edgesentry_head *head);

// Verifies an update as edgesentry_update_verify does, and signs a record of its outcome, accepted or refused, with the time
// `timestamp_ms`. The record is durable before the function returns.
//
// After EDGESENTRY_OK, write `slot_bytes` of `update` durably to its slot of the state, call edgesentry_outbox_finish_update,
// and start the image. After a loss of power in between, edgesentry_outbox_unfinished_update has the slot.
edgesentry_status edgesentry_outbox_verify_update(struct edgesentry_outbox *outbox,
                                                  const struct edgesentry_update_check *check,
                                                  edgesentry_read read,
                                                  void *context,
                                                  uint64_t timestamp_ms,
                                                  struct edgesentry_update *update);

// Finds an accepted update whose record was signed and whose state was not written. Call it when the device starts.
//
// `state` has EDGESENTRY_UPDATE_STATE_SIZE bytes, both slots as stored. If `version` of `update` is not 0, write
// `slot_bytes` durably to its slot. A repetition of the same update then has no second record.
edgesentry_status edgesentry_outbox_unfinished_update(struct edgesentry_outbox *outbox,
                                                      const uint8_t *state,
                                                      size_t state_size,
                                                      struct edgesentry_update *update);

// Ends an accepted update, after its slot of the state was written durably.
edgesentry_status edgesentry_outbox_finish_update(struct edgesentry_outbox *outbox);

// Closes an outbox, after all other calls that use it. Null is allowed.
edgesentry_status edgesentry_outbox_close(struct edgesentry_outbox *outbox);

// Sends the waiting records to a service over HTTP or HTTPS, as edgesentry_outbox_flush does with a function of the program,
// and keeps the time of the service for the next clock record. Only in libraries with the feature http.
//
// The call ends after `timeout_ms` of `service`; records that the service has confirmed by then have left the outbox. It
// sends a request again if that may help, follows no redirect, and reads responses up to a limit. A `token` is sent only over
// HTTPS or to this machine. The environment variables HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY name the proxy.
//
// Returns the statuses of edgesentry_outbox_flush, and EDGESENTRY_INVALID_ARGUMENT if the URL, the token or a file of
// `service` cannot be used. `flushed` is filled in as by edgesentry_outbox_flush.
edgesentry_status edgesentry_outbox_flush_to(struct edgesentry_outbox *outbox,
                                             const struct edgesentry_service *service,
                                             struct edgesentry_flushed *flushed);

// Finds an Ed25519 key in a token by PKCS#11 and logs in. Only in libraries with the feature pkcs11, as are all functions
// of tokens.
//
// `uri` is text, such as "pkcs11:token=site-7;object=lift-01". `module` is the path of the library of the token, of size 0
// if the URI has it as module-path. `pin` is the PIN, of size 0 if the URI has a pin-source, or the environment variable
// EDS_PKCS11_PIN is set. `token` receives the key; close it with edgesentry_pkcs11_close. `signer` receives its
// public key and edgesentry_pkcs11_sign with the token as context, for edgesentry_sign_with and
// edgesentry_outbox_open_with; it may be null.
//
// Returns EDGESENTRY_SIGNER if there is no such key, or the PIN is wrong. Several threads may use a token.
edgesentry_status edgesentry_pkcs11_open(const char *uri,
                                         size_t uri_size,
                                         const char *module,
                                         size_t module_size,
                                         const char *pin,
                                         size_t pin_size,
                                         struct edgesentry_token **token,
                                         struct edgesentry_signer *signer);

// Signs a message with a key in a token: `context` is the token. `signature` has EDGESENTRY_SIGNATURE_SIZE bytes.
edgesentry_status edgesentry_pkcs11_sign(void *context,
                                         const uint8_t *message,
                                         size_t message_size,
                                         uint8_t *signature);

// Closes a token, after the outboxes and all other calls that use it. Null is allowed.
edgesentry_status edgesentry_pkcs11_close(struct edgesentry_token *token);

// Creates the update state of a new device, which accepts every version. Do not use it to replace a state that is
// damaged or missing: the device would then accept old versions.
//
// `state` has EDGESENTRY_UPDATE_STATE_SIZE bytes.
edgesentry_status edgesentry_update_state_new(const char *name,
                                              size_t name_size,
                                              uint8_t *state,
                                              size_t state_size);

// Verifies a manifest and an image, which `read` supplies piece by piece with `context`. The function `read` may also
// write the pieces to the inactive partition.
//
// After EDGESENTRY_OK, write `slot_bytes` of `update` durably to its slot of the state, at the offset
// `slot` * EDGESENTRY_UPDATE_SLOT_SIZE, and start the image only then. After EDGESENTRY_REFUSED, `refusal` has the
// reason: discard the image. `read` is not called for a manifest that is refused.
edgesentry_status edgesentry_update_verify(const struct edgesentry_update_check *check,
                                           edgesentry_read read,
                                           void *context,
                                           struct edgesentry_update *update);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* EDGESENTRY_H */
