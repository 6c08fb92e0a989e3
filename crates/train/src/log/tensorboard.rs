use super::LogFile;
use crate::{FormatError, Metric, Update};
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// A TensorBoard event file with one scalar per metric and iteration.
///
/// The file is a sequence of records: the length of the data (8 bytes), its masked CRC-32C, the data, and the data's masked
/// CRC-32C, all little-endian. The data are an `Event` in protocol-buffer encoding: wall time (field 1, double), step (field
/// 2, varint) and either the version of the file (field 3, string) or a `Summary` (field 5) of `Value`s (field 1), each with
/// a tag (field 1, string) and a number (field 2, float).
#[derive(Debug)]
pub(crate) struct TensorBoard {
    file: LogFile,
    /// For each scalar the bytes of its `Value` up to the number.
    values: Vec<Vec<u8>>,
    summary: Vec<u8>,
    event: Vec<u8>,
}

const VERSION: &[u8] = b"brain.Event:2";

impl TensorBoard {
    pub(crate) fn create(path: &Path, metrics: &[Metric]) -> Result<Self, FormatError> {
        let mut board = TensorBoard::on(LogFile::create(path)?, metrics);
        board.event.push(0x09);
        board.event.extend_from_slice(&now().to_le_bytes());
        board.event.push(0x1a);
        push_bytes(&mut board.event, VERSION);
        push_record(board.file.row(), &board.event);
        board.file.flush()?;
        Ok(board)
    }

    /// Opens the file cut back to the last event at or before `steps`. What follows a damaged record is cut, too; a file
    /// that is not there starts anew.
    pub(crate) fn resume(path: &Path, metrics: &[Metric], steps: u64) -> Result<Self, FormatError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return TensorBoard::create(path, metrics),
            Err(e) => return Err(FormatError::io(path, "can't be read", &e)),
        };
        let mut length = 0;
        while let Some(event) = record(&bytes[length..]) {
            if step(event).is_none_or(|s| s > steps) {
                break;
            }
            length += event.len() + 16;
        }
        if length == 0 {
            return Err(FormatError::at(path, "byte 0", "is not a TensorBoard event file"));
        }
        Ok(TensorBoard::on(LogFile::cut(path, length as u64)?, metrics))
    }

    fn on(file: LogFile, metrics: &[Metric]) -> Self {
        let tags = ["episode/return_mean".to_owned(), "episode/length_mean".to_owned()]
            .into_iter()
            .chain(metrics.iter().map(|m| format!("learner/{}", m.name)))
            .chain(["time/steps_per_second".to_owned()]);
        let values = tags
            .map(|tag| {
                let mut value = vec![0x0a];
                // The tag with its field and its length, and the number with its field.
                push_varint(&mut value, (1 + varint_len(tag.len() as u64) + tag.len() + 1 + 4) as u64);
                value.push(0x0a);
                push_bytes(&mut value, tag.as_bytes());
                value.push(0x15);
                value
            })
            .collect();
        TensorBoard { file, values, summary: Vec::new(), event: Vec::new() }
    }

    pub(crate) fn write(&mut self, update: &Update<'_>, unix_seconds: f64) -> Result<(), FormatError> {
        let TensorBoard { file, values, summary, event } = self;
        summary.clear();
        let numbers = [update.return_mean, update.length_mean]
            .into_iter()
            .chain(update.values.iter().map(|&x| Some(x)))
            .chain([Some(update.steps_per_second)]);
        for (value, number) in values.iter().zip(numbers) {
            if let Some(number) = number {
                summary.extend_from_slice(value);
                summary.extend_from_slice(&(number as f32).to_le_bytes());
            }
        }
        event.clear();
        event.push(0x09);
        event.extend_from_slice(&unix_seconds.to_le_bytes());
        event.push(0x10);
        push_varint(event, update.steps);
        event.push(0x2a);
        push_bytes(event, summary);
        push_record(file.row(), event);
        file.row_done()
    }

    pub(crate) fn flush(&mut self) -> Result<(), FormatError> {
        self.file.flush()
    }

    pub(crate) fn sync(&mut self) -> Result<(), FormatError> {
        self.file.sync()
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

fn push_varint(out: &mut Vec<u8>, mut x: u64) {
    while x >= 0x80 {
        out.push(x as u8 | 0x80);
        x >>= 7;
    }
    out.push(x as u8);
}

fn varint_len(x: u64) -> usize {
    (64 - (x | 1).leading_zeros() as usize).div_ceil(7)
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn push_record(out: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&masked_crc(&length).to_le_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(&masked_crc(data).to_le_bytes());
}

/// The data of the first record of `bytes`, if it is whole and its sums are right.
fn record(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*sum) != masked_crc(length) {
        return None;
    }
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let data = rest.get(..length)?;
    let sum = rest[length..].first_chunk::<4>()?;
    (u32::from_le_bytes(*sum) == masked_crc(data)).then_some(data)
}

/// The step of an event that this module wrote.
fn step(event: &[u8]) -> Option<u64> {
    match event.get(9)? {
        0x1a => Some(0),
        0x10 => {
            let mut step = 0;
            for (i, &byte) in event[10..].iter().enumerate().take(10) {
                step |= u64::from(byte & 0x7f) << (7 * i);
                if byte & 0x80 == 0 {
                    return Some(step);
                }
            }
            None
        }
        _ => None,
    }
}

/// The mask keeps the sum of data that contain sums from being trivial.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C: the Castagnoli polynomial, reflected, eight bytes at a time.
fn crc32c(data: &[u8]) -> u32 {
    let mut crc = !0u32;
    let mut chunks = data.chunks_exact(8);
    for chunk in &mut chunks {
        let low = crc ^ u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        crc = TABLES[7][(low & 0xff) as usize]
            ^ TABLES[6][(low >> 8 & 0xff) as usize]
            ^ TABLES[5][(low >> 16 & 0xff) as usize]
            ^ TABLES[4][(low >> 24) as usize]
            ^ TABLES[3][chunk[4] as usize]
            ^ TABLES[2][chunk[5] as usize]
            ^ TABLES[1][chunk[6] as usize]
            ^ TABLES[0][chunk[7] as usize];
    }
    for &byte in chunks.remainder() {
        crc = TABLES[0][((crc ^ u32::from(byte)) & 0xff) as usize] ^ (crc >> 8);
    }
    !crc
}

/// `TABLES[k][b]`: what byte `b` contributes when `k` more bytes follow it.
static TABLES: [[u32; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0x82f6_3b78 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[k - 1][byte];
            tables[k][byte] = tables[0][(before & 0xff) as usize] ^ (before >> 8);
            byte += 1;
        }
        k += 1;
    }
    tables
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_castagnolis() {
        // The check value of the catalogue of CRCs, and those of RFC 3720, appendix B.4.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&rising), 0x46dd_794e);
    }

    #[test]
    fn varints_have_the_length_that_is_promised() {
        for x in [0, 1, 127, 128, 16383, 16384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            push_varint(&mut out, x);
            assert_eq!(out.len(), varint_len(x), "{x}");
        }
    }

    /// What TensorBoard's own record writer writes for the same event.
    const GOLDEN: &str = "620000000000000079fd606f09000000000000f83f10ac022a540a1a0a13657069736f64652f72657475726e5f6d65\
         616e15000048410a180a116c6561726e65722f617070726f785f6b6c150000803e0a1c0a1574696d652f73746570735f7065725f73656\
         36f6e641500007a4441214d7a";

    #[test]
    fn an_event_has_the_bytes_of_tensorboards_own_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let metrics: &'static [Metric] = &[Metric { name: "approx_kl", meaning: "" }];
        let mut board = TensorBoard::create(&path, metrics).unwrap();
        let start = fs::read(&path).unwrap();
        let data = record(&start).unwrap();
        assert_eq!(data.len() + 16, start.len());
        assert_eq!(&data[11..], VERSION);
        let update = Update {
            update: 3,
            steps: 300,
            total_steps: 600,
            episodes: 1,
            return_mean: Some(12.5),
            length_mean: None,
            metrics,
            values: &[0.25],
            wall_seconds: 0.3,
            steps_per_second: 1000.0,
        };
        board.write(&update, 1.5).unwrap();
        board.flush().unwrap();
        let written = fs::read(&path).unwrap();
        let hex: String = written[start.len()..].iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, GOLDEN);

        // Cut back: at the event, before it, and at the first damaged byte.
        let length = || fs::metadata(&path).unwrap().len() as usize;
        TensorBoard::resume(&path, metrics, 300).unwrap();
        assert_eq!(length(), written.len());
        TensorBoard::resume(&path, metrics, 299).unwrap();
        assert_eq!(length(), start.len());
        for byte in start.len()..written.len() {
            let mut damaged = written.clone();
            damaged[byte] ^= 0x10;
            fs::write(&path, damaged).unwrap();
            TensorBoard::resume(&path, metrics, 300).unwrap();
            assert_eq!(length(), start.len(), "byte {byte}");
        }
    }
}
