//! Reads and writes whole inputs in memory.

use std::io::{Cursor, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use edgesentry_chain::AuditRecord;
use edgesentry_formats::{Compression, Error, Format, Malformed, RecordWriter, Source, records};

pub type Entries = Vec<Result<AuditRecord, Malformed>>;

/// Returns the entries of an input whose format is recognized by its content, read in pieces of at most `piece` bytes.
pub fn read(bytes: &[u8], piece: usize) -> Result<Entries, Error> {
    let reader = Pieces { bytes: Cursor::new(bytes.to_vec()), piece };
    records(Source::Reader { name: "input".into(), reader: Box::new(reader) })?.collect()
}

/// Writes the records in a format and checks that the same records are read back.
pub fn read_back(records: &[AuditRecord], format: Format) {
    let bytes = written(records, format, Compression::None);
    let back = read(&bytes, usize::MAX).expect("what was written can be read");
    let back: Result<Vec<AuditRecord>, Malformed> = back.into_iter().collect();
    assert_eq!(back.as_deref(), Ok(records), "{format}");
}

/// Returns the records as a file of this format.
pub fn written(records: &[AuditRecord], format: Format, compression: Compression) -> Vec<u8> {
    let memory = Memory::default();
    let mut writer =
        RecordWriter::to_writer("memory".into(), Box::new(memory.clone()), format, compression).expect("a writer");
    writer.write(records).expect("records can be written");
    writer.finish().expect("a file can be finished");
    std::mem::take(&mut memory.0.lock().unwrap_or_else(PoisonError::into_inner))
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A reader that returns fewer bytes than requested.
struct Pieces {
    bytes: Cursor<Vec<u8>>,
    piece: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(self.piece);
        self.bytes.read(&mut buffer[..length])
    }
}
