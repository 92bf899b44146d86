//! Writing and reading tars in memory.

use std::io::Read as _;

use stagewright_layer::{
    EntryKind, FileData, LayerIndex, LayerWriter, ReadLayer, Record, WrittenLayer, read_index,
};

/// Returns the content of a record of a tar.
pub(crate) fn content(tar: &[u8], record: &Record) -> Vec<u8> {
    let EntryKind::File { bytes, .. } = record.entry.kind else {
        panic!("not a file")
    };
    let bytes = usize::try_from(bytes).unwrap();
    match record.data.as_ref().unwrap() {
        FileData::Whole { offset } => tar[usize::try_from(*offset).unwrap()..][..bytes].to_vec(),
        FileData::Sparse { extents } => {
            let mut content = vec![0; bytes];
            for extent in extents {
                let [to, from, length] = [extent.file_offset, extent.tar_offset, extent.bytes]
                    .map(|number| usize::try_from(number).unwrap());
                content[to..to + length].copy_from_slice(&tar[from..from + length]);
            }
            content
        }
    }
}

/// Writes the entries of a tar again.
pub(crate) fn rewrite(tar: &[u8], index: &LayerIndex) -> WrittenLayer<Vec<u8>> {
    let mut writer = LayerWriter::new(Vec::new());
    for record in index.records() {
        let entry = &record.entry;
        if let EntryKind::File { bytes, .. } = entry.kind {
            let content = content(tar, record);
            writer
                .append_file(&entry.path, &entry.metadata, bytes, &mut content.as_slice())
                .unwrap();
        } else {
            writer.append(entry).unwrap();
        }
    }
    writer.finish().unwrap()
}

/// Reads a tar in pieces of one size, as a slow network would deliver it.
pub(crate) fn read_slowly(tar: &[u8], piece: usize) -> ReadLayer {
    struct Slow<'a>(&'a [u8], usize);
    impl std::io::Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = buffer.len().min(self.1);
            self.0.read(&mut buffer[..count])
        }
    }
    let mut all = Vec::new();
    Slow(tar, piece).read_to_end(&mut all).unwrap();
    read_index(Slow(tar, piece)).unwrap()
}

/// Cuts times to whole seconds, as writing a tar does.
pub(crate) fn whole_seconds(index: LayerIndex) -> Vec<Record> {
    let mut records = index.into_records();
    for record in &mut records {
        record.entry.metadata.mtime.nanos = 0;
    }
    records
}
