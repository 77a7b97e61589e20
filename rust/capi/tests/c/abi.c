/* Prints sizes and offsets of the structures, for abi.txt. */
#include <edgesentry.h>

#include <stdio.h>

#define STRUCT(type) printf("struct %s: %zu bytes\n", #type, sizeof(type))
#define FIELD(type, field)                                                                                   \
    printf("  %s.%s: %zu bytes at %zu\n", #type, #field, sizeof(((type *)0)->field), offsetof(type, field))

int main(void) {
    STRUCT(edgesentry_record);
    FIELD(edgesentry_record, struct_size);
    FIELD(edgesentry_record, reserved);
    FIELD(edgesentry_record, sequence);
    FIELD(edgesentry_record, timestamp_ms);
    FIELD(edgesentry_record, device_id);
    FIELD(edgesentry_record, device_id_size);
    FIELD(edgesentry_record, object_ref);
    FIELD(edgesentry_record, object_ref_size);
    FIELD(edgesentry_record, payload_hash);
    FIELD(edgesentry_record, signature);
    FIELD(edgesentry_record, prev_record_hash);
    STRUCT(edgesentry_head);
    FIELD(edgesentry_head, sequence);
    FIELD(edgesentry_head, hash);
    STRUCT(edgesentry_key);
    FIELD(edgesentry_key, valid_from);
    FIELD(edgesentry_key, scheme);
    FIELD(edgesentry_key, reserved);
    FIELD(edgesentry_key, public_key);
    STRUCT(edgesentry_chain);
    FIELD(edgesentry_chain, struct_size);
    FIELD(edgesentry_chain, reserved);
    FIELD(edgesentry_chain, records);
    FIELD(edgesentry_chain, record_count);
    FIELD(edgesentry_chain, keys);
    FIELD(edgesentry_chain, key_count);
    FIELD(edgesentry_chain, start);
    FIELD(edgesentry_chain, head);
    STRUCT(edgesentry_finding);
    FIELD(edgesentry_finding, code);
    FIELD(edgesentry_finding, reserved);
    FIELD(edgesentry_finding, index);
    FIELD(edgesentry_finding, sequence);
    STRUCT(edgesentry_request);
    FIELD(edgesentry_request, struct_size);
    FIELD(edgesentry_request, http_status);
    FIELD(edgesentry_request, body);
    FIELD(edgesentry_request, body_size);
    FIELD(edgesentry_request, response);
    FIELD(edgesentry_request, response_capacity);
    FIELD(edgesentry_request, response_size);
    STRUCT(edgesentry_service);
    FIELD(edgesentry_service, struct_size);
    FIELD(edgesentry_service, timeout_ms);
    FIELD(edgesentry_service, url);
    FIELD(edgesentry_service, url_size);
    FIELD(edgesentry_service, token);
    FIELD(edgesentry_service, token_size);
    FIELD(edgesentry_service, ca);
    FIELD(edgesentry_service, ca_size);
    FIELD(edgesentry_service, certificate);
    FIELD(edgesentry_service, certificate_size);
    FIELD(edgesentry_service, certificate_key);
    FIELD(edgesentry_service, certificate_key_size);
    STRUCT(edgesentry_flushed);
    FIELD(edgesentry_flushed, accepted);
    FIELD(edgesentry_flushed, duplicates);
    FIELD(edgesentry_flushed, waiting);
    FIELD(edgesentry_flushed, rejected_sequence);
    STRUCT(edgesentry_signer);
    FIELD(edgesentry_signer, struct_size);
    FIELD(edgesentry_signer, reserved);
    FIELD(edgesentry_signer, public_key);
    FIELD(edgesentry_signer, sign);
    FIELD(edgesentry_signer, context);
    STRUCT(edgesentry_update_check);
    FIELD(edgesentry_update_check, struct_size);
    FIELD(edgesentry_update_check, threshold);
    FIELD(edgesentry_update_check, name);
    FIELD(edgesentry_update_check, name_size);
    FIELD(edgesentry_update_check, keys);
    FIELD(edgesentry_update_check, keys_size);
    FIELD(edgesentry_update_check, manifest);
    FIELD(edgesentry_update_check, manifest_size);
    FIELD(edgesentry_update_check, state);
    FIELD(edgesentry_update_check, state_size);
    FIELD(edgesentry_update_check, now_ms);
    FIELD(edgesentry_update_check, buffer);
    FIELD(edgesentry_update_check, buffer_size);
    STRUCT(edgesentry_update);
    FIELD(edgesentry_update, struct_size);
    FIELD(edgesentry_update, refusal);
    FIELD(edgesentry_update, version);
    FIELD(edgesentry_update, minimum_version);
    FIELD(edgesentry_update, image_size);
    FIELD(edgesentry_update, image_hash);
    FIELD(edgesentry_update, slot);
    FIELD(edgesentry_update, reserved);
    FIELD(edgesentry_update, slot_bytes);
    return 0;
}
