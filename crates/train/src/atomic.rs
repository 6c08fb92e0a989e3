use crate::FormatError;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Whether a file has to survive a power cut the moment it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durable {
    /// It has: the data and then the folder's entry are synchronised to the disk.
    Yes,
    /// It has not: there is little to lose. A program that reads it, or a killed one, still finds old or new, never half of
    /// each.
    No,
}

/// Replaces the file at `path` by what `write` writes, or leaves it as it is.
///
/// The content goes to a hidden file in the same folder, which takes the place of `path` by a rename. On an error the hidden
/// file is removed; one that a killed process left behind is overwritten by the next attempt.
pub(crate) fn write_atomically(
    path: &Path,
    durable: Durable,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FormatError> {
    let temporary = temporary_path(path);
    let result = (|| {
        let mut writer = BufWriter::with_capacity(1 << 16, File::create(&temporary)?);
        write(&mut writer)?;
        let file = writer.into_inner().map_err(|e| e.into_error())?;
        if durable == Durable::Yes {
            file.sync_all()?;
        }
        drop(file);
        fs::rename(&temporary, path)?;
        if durable == Durable::Yes {
            sync_folder(path)?;
        }
        Ok(())
    })();
    result.map_err(|e: io::Error| {
        // If it can't even be removed there is nothing better to report than the first error.
        let _ = fs::remove_file(&temporary);
        FormatError::io(path, "can't be written", &e)
    })
}

/// Replaces the file at `path` by what `write` writes; on an error the file is left as it is.
///
/// # Errors
/// The path, and what the operating system says.
pub fn write_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FormatError> {
    write_atomically(path, Durable::No, write)
}

/// The hidden file through which `path` is written.
pub(crate) fn temporary_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tmp"))
}

/// Makes a rename in the folder of `path` last; only Unix lets a folder be opened for that.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
