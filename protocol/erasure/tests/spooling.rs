//! Streams are kept in memory within a bound, then in a file that the caller opens, and encode as what they are.

#![allow(clippy::unwrap_used, clippy::panic)]

mod twin;

use std::fs::File;
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use floe_erasure::{Options, ReadAt, Spool, SpoolBounds, SpoolError, encode, identify};

fn bounds(memory_bytes_max: usize, length_max: u64) -> SpoolBounds {
    SpoolBounds { memory_bytes_max, length_max }
}

fn file() -> io::Result<File> {
    tempfile::tempfile()
}

fn no_file() -> io::Result<File> {
    Err(io::ErrorKind::PermissionDenied.into())
}

#[test]
fn streams_encode_from_memory_and_from_a_file_alike() {
    for length in [0, 1, 1000, 300_001] {
        let bytes = twin::bytes(length);
        let expected = identify(&bytes, length as u64, 10, &Options::default()).unwrap();
        for memory in [0, 999, 1000, 1 << 20] {
            let mut spool = Spool::new(bounds(memory, length as u64), file);
            let seen = Mutex::new(Vec::new());
            let progress = |done| seen.lock().unwrap().push(done);
            let options = Options { progress: Some(&progress), ..Options::default() };
            spool.fill(&mut bytes.as_slice(), &options).unwrap();
            assert_eq!((spool.len(), spool.is_empty()), (length as u64, length == 0));
            assert_eq!(seen.lock().unwrap().last().copied().unwrap_or(0), length as u64);
            let spooled = spool.finish();
            assert_eq!(spooled.is_in_memory(), length <= memory);
            let layout = floe_erasure::Layout::new(10, spooled.len()).unwrap();
            let sink = floe_erasure::MemorySink::new(layout.encoded_bytes() as usize);
            let encoded = encode(&spooled, spooled.len(), 10, &sink, &Options::default()).unwrap();
            assert_eq!(encoded.blob_id(), expected);
            assert!(spooled.read_exact_at(&mut [0; 2], length as u64 - u64::from(length > 0)).is_err());
            assert!(spooled.borrow_at(0, length + 1).is_none());
        }
    }
}

#[test]
fn too_long_a_stream_is_refused_where_it_becomes_so() {
    let mut spool = Spool::new(bounds(100, 10), file);
    spool.write(&[1; 10]).unwrap();
    assert!(matches!(spool.write(&[1]), Err(SpoolError::TooLong { length_max: 10 })));
    assert_eq!(spool.len(), 10);
    let mut spool = Spool::new(bounds(0, 1 << 20), file);
    let endless = spool.fill(&mut io::repeat(7), &Options::default());
    assert!(matches!(endless, Err(SpoolError::TooLong { .. })));
    assert_eq!(spool.len(), 1 << 20);
}

#[test]
fn failing_streams_and_files_are_errors() {
    let mut spool = Spool::new(bounds(5, 100), no_file);
    spool.write(&[1; 5]).unwrap();
    assert!(matches!(spool.write(&[1]), Err(SpoolError::Write { offset: 5, .. })));
    assert!(matches!(spool.write(&[1]), Err(SpoolError::Write { offset: 5, .. })));

    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let mut spool = Spool::new(bounds(5, 100), no_file);
    let broken = spool.fill(&mut [1_u8, 2].chain(Broken), &Options::default());
    assert!(matches!(broken, Err(SpoolError::Read { offset: 2, .. })));
    let cancel = AtomicBool::new(true);
    let options = Options { cancel: Some(&cancel), ..Options::default() };
    assert!(matches!(spool.fill(&mut io::repeat(7), &options), Err(SpoolError::Cancelled)));
}
