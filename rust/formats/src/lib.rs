//! Reads and writes audit records: JSON, NDJSON, Arrow IPC and Parquet, streamed in limited memory. A single driver
//! verifies all readable sources.

// Without `columnar` there are no Arrow sources, so the code that opens one is unreachable.
#![cfg_attr(not(feature = "columnar"), allow(unreachable_code))]

#[cfg(feature = "columnar")]
mod arrow;
#[cfg(not(feature = "columnar"))]
#[path = "arrow/absent.rs"]
mod arrow;
mod bounded;
mod bundle;
mod bytes;
mod columns;
mod compressed;
mod destination;
mod devices;
mod error;
mod files;
mod follow;
mod format;
#[doc(hidden)]
pub mod fuzzing;
mod heads;
mod json;
mod keys;
mod kind;
mod log_files;
mod new_file;
mod object_path;
pub mod packs;
mod part;
mod payloads;
mod progress;
mod public_key;
mod read;
mod recognise;
mod report;
mod seed;
mod snapshot;
#[cfg(feature = "timestamps")]
mod stamps;
#[cfg(not(feature = "timestamps"))]
#[path = "stamps/absent.rs"]
mod stamps;
mod statistics;
pub mod text;
mod threads;
pub mod times;
mod update;
mod verify;
mod window;
mod write;

#[cfg(feature = "columnar")]
pub use arrow::{
    int64_batch, int64_schema, record_batch, records_from_batch, records_to_batch, schema, select_columns,
};
pub use bounded::{MAX_FILE_BYTES, read_file, read_start};
pub use bundle::{BundleInputs, BundleWriter, verify_bundle};
pub use bytes::bytes_from_text;
pub use columns::{ColumnNames, ColumnNamesError};
pub use destination::{Destination, DestinationError, Destinations, ReportKind, Writing};
pub use devices::devices_of;
pub use edgesentry_log::{LogCheck, MaxAge};
pub use error::{Error, describe};
pub use files::{
    MAX_FILES, Pattern, TableKind, Tables, files_of, has_pattern, is_hidden, path_of_url, table_of,
};
pub use follow::{Followed, Refused, follow_keys};
pub use format::{Compression, Format, by_name};
pub use heads::{HeadsError, read_heads, write_heads};
pub use json::record_from_json;
pub use keys::{KeysError, read_key_ring, write_key_ring};
pub use log_files::{
    LogBytes, LogFileError, LogFileProblem, LogFiles, LogPaths, hint_erasures, layout_path, read_tsa_roots,
};
pub use new_file::{NewFile, Readers, create_file, remove_unfinished, replace_file, sync_folder};
pub use object_path::{DEVICES, content_path, device_name};
pub use part::{
    Contested, ContestedRange, Ends, Part, PartError, PartRow, PartVerifier, Places, RowDecoder, RowError,
    decode_rows, encode_row, verify_contested, verify_part,
};
pub use payloads::{PayloadFolder, SampledPayloads};
pub use progress::Progress;
pub use public_key::{public_key, public_key_from_bytes};
pub use read::{BoxError, Chunk, Decoded, Malformed, ReadSeek, Source, missing_url, records};
pub use recognise::other_file;
pub use report::{ReportError, read_report};
pub use seed::{Seed, SeedError, create_seed_file, read_seed_file, read_seed_file_of_group};
pub use snapshot::{Snapshot, SnapshotError};
pub use stamps::{CertificatesError, MAX_CERTIFICATES_BYTES, StampCheck, TrustedRoots};
pub use statistics::{Statistics, device_statistics};
pub use threads::{limit_shared_threads, thread_count};
pub use update::{TrustFileError, UpdateStateError, UpdateStateFile, read_update_trust};
pub use verify::{Options, verify, verify_with_log};
pub use write::{CompleteOutput, RecordWriter, record_to_json};
