//! Collects criterion's results into `measured/bench.json`.

use crate::measured::{Bench, Timing, Unit, Work};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Reads every benchmark under `criterion` (that is `target/criterion`).
pub fn collect(criterion: &Path, date: Option<String>) -> Result<Bench, String> {
    let mut benchmarks = Vec::new();
    walk(criterion, &mut benchmarks)?;
    if benchmarks.is_empty() {
        return Err(format!("{}: no results; run `cargo bench` first", criterion.display()));
    }
    benchmarks.sort_by(|a, b| (&a.group, natural(&a.name)).cmp(&(&b.group, natural(&b.name))));
    Ok(Bench { machine: machine(), date: date.unwrap_or_else(today), rustc: rustc(), benchmarks })
}

fn walk(folder: &Path, out: &mut Vec<Timing>) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.is_dir() {
            if path.ends_with("new") && path.join("benchmark.json").is_file() {
                out.push(
                    timing(&json(&path.join("benchmark.json"))?, &json(&path.join("estimates.json"))?)
                        .ok_or_else(|| {
                            format!("{}: not the results of a criterion benchmark", path.display())
                        })?,
                );
            } else {
                walk(&path, out)?;
            }
        }
    }
    Ok(())
}

fn json(path: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

fn timing(benchmark: &Value, estimates: &Value) -> Option<Timing> {
    let parts = ["function_id", "value_str"].map(|key| benchmark[key].as_str());
    let work = |kind: &str, unit| benchmark["throughput"][kind].as_u64().map(|amount| Work { amount, unit });
    Some(Timing {
        group: benchmark["group_id"].as_str()?.to_owned(),
        name: parts.into_iter().flatten().collect::<Vec<_>>().join("/"),
        median_ns: estimates["median"]["point_estimate"].as_f64()?,
        work: work("Elements", Unit::Elements)
            .or_else(|| work("Bytes", Unit::Bytes))
            .or_else(|| work("BytesDecimal", Unit::Bytes)),
    })
}

/// Sorts `8` before `128`.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut out = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let word = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let digits = rest[word..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |i| word + i);
        out.push((rest[..word].to_owned(), rest[word..digits].parse().unwrap_or(0)));
        rest = &rest[digits..];
    }
    out
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(':'))
        .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {cores} core{}", if cores == 1 { "" } else { "s" })
}

fn rustc() -> String {
    let output =
        Command::new(std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into())).arg("--version").output();
    output
        .ok()
        .and_then(|o| String::from_utf8(o.stdout).ok())
        .map_or_else(|| "rustc".into(), |v| v.trim().to_owned())
}

fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    civil(seconds / 86_400)
}

/// The date `days` after 1970-01-01.
fn civil(days: u64) -> String {
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let months = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= months[month] {
        left -= months[month];
        month += 1;
    }
    format!("{year:04}-{:02}-{:02}", month + 1, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_result_is_read() {
        let benchmark = json!({"group_id": "gae.recursion", "function_id": "f32", "value_str": "128x8",
            "throughput": {"Elements": 1024}, "full_id": "gae.recursion/f32/128x8"});
        let estimates = json!({"median": {"point_estimate": 1740.5}});
        let t = timing(&benchmark, &estimates).unwrap();
        assert_eq!((t.group.as_str(), t.name.as_str(), t.median_ns), ("gae.recursion", "f32/128x8", 1740.5));
        assert_eq!(t.work, Some(Work { amount: 1024, unit: Unit::Elements }));
    }

    #[test]
    fn dates_and_numbers_sort_out() {
        assert_eq!(
            (civil(0), civil(59), civil(20_778)),
            ("1970-01-01".into(), "1970-03-01".into(), "2026-11-21".into())
        );
        assert!(natural("f32/8x8") < natural("f32/128x8"));
    }
}
