use super::number::{push_finite, push_int, push_seconds};
use super::{Lines, LogFile};
use crate::{FormatError, Metric, Update};
use std::path::Path;

/// The columns before those of the learner.
const FIRST: [&str; 5] = ["update", "steps", "episodes", "return_mean", "length_mean"];
/// The columns after them, the only ones that differ between two runs of the same specification.
const LAST: [&str; 2] = ["wall_seconds", "steps_per_second"];

/// `metrics.csv` and `metrics.jsonl`: one row per iteration in both.
///
/// A value that does not exist yet is empty in CSV; one that is not finite is `NaN`, `inf` or `-inf`. JSON has `null` for both.
#[derive(Debug)]
pub(crate) struct MetricsRows {
    csv: LogFile,
    jsonl: LogFile,
    /// `,"name":` of each of the learner's columns.
    keys: Vec<String>,
    /// The text of a number, written once and used twice.
    scratch: Vec<u8>,
}

fn header(metrics: &[Metric]) -> String {
    let names: Vec<&str> = FIRST.into_iter().chain(metrics.iter().map(|m| m.name)).chain(LAST).collect();
    names.join(",")
}

fn keys(metrics: &[Metric]) -> Vec<String> {
    metrics.iter().map(|m| format!(",{}:", serde_json::Value::from(m.name))).collect()
}

impl MetricsRows {
    pub(crate) fn create(csv: &Path, jsonl: &Path, metrics: &[Metric]) -> Result<Self, FormatError> {
        let (mut csv, jsonl) = (LogFile::create(csv)?, LogFile::create(jsonl)?);
        csv.row().extend_from_slice(header(metrics).as_bytes());
        csv.row().push(b'\n');
        csv.flush()?;
        Ok(MetricsRows { csv, jsonl, keys: keys(metrics), scratch: Vec::new() })
    }

    /// Opens both files cut back to their row `update`, and says how many seconds the run had taken then.
    pub(crate) fn resume(
        csv: &Path,
        jsonl: &Path,
        metrics: &[Metric],
        update: u64,
    ) -> Result<(Self, f64), FormatError> {
        let mut lines = Lines::open(csv)?;
        let expected = header(metrics);
        if lines.next()? != Some(expected.as_str()) {
            return Err(lines.error(format_args!("the columns are not those of this run: {expected}")));
        }
        let mut last = (0, 0.0);
        let csv_length = loop {
            let Some(line) = lines.next()? else { break lines.offset() };
            let number = line.split(',').next().and_then(|u| u.parse::<u64>().ok());
            let seconds = line.rsplit(',').nth(LAST.len() - 1).and_then(|s| s.parse::<f64>().ok());
            let (Some(number), Some(seconds)) = (number, seconds) else {
                return Err(lines.error("is not a row of this log"));
            };
            if number > update {
                break lines.offset();
            }
            last = (number, seconds);
        };
        if last.0 != update {
            return Err(ends_early(csv, last.0, update));
        }

        let mut lines = Lines::open(jsonl)?;
        let mut last_json = 0;
        let jsonl_length = loop {
            let Some(line) = lines.next()? else { break lines.offset() };
            let number =
                line.strip_prefix(r#"{"update":"#).and_then(|l| l.split(',').next()?.parse::<u64>().ok());
            let Some(number) = number else { return Err(lines.error("is not a row of this log")) };
            if number > update {
                break lines.offset();
            }
            last_json = number;
        };
        if last_json != update {
            return Err(ends_early(jsonl, last_json, update));
        }
        let csv = LogFile::cut(csv, csv_length)?;
        let jsonl = LogFile::cut(jsonl, jsonl_length)?;
        Ok((MetricsRows { csv, jsonl, keys: keys(metrics), scratch: Vec::new() }, last.1))
    }

    pub(crate) fn write(&mut self, update: &Update<'_>) -> Result<(), FormatError> {
        let (csv, json, scratch) = (self.csv.row(), self.jsonl.row(), &mut self.scratch);
        json.extend_from_slice(br#"{"update":"#);
        both(csv, json, scratch, |out| push_int(out, update.update));
        csv.push(b',');
        json.extend_from_slice(br#","steps":"#);
        both(csv, json, scratch, |out| push_int(out, update.steps));
        csv.push(b',');
        json.extend_from_slice(br#","episodes":"#);
        both(csv, json, scratch, |out| push_int(out, update.episodes));
        for (key, value) in
            [(br#","return_mean":"#, update.return_mean), (br#","length_mean":"#, update.length_mean)]
        {
            csv.push(b',');
            json.extend_from_slice(key);
            match value {
                Some(value) => push_float(csv, json, scratch, value),
                None => json.extend_from_slice(b"null"),
            }
        }
        for (key, &value) in self.keys.iter().zip(update.values) {
            csv.push(b',');
            json.extend_from_slice(key.as_bytes());
            push_float(csv, json, scratch, value);
        }
        csv.push(b',');
        json.extend_from_slice(br#","wall_seconds":"#);
        both(csv, json, scratch, |out| push_seconds(out, update.wall_seconds));
        csv.push(b',');
        json.extend_from_slice(br#","steps_per_second":"#);
        both(csv, json, scratch, |out| push_int(out, update.steps_per_second.round() as u64));
        csv.push(b'\n');
        json.extend_from_slice(b"}\n");
        self.csv.row_done()?;
        self.jsonl.row_done()
    }

    pub(crate) fn flush(&mut self) -> Result<(), FormatError> {
        self.csv.flush()?;
        self.jsonl.flush()
    }

    pub(crate) fn sync(&mut self) -> Result<(), FormatError> {
        self.csv.sync()?;
        self.jsonl.sync()
    }
}

fn ends_early(path: &Path, last: u64, update: u64) -> FormatError {
    FormatError::new(path, format_args!("ends at update {last}, but the checkpoint is at update {update}"))
}

#[inline]
fn both(csv: &mut Vec<u8>, json: &mut Vec<u8>, scratch: &mut Vec<u8>, push: impl FnOnce(&mut Vec<u8>)) {
    scratch.clear();
    push(scratch);
    csv.extend_from_slice(scratch);
    json.extend_from_slice(scratch);
}

#[inline]
fn push_float(csv: &mut Vec<u8>, json: &mut Vec<u8>, scratch: &mut Vec<u8>, x: f64) {
    if x.is_finite() {
        both(csv, json, scratch, |out| push_finite(out, x));
    } else {
        let text: &[u8] = if x.is_nan() {
            b"NaN"
        } else if x > 0.0 {
            b"inf"
        } else {
            b"-inf"
        };
        csv.extend_from_slice(text);
        json.extend_from_slice(b"null");
    }
}

/// A row of `metrics.csv` as the plots need it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MetricsRow {
    pub(crate) steps: u64,
    pub(crate) return_mean: Option<f64>,
}

impl MetricsRow {
    /// The rows of a `metrics.csv` of any algorithm, in order; a half-written last row is left out.
    pub(crate) fn read_all(path: &Path) -> Result<Vec<MetricsRow>, FormatError> {
        let mut lines = Lines::open(path)?;
        let columns = match lines.next()? {
            Some(header) if header.starts_with(&FIRST.join(",")) => header.split(',').count(),
            _ => return Err(FormatError::at(path, "line 1", "is not the header of a metrics log")),
        };
        let mut rows: Vec<MetricsRow> = Vec::new();
        while let Some(line) = lines.next()? {
            match MetricsRow::parse(line, columns, rows.last()) {
                Ok(row) => rows.push(row),
                Err(problem) => return Err(lines.error(problem)),
            }
        }
        Ok(rows)
    }

    fn parse(line: &str, columns: usize, last: Option<&MetricsRow>) -> Result<MetricsRow, String> {
        let fields: Vec<&str> = line.split(',').collect();
        if fields.len() != columns {
            return Err(format!("has {} columns, expected {columns}", fields.len()));
        }
        let text = fields[1];
        let steps: u64 = text.parse().map_err(|_| format!("steps = {text:?} is not a number of steps"))?;
        if last.is_some_and(|last| last.steps >= steps) {
            return Err(format!("steps = {steps} does not come after the row before it"));
        }
        let text = fields[3];
        let return_mean = match text.parse::<f64>() {
            _ if text.is_empty() => None,
            Ok(x) if x.is_finite() => Some(x),
            _ => return Err(format!("return_mean = {text:?} is not a number")),
        };
        Ok(MetricsRow { steps, return_mean })
    }
}
