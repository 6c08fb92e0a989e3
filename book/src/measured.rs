//! The measurements that the book shows, as the files under `measured/` hold them.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::path::Path;

/// One row of `verify.json`, as `rederive verify --json` prints it.
#[derive(Clone, Debug, Deserialize)]
pub struct Verified {
    /// The equation.
    pub id: String,
    /// Which of its properties.
    pub property: String,
    /// How many cases were tried.
    pub cases: u64,
    /// The largest scaled error over them; `null` where it is not a number.
    pub max_error: Option<f64>,
    /// What was allowed.
    pub tolerance: f64,
    /// The verdict.
    pub passed: bool,
}

/// `bench.json`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Bench {
    /// Processor and number of cores.
    pub machine: String,
    /// `YYYY-MM-DD`.
    pub date: String,
    /// The compiler's version.
    pub rustc: String,
    /// By group, then function, then parameter.
    pub benchmarks: Vec<Timing>,
}

/// One criterion benchmark.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Timing {
    /// The criterion group: an equation's ID, or a name such as `ppo/update`.
    pub group: String,
    /// The function and its parameter within the group.
    pub name: String,
    /// Median time of one iteration.
    pub median_ns: f64,
    /// Work done in one iteration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
}

/// What one iteration of a benchmark handles.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq)]
pub struct Work {
    /// How many.
    pub amount: u64,
    /// Of what.
    pub unit: Unit,
}

/// The unit of a throughput.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Samples, steps, array entries.
    Elements,
    /// Bytes read and written.
    Bytes,
}

/// Reads a JSON file; `None` where there is none.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).map(Some).map_err(|e| format!("{}: {e}", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

/// An error or a tolerance, to two digits: `0`, `2.2e-16`, `0.45`.
pub fn error(x: f64) -> String {
    let exponent = format!("{x:.1e}").replace(".0e", "e");
    match exponent.parse::<f64>() {
        Ok(rounded) if rounded == 0.0 || (1e-3..1e3).contains(&rounded) => format!("{rounded}"),
        _ => exponent,
    }
}

/// A duration, in the unit that suits it.
pub fn duration(ns: f64) -> String {
    let (value, unit) = match ns {
        _ if ns < 1e3 => (ns, "ns"),
        _ if ns < 1e6 => (ns / 1e3, "µs"),
        _ if ns < 1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// A rate, in the unit that suits it.
pub fn throughput(timing: &Timing) -> Option<String> {
    let work = timing.work?;
    let rate = work.amount as f64 / timing.median_ns * 1e9;
    let (value, prefix) = match rate {
        _ if rate < 1e3 => (rate, ""),
        _ if rate < 1e6 => (rate / 1e3, "k"),
        _ if rate < 1e9 => (rate / 1e6, "M"),
        _ => (rate / 1e9, "G"),
    };
    let value = three_digits(value);
    Some(match (work.unit, prefix) {
        (Unit::Bytes, prefix) => format!("{value} {prefix}B/s"),
        (Unit::Elements, "") => format!("{value} elements/s"),
        (Unit::Elements, "k") => format!("{value} thousand elements/s"),
        (Unit::Elements, "M") => format!("{value} million elements/s"),
        (Unit::Elements, _) => format!("{value} billion elements/s"),
    })
}

fn three_digits(x: f64) -> String {
    let decimals = if x >= 99.95 {
        0
    } else if x >= 9.995 {
        1
    } else {
        2
    };
    format!("{x:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(duration(1_740.0), "1.74 µs");
        assert_eq!(duration(294_000.0), "294 µs");
        assert_eq!(duration(5.0e9), "5.00 s");
        assert_eq!((error(0.4538), error(1.0), error(f64::NAN)), ("0.45".into(), "1".into(), "NaN".into()));
        assert_eq!(
            (error(0.0), error(2.220446e-16), error(1e-10), error(0.001)),
            ("0".into(), "2.2e-16".into(), "1e-10".into(), "0.001".into())
        );
        let timing = Timing {
            group: "g".into(),
            name: String::new(),
            median_ns: 1000.0,
            work: Some(Work { amount: 28_000, unit: Unit::Bytes }),
        };
        assert_eq!(throughput(&timing).unwrap(), "28.0 GB/s");
    }
}
