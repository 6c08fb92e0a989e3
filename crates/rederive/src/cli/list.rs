//! `rederive list`.

use super::args::{ListArgs, What};
use super::report::{self, Failure};
use console::Style;
use rederive::algorithms::ALGORITHMS;
use rederive::env::{IDS, Space};
use serde_json::{Value, json};
use std::fmt::Write;

pub fn run(args: ListArgs) -> Result<(), Failure> {
    if args.json {
        return report::json(&match args.what {
            Some(What::Algos) => algos_json(),
            Some(What::Envs) => envs_json(),
            Some(What::Equations) => equations_json(),
            None => json!({ "algos": algos_json(), "envs": envs_json() }),
        });
    }
    report::stdout(&match args.what {
        Some(What::Algos) => algos(),
        Some(What::Envs) => envs(),
        Some(What::Equations) => equations(),
        None => {
            let hint = "`rederive list equations` lists the equations that `rederive verify` checks.\n";
            format!("{}\n{}\n{hint}", algos(), envs())
        }
    })
}

fn head(text: &str) -> String {
    format!("{}\n", Style::new().bold().apply_to(text))
}

fn algos() -> String {
    let mut out = head("Algorithms");
    let width = ALGORITHMS.iter().map(|a| a.name.len()).max().unwrap_or(0);
    for algo in ALGORITHMS {
        let presets: Vec<&str> = algo.presets.iter().map(|(name, _)| *name).collect();
        let name = Style::new().cyan().apply_to(format!("{:<width$}", algo.name));
        let _ = writeln!(out, "  {name} {}", algo.description);
        let _ = writeln!(out, "  {:<width$} {} actions; presets: {}", "", algo.actions, presets.join(", "));
    }
    out
}

fn algos_json() -> Value {
    let row = |a: &rederive::algorithms::Algorithm| {
        let presets: Vec<&str> = a.presets.iter().map(|(name, _)| *name).collect();
        json!({ "name": a.name, "description": a.description, "actions": a.actions, "presets": presets,
                "fields": (a.fields)() })
    };
    ALGORITHMS.iter().map(row).collect()
}

/// `4 reals`, `500 states`, `32 x 11 x 2 states`, `2 actions`.
fn size(space: &Space, things: &str) -> String {
    match space {
        Space::Discrete { n } => format!("{n} {things}"),
        Space::MultiDiscrete { n } => {
            format!("{} {things}", n.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x "))
        }
        Space::Box { low, .. } if low.len() == 1 => "1 real".to_owned(),
        Space::Box { low, .. } => format!("{} reals", low.len()),
        Space::Image { shape: [height, width, channels] } => {
            format!("{height} x {width} x {channels} pixels")
        }
    }
}

fn envs() -> String {
    let mut out = head("Environments");
    let width = IDS.iter().map(|e| e.id.len()).max().unwrap_or(0);
    let indent = format!("\n  {:width$}  ", "");
    let dim = Style::new().dim();
    for spec in IDS {
        let Ok(env) = rederive::env::make(spec.id) else { continue };
        let id = Style::new().cyan().apply_to(format!("{:<width$}", spec.id));
        let _ = write!(out, "  {id}  {}", beside(spec.description, width, &indent));
        let observation = size(&env.observation_space(), "states");
        let mut facts = vec![format!("{observation} -> {}", size(&env.action_space(), "actions"))];
        facts.extend(spec.max_steps.map(|steps| format!("{steps} steps")));
        facts.extend(spec.reward_threshold.map(|threshold| format!("solved at {threshold}")));
        facts.extend((!spec.aliases.is_empty()).then(|| format!("also {}", spec.aliases.join(", "))));
        let _ = write!(out, "{indent}{}", dim.apply_to(beside(&facts.join(" · "), width, &indent)));
        if !spec.options.is_empty() {
            let names: Vec<&str> = spec.options.iter().map(|option| option.name).collect();
            let options = format!("options {}", names.join(", "));
            let _ = write!(out, "{indent}{}", dim.apply_to(beside(&options, width, &indent)));
        }
        out.push('\n');
    }
    out + "\n  Options are part of the ID, as in 'FrozenLake-v1?map=8x8&slippery=false';\n  all have max_steps.\n"
}

/// `text` broken into lines that fit beside a column of `width` characters.
fn beside(text: &str, width: usize, indent: &str) -> String {
    wrap(text, report::columns().unwrap_or(120).saturating_sub(width + 4), indent)
}

fn envs_json() -> Value {
    let row = |spec: &rederive::env::EnvSpec| {
        let spaces =
            rederive::env::make(spec.id).ok().map(|env| (env.observation_space(), env.action_space()));
        let (observation, action) = spaces.unzip();
        let option = |o: &rederive::env::EnvOption| json!({ "name": o.name, "default": o.default, "allowed": o.allowed });
        let options: Vec<Value> =
            spec.options.iter().chain([&rederive::env::MAX_STEPS]).map(option).collect();
        json!({ "id": spec.id, "aliases": spec.aliases, "description": spec.description,
                "reward_threshold": spec.reward_threshold, "max_steps": spec.max_steps, "options": options,
                "observation_space": observation, "action_space": action })
    };
    IDS.iter().map(row).collect()
}

/// The IDs in the order of the ledger, each with its properties.
fn by_id() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut rows: Vec<(&str, Vec<&str>)> = Vec::new();
    for check in rederive_tests::registry() {
        match rows.iter_mut().find(|(id, _)| *id == check.id) {
            Some((_, properties)) => properties.push(check.property),
            None => rows.push((check.id, vec![check.property])),
        }
    }
    rows
}

fn equations() -> String {
    let rows = by_id();
    let checks: usize = rows.iter().map(|(_, properties)| properties.len()).sum();
    let mut out = head(&format!("{} equations, {checks} checked properties", rows.len()));
    let width = rows.iter().map(|(id, _)| id.len()).max().unwrap_or(0);
    for (id, properties) in rows {
        let id = Style::new().cyan().apply_to(format!("{id:<width$}"));
        let indent = format!("\n  {:width$}  ", "");
        let _ = writeln!(out, "  {id}  {}", beside(&properties.join(", "), width, &indent));
    }
    out
}

/// Breaks `text` between words so that a line has at most `width` characters where words allow it.
fn wrap(text: &str, width: usize, break_: &str) -> String {
    let (mut out, mut used) = (String::new(), 0);
    for word in text.split(' ') {
        if used > 0 && used + 1 + word.chars().count() > width {
            out.push_str(break_);
            used = 0;
        } else if used > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += word.chars().count();
    }
    out
}

fn equations_json() -> Value {
    by_id().into_iter().map(|(id, properties)| json!({ "id": id, "properties": properties })).collect()
}
