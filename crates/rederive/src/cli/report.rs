//! What goes to standard output and standard error. A reader that has gone away (`| head`) is no error.

use console::Style;
use rederive::train::{ConfigError, Diverged, FormatError};
use std::fmt;
use std::io::{self, ErrorKind, Write};

/// Why a command stops without success.
#[derive(Debug)]
pub enum Failure {
    /// Bad usage or bad input.
    Input(String),
    /// A run or check that failed.
    Run(String),
    /// A person or the system said stop.
    Interrupted(String),
}

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Run(_) => 1,
            Failure::Input(_) => 2,
            Failure::Interrupted(_) => 130,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Input(message) | Failure::Run(message) | Failure::Interrupted(message) => {
                f.write_str(message)
            }
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure::Input(error.to_string())
    }
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Self {
        Failure::Input(error.to_string())
    }
}

impl From<Diverged> for Failure {
    fn from(error: Diverged) -> Self {
        Failure::Run(error.to_string())
    }
}

/// Prints a failure on standard error.
pub fn error(failure: &Failure) {
    let style = Style::new().for_stderr().bold();
    match failure {
        Failure::Interrupted(message) => {
            note(format_args!("{} {message}", style.yellow().apply_to("interrupted:")))
        }
        _ => note(format_args!("{} {failure}", style.red().apply_to("error:"))),
    }
}

/// Prints a line on standard error.
pub fn note(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes `text` to standard output.
pub fn stdout(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Run(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a document to standard output.
pub fn json(document: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(document).map_err(|e| Failure::Run(e.to_string()))?;
    stdout(&(text + "\n"))
}

/// How many columns standard output has, if it is a terminal.
pub fn columns() -> Option<usize> {
    let term = console::Term::stdout();
    term.is_term().then(|| usize::from(term.size().1))
}

/// A count with a space between thousands: `100 000`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// `1 seed`, `2 seeds`.
pub fn counted(n: usize, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

/// Seconds for people: `0.42 s`, `12.3 s`, `3 min 05 s`, `2 h 03 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match seconds {
        s if s < 1.0 => format!("{s:.2} s"),
        s if s < 99.95 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

/// A number with about four significant digits, without an exponent unless it is very large or small.
pub fn short(x: f64) -> String {
    let size = x.abs();
    if !x.is_finite() || x == 0.0 {
        format!("{x}")
    } else if !(1e-4..1e6).contains(&size) {
        format!("{x:.2e}")
    } else {
        let digits = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
        format!("{x:.digits$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [grouped(0), grouped(999), grouped(1000), grouped(1234567)],
            ["0", "999", "1 000", "1 234 567"]
        );
        assert_eq!(
            [0.456, 12.34, 185.0, 7380.0].map(duration),
            ["0.46 s", "12.3 s", "3 min 05 s", "2 h 03 min"]
        );
        assert_eq!(
            [0.0, 487.123, 0.01234, -73.5, 1.5e9].map(short),
            ["0", "487.1", "0.01234", "-73.50", "1.50e9"]
        );
    }
}
