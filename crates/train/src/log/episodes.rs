use super::number::{push_finite, push_int};
use super::{Lines, LogFile};
use crate::{EpisodeStats, FormatError};
use std::path::Path;

/// `episodes.csv`: one row per finished episode.
#[derive(Debug)]
pub(crate) struct EpisodeRows {
    csv: LogFile,
}

const HEADER: &str = "episode,step,return,length";

impl EpisodeRows {
    pub(crate) fn create(path: &Path) -> Result<Self, FormatError> {
        let mut csv = LogFile::create(path)?;
        csv.row().extend_from_slice(HEADER.as_bytes());
        csv.row().push(b'\n');
        csv.flush()?;
        Ok(EpisodeRows { csv })
    }

    /// Opens the file cut back to its row number `episodes`.
    pub(crate) fn resume(path: &Path, episodes: u64) -> Result<Self, FormatError> {
        let mut lines = Lines::open(path)?;
        if lines.next()? != Some(HEADER) {
            return Err(FormatError::at(path, "line 1", "is not the header of an episode log"));
        }
        let mut last = 0;
        let length = loop {
            let Some(line) = lines.next()? else { break lines.offset() };
            let Some(number) = line.split(',').next().and_then(|e| e.parse::<u64>().ok()) else {
                return Err(lines.error("is not a row of this log"));
            };
            if number > episodes {
                break lines.offset();
            }
            last = number;
        };
        if last != episodes {
            let problem = format!("ends at episode {last}, but the checkpoint is at episode {episodes}");
            return Err(FormatError::new(path, problem));
        }
        Ok(EpisodeRows { csv: LogFile::cut(path, length)? })
    }

    #[inline]
    pub(crate) fn write(&mut self, number: u64, episode: &EpisodeStats) -> Result<(), FormatError> {
        let row = self.csv.row();
        push_int(row, number);
        row.push(b',');
        push_int(row, episode.step);
        row.push(b',');
        push_finite(row, episode.return_);
        row.push(b',');
        push_int(row, episode.length);
        row.push(b'\n');
        self.csv.row_done()
    }

    pub(crate) fn flush(&mut self) -> Result<(), FormatError> {
        self.csv.flush()
    }

    pub(crate) fn sync(&mut self) -> Result<(), FormatError> {
        self.csv.sync()
    }

    /// Calls `each(step, return)` for every episode in the file.
    pub(crate) fn read_all(path: &Path, mut each: impl FnMut(u64, f64)) -> Result<(), FormatError> {
        let mut lines = Lines::open(path)?;
        if lines.next()? != Some(HEADER) {
            return Err(FormatError::at(path, "line 1", "is not the header of an episode log"));
        }
        while let Some(line) = lines.next()? {
            let mut fields = line.split(',').skip(1);
            let step = fields.next().and_then(|s| s.parse().ok());
            let return_ = fields.next().and_then(|r| r.parse::<f64>().ok()).filter(|r| r.is_finite());
            let (Some(step), Some(return_)) = (step, return_) else {
                return Err(lines.error("is not a row of this log"));
            };
            each(step, return_);
        }
        Ok(())
    }
}
