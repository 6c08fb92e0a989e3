//! Compressed sparse rows as the arrays of an `.npz` file, which NumPy's `savez` and `savez_compressed` write.

use super::arrays::{check_offsets, place};
use super::{AnyMdp, Mdp, MdpArrays, MdpError, MdpFileError};
use rederive_math::Real;
use std::io::{self, Read, Seek, SeekFrom, Write};
use zip::result::ZipError;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// The arrays that a file may have.
const ARRAYS: [&str; 7] =
    ["first_pair", "num_actions", "first_entry", "prob", "next", "reward", "terminated"];

impl AnyMdp {
    /// Reads the arrays of an `.npz` file, stored or compressed:
    ///
    /// | array | shape | type | |
    /// |---|---|---|---|
    /// | `first_pair` | `[S + 1]` | integer | where the pairs (state, action) of each state begin |
    /// | `num_actions` | one number | integer | in place of `first_pair`, if all states have that many actions |
    /// | `first_entry` | `[pairs + 1]` | integer | where the entries (possible next states) of each pair begin |
    /// | `prob` | `[entries]` | `float32` or `float64` | the probability of each entry, kept in this precision |
    /// | `next` | `[entries]` | integer | the next state of each entry |
    /// | `reward` | `[pairs]` or `[entries]` | `float32` or `float64` | the reward of each pair, or of each entry |
    /// | `terminated` | `[entries]` | `bool` or integer | whether the entry ends the episode; may be absent, then none does |
    ///
    /// With a SciPy matrix `T` of `S * A` rows and `S` columns and an array `R` of shape `[S, A]`:
    ///
    /// ```python
    /// numpy.savez("mdp.npz", num_actions=A, first_entry=T.indptr, next=T.indices, prob=T.data, reward=R.ravel())
    /// ```
    ///
    /// # Errors
    /// A file that is no such archive, is cut short or damaged; an array that is missing, unknown, or of another type or shape;
    /// and whatever [`Mdp::from_arrays`] refuses. The message names the array, or the state and the action.
    pub fn from_npz(mut reader: impl Read + Seek) -> Result<Self, MdpFileError> {
        let unreadable = |error: io::Error| MdpFileError::io("can't be read", &error);
        let size = reader.seek(SeekFrom::End(0)).map_err(unreadable)?;
        reader.rewind().map_err(unreadable)?;
        let archive = ZipArchive::new(reader).map_err(|error| match error {
            ZipError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => unreadable(error),
            other => MdpFileError::new(format_args!("is no .npz file, or is cut short ({other})")),
        })?;
        let mut file = Arrays { archive, size };
        file.refuse_unknown()?;

        let first_pair = match (file.has("first_pair"), file.has("num_actions")) {
            (true, false) => Some(file.offsets("first_pair")?),
            (false, true) => None,
            (true, true) => {
                return Err(MdpFileError::new(
                    "has both first_pair and num_actions, of which only one may be",
                ));
            }
            (false, false) => return Err(missing("first_pair (or num_actions)")),
        };
        let first_entry = file.offsets("first_entry")?;
        let first_pair = match first_pair {
            Some(first_pair) => first_pair,
            None => equal_states(file.num_actions()?, first_entry.len())?,
        };
        check_offsets(&first_pair, &first_entry).map_err(in_array)?;

        let locate = |entry| place(&first_pair, &first_entry, entry);
        let num_states = first_pair.len() - 1;
        let entries = first_entry[first_entry.len() - 1] as usize;
        let next = file.integers("next", Some(entries), |entry, value| {
            u32::try_from(value).ok().filter(|&next| (next as usize) < num_states).ok_or_else(|| {
                let (state, action) = locate(entry);
                MdpError::Next { state, action, next: value, num_states }.to_string()
            })
        })?;
        let reward = match file.floats("reward")? {
            Floats::Double(reward) => reward,
            Floats::Single(reward) => reward.into_iter().map(f64::from).collect(),
        };
        let terminated = match file.has("terminated") {
            false => None,
            true => Some(file.integers("terminated", Some(entries), |entry, value| match value {
                0 | 1 => Ok(value == 1),
                _ => {
                    let (state, action) = locate(entry);
                    Err(format!("state {state}, action {action}: is {value}, must be 0 or 1"))
                }
            })?),
        };
        Ok(match file.floats("prob")? {
            Floats::Single(prob) => AnyMdp::F32(
                Mdp::from_arrays(MdpArrays { first_pair, first_entry, prob, next, reward, terminated })
                    .map_err(in_array)?,
            ),
            Floats::Double(prob) => AnyMdp::F64(
                Mdp::from_arrays(MdpArrays { first_pair, first_entry, prob, next, reward, terminated })
                    .map_err(in_array)?,
            ),
        })
    }

    /// Writes the arrays that [`from_npz`](Self::from_npz) reads.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn to_npz(&self, out: impl Write) -> io::Result<()> {
        match self {
            AnyMdp::F32(mdp) => mdp.to_npz(out),
            AnyMdp::F64(mdp) => mdp.to_npz(out),
        }
    }
}

impl<P: Real> Mdp<P> {
    /// Writes the arrays that [`AnyMdp::from_npz`] reads, without compression. What ends the episode becomes one entry of its
    /// pair that leads to the state that it comes from.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn to_npz(&self, out: impl Write) -> io::Result<()> {
        let mut zip = ZipWriter::new_stream(out);
        let pairs = self.num_pairs();
        let end = |pair: usize| self.end_prob(pair);
        array(
            &mut zip,
            "first_pair",
            "<u4",
            self.first_pair.len(),
            self.first_pair.iter().copied(),
            u32::to_le_bytes,
        )?;
        let mut first = 0;
        let mut last = 0;
        for pair in 0..pairs {
            last += self.entries(pair).len() + usize::from(end(pair) > 0.0);
        }
        let offsets = std::iter::once(0).chain((0..pairs).map(|pair| {
            first += (self.entries(pair).len() + usize::from(end(pair) > 0.0)) as u32;
            first
        }));
        array(&mut zip, "first_entry", "<u4", pairs + 1, offsets, u32::to_le_bytes)?;
        let states = (0..self.num_states()).flat_map(|s| self.pairs(s).map(move |pair| (s, pair)));
        let prob = (0..pairs).flat_map(|pair| {
            let own = self.prob[self.entries(pair)].iter().copied();
            own.chain((end(pair) > 0.0).then(|| P::of(end(pair))))
        });
        if size_of::<P>() == 4 {
            array(&mut zip, "prob", "<f4", last, prob.map(|p| Real::to_f64(p) as f32), f32::to_le_bytes)?;
        } else {
            array(&mut zip, "prob", "<f8", last, prob.map(|p| Real::to_f64(p)), f64::to_le_bytes)?;
        }
        let next = states.flat_map(|(s, pair)| {
            let own = self.next[self.entries(pair)].iter().copied();
            own.chain((end(pair) > 0.0).then_some(s as u32))
        });
        array(&mut zip, "next", "<u4", last, next, u32::to_le_bytes)?;
        array(&mut zip, "reward", "<f8", pairs, self.reward.iter().copied(), f64::to_le_bytes)?;
        if self.ends {
            let ended = (0..pairs).flat_map(|pair| {
                std::iter::repeat_n(0u8, self.entries(pair).len()).chain((end(pair) > 0.0).then_some(1))
            });
            array(&mut zip, "terminated", "|b1", last, ended, u8::to_le_bytes)?;
        }
        zip.finish()?.flush()
    }
}

/// Writes one array of one dimension.
fn array<T, const N: usize>(
    zip: &mut ZipWriter<StreamWriter<impl Write>>,
    name: &str,
    descr: &str,
    length: usize,
    elements: impl Iterator<Item = T>,
    bytes: impl Fn(T) -> [u8; N],
) -> io::Result<()> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
    zip.start_file(format!("{name}.npy"), options)?;
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({length},), }}");
    // The data begin at a multiple of 64 bytes, after a line break.
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    zip.write_all(b"\x93NUMPY\x01\x00")?;
    zip.write_all(&(header.len() as u16).to_le_bytes())?;
    zip.write_all(header.as_bytes())?;
    let mut chunk = Vec::with_capacity(CHUNK);
    for element in elements {
        chunk.extend_from_slice(&bytes(element));
        if chunk.len() >= CHUNK {
            zip.write_all(&chunk)?;
            chunk.clear();
        }
    }
    zip.write_all(&chunk)
}

/// How many bytes are read or written at a time; a multiple of every element's size.
const CHUNK: usize = 1 << 16;

fn missing(array: &str) -> MdpFileError {
    MdpFileError::new(format_args!("has no array {array}"))
}

fn in_array(error: MdpError) -> MdpFileError {
    match error {
        MdpError::Length { array, .. } | MdpError::Offset { array, .. } => {
            MdpFileError::at(format_args!("array {array}"), error)
        }
        other => MdpFileError::new(other),
    }
}

/// The offsets of states that all have `num_actions` actions.
fn equal_states(num_actions: u32, first_entries: usize) -> Result<Vec<u32>, MdpFileError> {
    let pairs = first_entries.saturating_sub(1);
    if !pairs.is_multiple_of(num_actions as usize) {
        return Err(MdpFileError::at(
            "array first_entry",
            format_args!(
                "its length is {first_entries}, must be 1 more than a multiple of num_actions = {num_actions}"
            ),
        ));
    }
    Ok((0..=pairs / num_actions as usize).map(|s| s as u32 * num_actions).collect())
}

/// The arrays of a file.
struct Arrays<R> {
    archive: ZipArchive<R>,
    /// How many bytes the whole file has.
    size: u64,
}

/// Floating-point numbers in the precision in which they are stored.
enum Floats {
    Single(Vec<f32>),
    Double(Vec<f64>),
}

impl<R: Read + Seek> Arrays<R> {
    fn refuse_unknown(&self) -> Result<(), MdpFileError> {
        for name in self.archive.file_names() {
            let name = name.map_err(|e| MdpFileError::new(format_args!("is no .npz file ({e})")))?;
            let array = name.strip_suffix(".npy").unwrap_or(&name);
            if !ARRAYS.contains(&array) {
                return Err(MdpFileError::new(format_args!(
                    "has an array {array:?}, which is none of {}",
                    ARRAYS.join(", ")
                )));
            }
        }
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.archive.index_for_name(&format!("{name}.npy")).is_some()
    }

    fn open(&mut self, name: &'static str) -> Result<Npy<impl Read>, MdpFileError> {
        let size = self.size;
        let file = self.archive.by_name(&format!("{name}.npy")).map_err(|error| match error {
            ZipError::FileNotFound => missing(name),
            other => MdpFileError::at(format_args!("array {name}"), format_args!("can't be read: {other}")),
        })?;
        // Deflate makes data at most 1032 times smaller; a header may say what it likes.
        let most = file.compressed_size().min(size).saturating_mul(1040);
        Npy::new(name, file, most)
    }

    fn offsets(&mut self, name: &'static str) -> Result<Vec<u32>, MdpFileError> {
        self.integers(name, None, |index, value| {
            u32::try_from(value).map_err(|_| format!("element {index} is {value}, must be in 0..=4294967295"))
        })
    }

    /// The array `name`, of `length` elements if that is known, each through `convert`, which is given its index and value.
    fn integers<T>(
        &mut self,
        name: &'static str,
        length: Option<usize>,
        convert: impl Fn(usize, i64) -> Result<T, String>,
    ) -> Result<Vec<T>, MdpFileError> {
        let mut npy = self.open(name)?;
        let count = npy.length()?;
        if let Some(expected) = length
            && count != expected
        {
            return Err(in_array(MdpError::Length { array: name, length: count, expected: vec![expected] }));
        }
        npy.integers(count, convert)
    }

    fn num_actions(&mut self) -> Result<u32, MdpFileError> {
        let mut npy = self.open("num_actions")?;
        if npy.shape.iter().any(|&n| n != 1) {
            return Err(npy.error(format_args!("has the shape {}, must be one number", tuple(&npy.shape))));
        }
        let values = npy.integers(1, |_, value| {
            let allowed = u32::try_from(value).ok().filter(|&n| n > 0);
            allowed.ok_or_else(|| format!("is {value}, must be in 1..=4294967295"))
        })?;
        Ok(values[0])
    }

    fn floats(&mut self, name: &'static str) -> Result<Floats, MdpFileError> {
        let mut npy = self.open(name)?;
        let count = npy.length()?;
        match npy.descr.as_str() {
            "<f4" => npy.elements(count, |_, bytes| Ok(f32::from_le_bytes(bytes))).map(Floats::Single),
            "<f8" => npy.elements(count, |_, bytes| Ok(f64::from_le_bytes(bytes))).map(Floats::Double),
            _ => Err(npy.wrong_type("float32 or float64 (<f4, <f8)")),
        }
    }
}

/// One array while it is read.
struct Npy<R> {
    name: &'static str,
    descr: String,
    shape: Vec<u64>,
    data: R,
    /// More bytes than these can't follow.
    most: u64,
}

impl<R: Read> Npy<R> {
    fn new(name: &'static str, mut data: R, most: u64) -> Result<Self, MdpFileError> {
        let place = format!("array {name}");
        let bad = |what: &str| MdpFileError::at(&place, format_args!("is no array of NumPy: {what}"));
        let cut = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => bad("its header is cut short"),
            _ => MdpFileError::at(&place, format_args!("can't be read: {error}")),
        };
        let mut magic = [0; 8];
        data.read_exact(&mut magic).map_err(cut)?;
        let length = match (&magic[..6], magic[6]) {
            (b"\x93NUMPY", 1) => {
                let mut bytes = [0; 2];
                data.read_exact(&mut bytes).map_err(cut)?;
                u32::from(u16::from_le_bytes(bytes))
            }
            (b"\x93NUMPY", 2 | 3) => {
                let mut bytes = [0; 4];
                data.read_exact(&mut bytes).map_err(cut)?;
                u32::from_le_bytes(bytes)
            }
            (b"\x93NUMPY", version) => {
                return Err(bad(&format!("its version is {version}, must be 1, 2 or 3")));
            }
            _ => return Err(bad("it does not begin with \\x93NUMPY")),
        };
        if length > 1 << 16 {
            return Err(bad("its header is longer than 65536 bytes"));
        }
        let mut header = vec![0; length as usize];
        data.read_exact(&mut header).map_err(cut)?;
        let header = String::from_utf8_lossy(&header);
        let (descr, shape) = parse_header(&header).ok_or_else(|| bad("its header has no descr or shape"))?;
        Ok(Npy { name, descr, shape, data, most })
    }

    fn error(&self, problem: impl std::fmt::Display) -> MdpFileError {
        MdpFileError::at(format_args!("array {}", self.name), problem)
    }

    fn wrong_type(&self, allowed: &str) -> MdpFileError {
        self.error(format_args!("its type is {}, must be {allowed}", self.descr))
    }

    /// The length of an array of one dimension.
    fn length(&self) -> Result<usize, MdpFileError> {
        match self.shape[..] {
            [length] if length <= u64::from(u32::MAX) => Ok(length as usize),
            [length] => Err(self.error(format_args!("its length is {length}, must be at most 4294967295"))),
            _ => {
                Err(self.error(format_args!("has the shape {}, must have one dimension", tuple(&self.shape))))
            }
        }
    }

    fn integers<T>(
        &mut self,
        count: usize,
        convert: impl Fn(usize, i64) -> Result<T, String>,
    ) -> Result<Vec<T>, MdpFileError> {
        match self.descr.as_str() {
            "|b1" | "|u1" => self.elements(count, |i, [byte]| convert(i, byte.into())),
            "|i1" => self.elements(count, |i, bytes| convert(i, i8::from_le_bytes(bytes).into())),
            "<u2" => self.elements(count, |i, bytes| convert(i, u16::from_le_bytes(bytes).into())),
            "<i2" => self.elements(count, |i, bytes| convert(i, i16::from_le_bytes(bytes).into())),
            "<u4" => self.elements(count, |i, bytes| convert(i, u32::from_le_bytes(bytes).into())),
            "<i4" => self.elements(count, |i, bytes| convert(i, i32::from_le_bytes(bytes).into())),
            // No index comes near the numbers that 63 bits can't hold.
            "<u8" => self.elements(count, |i, bytes| {
                convert(i, i64::try_from(u64::from_le_bytes(bytes)).unwrap_or(i64::MAX))
            }),
            "<i8" => self.elements(count, |i, bytes| convert(i, i64::from_le_bytes(bytes))),
            _ => Err(self.wrong_type("an integer type, such as int64 (<i8) or uint32 (<u4)")),
        }
    }

    /// All elements: `count` of `N` bytes each, and then the end.
    fn elements<T, const N: usize>(
        &mut self,
        count: usize,
        convert: impl Fn(usize, [u8; N]) -> Result<T, String>,
    ) -> Result<Vec<T>, MdpFileError> {
        let room = (count as u64).min(self.most / N as u64) as usize;
        let mut elements = Vec::new();
        elements
            .try_reserve_exact(room)
            .map_err(|_| self.error(format_args!("{count} elements need too much memory")))?;
        let mut chunk = vec![0; CHUNK];
        while elements.len() < count {
            let bytes = ((count - elements.len()) * N).min(CHUNK);
            self.data.read_exact(&mut chunk[..bytes]).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    self.error(format_args!("is cut short: its shape says {count} elements"))
                }
                _ => self.error(format_args!("can't be read: {error}")),
            })?;
            for element in chunk[..bytes].chunks_exact(N) {
                let element: [u8; N] = element.try_into().unwrap_or([0; N]);
                let index = elements.len();
                elements.push(convert(index, element).map_err(|problem| self.error(problem))?);
            }
        }
        // Reading to the end also compares the checksum.
        match self.data.read(&mut chunk[..1]) {
            Ok(0) => Ok(elements),
            Ok(_) => Err(self.error(format_args!("has more data than the {count} elements of its shape"))),
            Err(error) => Err(self.error(format_args!("can't be read: {error}"))),
        }
    }
}

/// The type and the shape from a header such as `{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }`.
fn parse_header(header: &str) -> Option<(String, Vec<u64>)> {
    let value = |key: &str| Some(header.split_once(&format!("'{key}':"))?.1.trim_start());
    let descr = value("descr")?;
    // A type with fields is a list, and shown as it is.
    let descr = match descr.strip_prefix('\'') {
        Some(rest) => rest.split_once('\'')?.0.to_owned(),
        None => descr.split_once("'fortran_order'")?.0.trim_end().trim_end_matches(',').to_owned(),
    };
    let shape = value("shape")?.strip_prefix('(')?.split_once(')')?.0;
    let lengths = shape.split(',').map(str::trim).filter(|length| !length.is_empty());
    // Python 2 wrote long integers with an L.
    Some((descr, lengths.map(|length| length.trim_end_matches('L').parse().ok()).collect::<Option<_>>()?))
}

fn tuple(shape: &[u64]) -> String {
    let lengths: Vec<_> = shape.iter().map(u64::to_string).collect();
    format!("({}{})", lengths.join(", "), if shape.len() == 1 { "," } else { "" })
}
