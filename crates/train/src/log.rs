//! The growing files of a run folder: metrics as CSV and JSON lines, episodes as CSV, TensorBoard events.
//!
//! A row is formatted into memory and written in large blocks. On resuming, every log is cut back to the checkpoint.

mod episodes;
mod metrics;
mod number;
mod tensorboard;

pub(crate) use episodes::EpisodeRows;
pub(crate) use metrics::{MetricsRow, MetricsRows};
pub(crate) use tensorboard::{TensorBoard, now};

use crate::FormatError;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Bytes after which a log writes what it has gathered.
const BLOCK: usize = 1 << 16;

/// A file that only grows, with its buffer. Dropping it writes nothing: what matters is flushed where errors can be reported.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
}

impl LogFile {
    /// An empty file at `path`, whatever was there.
    pub(crate) fn create(path: &Path) -> Result<Self, FormatError> {
        let file = File::create(path).map_err(|e| FormatError::io(path, "can't be created", &e))?;
        Ok(LogFile { path: path.to_owned(), file, buffer: Vec::with_capacity(BLOCK + 4096) })
    }

    /// The file at `path`, cut to its first `length` bytes.
    pub(crate) fn cut(path: &Path, length: u64) -> Result<Self, FormatError> {
        let failed = |e| FormatError::io(path, "can't be cut back to the checkpoint", &e);
        let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        file.set_len(length).map_err(failed)?;
        file.seek(SeekFrom::Start(length)).map_err(failed)?;
        Ok(LogFile { path: path.to_owned(), file, buffer: Vec::with_capacity(BLOCK + 4096) })
    }

    /// Where a new row goes; end it with [`row_done`](Self::row_done).
    #[inline]
    pub(crate) fn row(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes the buffer if it is full.
    #[inline]
    pub(crate) fn row_done(&mut self) -> Result<(), FormatError> {
        if self.buffer.len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    /// Hands everything to the operating system.
    pub(crate) fn flush(&mut self) -> Result<(), FormatError> {
        let result = self.file.write_all(&self.buffer);
        self.buffer.clear();
        result.map_err(|e| FormatError::io(&self.path, "can't be written", &e))
    }

    /// Hands everything to the disk.
    pub(crate) fn sync(&mut self) -> Result<(), FormatError> {
        self.flush()?;
        self.file.sync_data().map_err(|e| FormatError::io(&self.path, "can't be written", &e))
    }
}

/// Reads the whole lines of a text log one by one and counts their bytes.
pub(crate) struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: Vec<u8>,
    number: usize,
    offset: u64,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self, FormatError> {
        let file = File::open(path).map_err(|e| FormatError::io(path, "can't be read", &e))?;
        let reader = BufReader::with_capacity(BLOCK, file);
        Ok(Lines { path: path.to_owned(), reader, line: Vec::new(), number: 0, offset: 0 })
    }

    /// The next line without its end, or `None` after the last one. A last line without an end is half a row that a killed
    /// process left behind: it is not returned.
    pub(crate) fn next(&mut self) -> Result<Option<&str>, FormatError> {
        self.offset += self.line.len() as u64;
        self.line.clear();
        let read = self.reader.read_until(b'\n', &mut self.line);
        read.map_err(|e| FormatError::io(&self.path, "can't be read", &e))?;
        if self.line.last() != Some(&b'\n') {
            self.line.clear();
            return Ok(None);
        }
        self.number += 1;
        match std::str::from_utf8(&self.line) {
            Ok(line) => Ok(Some(line.trim_end_matches(['\n', '\r']))),
            Err(_) => Err(self.error("is not UTF-8 text")),
        }
    }

    /// Where the line that [`next`](Self::next) returned last begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// An error in the line that [`next`](Self::next) returned last.
    pub(crate) fn error(&self, problem: impl std::fmt::Display) -> FormatError {
        FormatError::at(&self.path, format_args!("line {}", self.number), problem)
    }
}
