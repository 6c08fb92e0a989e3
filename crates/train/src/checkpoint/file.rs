use super::Checkpoint;
use crate::FormatError;
use crate::atomic::{Durable, write_atomically};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The version of the checkpoint format, which changes with the meaning of what is in the file.
pub const FORMAT_VERSION: u32 = 1;

/// What a file says it is, before its version.
const FORMAT: &str = "rederive checkpoint";

/// Which run a checkpoint belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointId {
    /// The algorithm's name.
    pub algo: String,
    /// The environment's ID.
    pub env: String,
    /// The run's [`fingerprint`](crate::RunSpec::fingerprint).
    pub fingerprint: String,
}

/// One entry of a safetensors header.
#[derive(Serialize)]
struct TensorEntry {
    dtype: &'static str,
    shape: [usize; 1],
    data_offsets: [usize; 2],
}

impl Checkpoint {
    /// Writes a safetensors file: the tensors as one-dimensional `F32`, the bytes as `U8`, and in the metadata the format, its version, the run
    /// and the state as JSON. Equal checkpoints give equal bytes. The file is replaced as a whole, or not at all.
    ///
    /// # Errors
    /// If a number is not finite or the file can't be written.
    pub fn write(&self, path: &Path, id: &CheckpointId) -> Result<(), FormatError> {
        self.write_with(path, id, Durable::Yes)
    }

    pub(crate) fn write_with(
        &self,
        path: &Path,
        id: &CheckpointId,
        durable: Durable,
    ) -> Result<(), FormatError> {
        if let Some(what) = self.not_finite() {
            let problem = "is not finite, and a checkpoint holds finite numbers only";
            return Err(FormatError::at(path, &what, format_args!("{what} {problem}")));
        }
        // The crate's own writer takes the metadata as a hash map, whose order changes from run to run.
        let mut metadata = BTreeMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("version".to_owned(), FORMAT_VERSION.to_string()),
            ("algo".to_owned(), id.algo.clone()),
            ("env".to_owned(), id.env.clone()),
            ("fingerprint".to_owned(), id.fingerprint.clone()),
        ]);
        metadata.extend(self.state.iter().map(|(name, value)| (format!("state.{name}"), value.to_string())));
        let mut header = serde_json::Map::new();
        header.insert("__metadata__".to_owned(), json(&metadata));
        let mut offset = 0;
        for (name, values) in &self.tensors {
            let end = offset + 4 * values.len();
            let entry = TensorEntry { dtype: "F32", shape: [values.len()], data_offsets: [offset, end] };
            header.insert(name.clone(), json(&entry));
            offset = end;
        }
        for (name, bytes) in &self.bytes {
            let end = offset + bytes.len();
            let entry = TensorEntry { dtype: "U8", shape: [bytes.len()], data_offsets: [offset, end] };
            let before = header.insert(name.clone(), json(&entry));
            assert!(before.is_none(), "{name} is the name of a tensor and of bytes");
            offset = end;
        }
        let mut header = Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');

        write_atomically(path, durable, |out| {
            out.write_all(&(header.len() as u64).to_le_bytes())?;
            out.write_all(&header)?;
            let mut bytes = Vec::new();
            for values in self.tensors.values() {
                for block in values.chunks(4096) {
                    bytes.clear();
                    bytes.extend(block.iter().flat_map(|x| x.to_le_bytes()));
                    out.write_all(&bytes)?;
                }
            }
            self.bytes.values().try_for_each(|bytes| out.write_all(bytes))
        })
    }

    /// Reads what [`write`](Self::write) wrote, and which run it belongs to.
    ///
    /// # Errors
    /// With the path, and the position where there is one, if the file is missing, cut short, no checkpoint, or of another
    /// version of the format.
    pub fn read(path: &Path) -> Result<(Self, CheckpointId), FormatError> {
        let bytes = fs::read(path).map_err(|e| FormatError::io(path, "can't be read", &e))?;
        Checkpoint::parse(path, &bytes)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<(Self, CheckpointId), FormatError> {
        let length = bytes.len();
        let Some(header_length) = bytes.first_chunk::<8>().map(|b| u64::from_le_bytes(*b)) else {
            return Err(FormatError::at(
                path,
                format_args!("byte {length}"),
                "the file is cut short in its first 8 bytes",
            ));
        };
        if bytes.get(8) != Some(&b'{') && length > 8 {
            return Err(FormatError::at(path, "byte 8", "no safetensors header begins here"));
        }
        if header_length > (length - 8) as u64 {
            let problem = format!("the file is cut short: its header has {header_length} bytes");
            return Err(FormatError::at(path, format_args!("byte {length}"), problem));
        }
        let data_start = 8 + header_length as usize;
        let header = |problem: String| FormatError::at(path, "header", problem);

        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| match e {
            // The crate finds that the data do not end where the header says, but not which way.
            SafeTensorError::MetadataIncompleteBuffer => {
                let promised = promised_length(&bytes[8..data_start]).unwrap_or(0) + data_start as u64;
                let what = if promised > length as u64 { "cut short" } else { "too long" };
                let problem = format!("the file is {what}: its header promises {promised} bytes");
                FormatError::at(path, format_args!("byte {length}"), problem)
            }
            e => header(e.to_string()),
        })?;
        let none = Default::default();
        let info = metadata.metadata().as_ref().unwrap_or(&none);
        if info.get("format").map(String::as_str) != Some(FORMAT) {
            return Err(header("a safetensors file, but not a checkpoint of rederive".to_owned()));
        }
        let field = |name: &str| info.get(name).cloned().ok_or_else(|| header(format!("{name} is missing")));
        let version = field("version")?;
        if version != FORMAT_VERSION.to_string() {
            return Err(header(format!(
                "format version {version}, but this program reads version {FORMAT_VERSION}"
            )));
        }
        let id =
            CheckpointId { algo: field("algo")?, env: field("env")?, fingerprint: field("fingerprint")? };

        let mut checkpoint = Checkpoint::default();
        for (name, text) in info {
            if let Some(name) = name.strip_prefix("state.") {
                let value = serde_json::from_str(text)
                    .map_err(|e| FormatError::at(path, format_args!("state {name}"), e))?;
                checkpoint.state.insert(name.to_owned(), value);
            }
        }
        for (name, tensor) in metadata.tensors() {
            let (start, end) = tensor.data_offsets;
            let data = &bytes[data_start + start..data_start + end];
            match tensor.dtype {
                Dtype::F32 => {
                    let values = data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
                    checkpoint.tensors.insert(name, values.collect());
                }
                Dtype::U8 => {
                    checkpoint.bytes.insert(name, data.to_vec());
                }
                other => {
                    let problem = format!("is of type {other}, expected F32 or U8");
                    return Err(FormatError::at(path, format_args!("tensor {name}"), problem));
                }
            }
        }
        Ok((checkpoint, id))
    }
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("a map with string keys is plain JSON")
}

/// How many bytes of data a header promises.
fn promised_length(header: &[u8]) -> Option<u64> {
    let header: Value = serde_json::from_slice(header).ok()?;
    header.as_object()?.values().filter_map(|t| t.get("data_offsets")?.get(1)?.as_u64()).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> CheckpointId {
        CheckpointId { algo: "fake".into(), env: "Fake-v0".into(), fingerprint: "0123".into() }
    }

    fn filled() -> Checkpoint {
        let mut checkpoint = Checkpoint::default();
        checkpoint.put_tensor("w", &[1.0, -0.0, f32::MIN_POSITIVE, 1e-45, f32::MAX]);
        checkpoint.put_tensor("a.empty", &[]);
        checkpoint.put_tensor("b", &[0.1; 5000]);
        checkpoint.put_bytes("ab", &[0, 255, 7]);
        checkpoint.put_bytes("z", &[]);
        checkpoint.put("counter", &u64::MAX);
        checkpoint.put("floats", &[0.1f64, -0.0, 5e-324, 1.7976931348623157e308, 1.0 / 3.0]);
        checkpoint.put("quoted \"name\"", &"line\nbreak");
        checkpoint.put("single", &0.1f32);
        checkpoint
    }

    #[test]
    fn a_checkpoint_comes_back_with_the_same_bits_and_its_file_with_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        filled().write(&one, &id()).unwrap();
        let (back, whose) = Checkpoint::read(&one).unwrap();
        assert_eq!(whose, id());
        assert_eq!(back, filled());
        let bits =
            |c: &Checkpoint| c.get::<Vec<f64>>("floats").unwrap().into_iter().map(f64::to_bits).collect();
        let (a, b): (Vec<u64>, Vec<u64>) = (bits(&back), bits(&filled()));
        assert_eq!(a, b);
        assert_eq!(back.get::<u64>("counter"), Ok(u64::MAX));
        assert_eq!(back.get::<f32>("single"), Ok(0.1));
        assert_eq!(back.tensors["w"][1].to_bits(), (-0.0f32).to_bits());
        back.write(&two, &id()).unwrap();
        assert_eq!(fs::read(one).unwrap(), fs::read(two).unwrap());
    }

    #[test]
    fn random_floats_keep_their_bits_as_json() {
        use rand::RngCore;
        let mut rng = rederive_env::Stream::new(3, "floats", 0);
        let floats: Vec<f64> =
            (0..20_000).map(|_| f64::from_bits(rng.next_u64())).filter(|x| x.is_finite()).collect();
        let mut checkpoint = Checkpoint::default();
        checkpoint.put("floats", &floats);
        let text = checkpoint.state["floats"].to_string();
        let back: Vec<f64> = serde_json::from_str(&text).unwrap();
        assert!(back.iter().zip(&floats).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    #[test]
    fn the_file_is_what_the_safetensors_crate_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c");
        filled().write(&path, &id()).unwrap();
        let bytes = fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.len(), 5);
        assert_eq!(file.tensor("ab").unwrap().data(), [0, 255, 7]);
        assert_eq!(file.tensor("b").unwrap().shape(), [5000]);
        assert_eq!(file.tensor("w").unwrap().data()[..4], 1f32.to_le_bytes());
    }

    #[test]
    fn what_is_not_finite_is_named_and_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c");
        filled().write(&path, &id()).unwrap();
        let before = fs::read(&path).unwrap();
        for (what, add) in [
            ("tensor w", (|c: &mut Checkpoint| c.put_tensor("w", &[0.0, f32::NAN])) as fn(&mut Checkpoint)),
            ("tensor x", |c| c.put_tensor("x", &[f32::INFINITY])),
            ("state y", |c| c.put("y", &Some(f64::NEG_INFINITY))),
            ("state z", |c| c.put("z", &(1, vec![f32::NAN]))),
        ] {
            let mut checkpoint = filled();
            add(&mut checkpoint);
            assert_eq!(checkpoint.not_finite().as_deref(), Some(what));
            let error = checkpoint.write(&path, &id()).unwrap_err();
            assert_eq!(error.position.as_deref(), Some(what));
            assert!(error.to_string().contains("not finite"), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn every_broken_file_is_refused_with_its_path_and_position() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let refused = |position: Option<&str>, problem: &str| {
            let error = Checkpoint::read(&path).unwrap_err();
            assert_eq!(error.path, path);
            assert_eq!(error.position.as_deref(), position, "{error}");
            assert!(error.problem.contains(problem), "{error}");
        };
        refused(None, "can't be read: No such file");

        filled().write(&path, &id()).unwrap();
        let whole = fs::read(&path).unwrap();
        let header_length = u64::from_le_bytes(*whole.first_chunk().unwrap()) as usize;
        // No prefix of a checkpoint is a checkpoint, and none makes the reader panic.
        for length in (0..200).chain((header_length..header_length + 40).step_by(3)).chain([whole.len() - 1])
        {
            fs::write(&path, &whole[..length]).unwrap();
            refused(Some(&format!("byte {length}")), "cut short");
        }
        fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
        refused(Some(&format!("byte {}", whole.len() + 1)), "too long");
        fs::write(&path, b"\x89PNG\r\n\x1a\n0123456789").unwrap();
        refused(Some("byte 8"), "no safetensors header");

        let with_header = |text: &str| {
            let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
            bytes.extend(text.as_bytes());
            fs::write(&path, bytes).unwrap();
        };
        with_header("{]");
        refused(Some("header"), "column 2");
        with_header("{}");
        refused(Some("header"), "not a checkpoint of rederive");
        with_header(r#"{"__metadata__":{"format":"rederive checkpoint"}}"#);
        refused(Some("header"), "version is missing");
        with_header(r#"{"__metadata__":{"format":"rederive checkpoint","version":"2"}}"#);
        refused(Some("header"), "format version 2, but this program reads version 1");
        with_header(
            r#"{"__metadata__":{"format":"rederive checkpoint","version":"1","algo":"a","env":"e"}}"#,
        );
        refused(Some("header"), "fingerprint is missing");
        let good = r#""format":"rederive checkpoint","version":"1","algo":"a","env":"e","fingerprint":"f""#;
        with_header(&format!(r#"{{"__metadata__":{{{good},"state.x":"[1,"}}}}"#));
        refused(Some("state x"), "EOF");
        with_header(&format!(
            r#"{{"__metadata__":{{{good}}},"w":{{"dtype":"F64","shape":[0],"data_offsets":[0,0]}}}}"#
        ));
        refused(Some("tensor w"), "expected F32 or U8");
        with_header(&format!(
            r#"{{"__metadata__":{{{good}}},"w":{{"dtype":"F32","shape":[3],"data_offsets":[0,4]}}}}"#
        ));
        refused(Some("header"), "tensor");
    }

    #[test]
    fn a_flipped_bit_anywhere_in_the_header_never_panics() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c");
        let mut checkpoint = Checkpoint::default();
        checkpoint.put_tensor("w", &[1.0, 2.0]);
        checkpoint.put("n", &3);
        checkpoint.write(&path, &id()).unwrap();
        let whole = fs::read(&path).unwrap();
        for byte in 0..whole.len() {
            for bit in 0..8 {
                let mut broken = whole.clone();
                broken[byte] ^= 1 << bit;
                let _ = Checkpoint::parse(&path, &broken);
            }
        }
    }
}
