//! What a run is made of: algorithm, environment, seed, steps and the algorithm's configuration, from the algorithm's
//! defaults, a preset, a file, `--set` and the other flags, the later the stronger.

use super::args::{self, TrainArgs};
use super::report::Failure;
use super::suggest::{did_you_mean, translate};
use rederive::algorithms::{ALGORITHMS, Algorithm, algorithm};
use rederive::env::Space;
use rederive::train::{ConfigError, FormatError, RunSpec};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    Preset(String),
    File(PathBuf, Position),
    Set,
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Preset(name) => write!(f, "preset {name}"),
            Origin::File(path, position) => write!(f, "{}, {position}", path.display()),
            Origin::Set => write!(f, "--set"),
            Origin::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

/// A line and a column, from 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    line: usize,
    column: usize,
}

impl Position {
    fn of(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |i| i + 1);
        Position { line: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A resolved run.
#[derive(Clone, Debug)]
pub struct Settings {
    pub algo: &'static Algorithm,
    /// The environment's ID.
    pub env: String,
    pub preset: String,
    pub seed: u64,
    pub steps: u64,
    /// The mean return that counts as solved.
    pub threshold: Option<f64>,
    /// The algorithm's configuration, every field in it.
    pub fields: Table,
    origins: BTreeMap<String, Origin>,
}

/// The fields of a run that are not its algorithm's.
const RUN_FIELDS: [&str; 6] = ["algo", "env", "preset", "seed", "steps", "threshold"];

impl Settings {
    /// Resolves the arguments of `train`.
    pub fn resolve(args: &TrainArgs) -> Result<Self, Failure> {
        let file = args.config.as_deref().map(File::read).transpose()?;
        Self::merge(args, file)
    }

    fn merge(args: &TrainArgs, file: Option<File>) -> Result<Self, Failure> {
        let from_file = |field: &str| file.as_ref().map_or(Ok(None), |f| f.string(field));

        let named = from_file("algo")?;
        let algo = match (&args.algo, &named) {
            (Some(argument), Some((text, origin))) if argument != text => {
                return Err(Failure::Input(format!("algorithm {argument}: {origin} is for {text}")));
            }
            (Some(argument), _) => find_algorithm(argument, None)?,
            (None, Some((text, origin))) => find_algorithm(text, Some(origin))?,
            (None, None) => return Err(missing("an algorithm", "rederive train ppo CartPole-v1")),
        };

        let (env, action_space) = match (&args.env, from_file("env")?) {
            (Some(id), _) => find_env(id, None)?,
            (None, Some((id, origin))) => find_env(&id, Some(&origin))?,
            (None, None) => {
                return Err(missing("an environment", &format!("rederive train {} CartPole-v1", algo.name)));
            }
        };
        if !(algo.fits)(&action_space) {
            return Err(Failure::Input(algo.misfit(&env, &action_space)));
        }

        let (preset, preset_origin) = match (&args.preset, from_file("preset")?) {
            (Some(name), _) => (name.clone(), Origin::Flag("--preset")),
            (None, Some((name, origin))) => (name, origin),
            (None, None) => (algo.presets[0].0.to_owned(), Origin::Flag("--preset")),
        };

        let mut layers = Layers { algo, values: Table::new(), origins: BTreeMap::new() };
        for (field, value) in preset_values(algo, &preset, &preset_origin, &env, &action_space)? {
            layers.put(field, value, Origin::Preset(preset.clone()))?;
        }
        if let Some(file) = file {
            for (field, value) in file.values {
                let origin = Origin::File(file.path.clone(), file.positions[&field]);
                if !matches!(field.as_str(), "algo" | "env" | "preset") {
                    layers.put(field, value, origin)?;
                }
            }
        }
        for (field, text) in &args.set {
            match field.as_str() {
                "algo" | "env" => {
                    return Err(Failure::Input(format!(
                        "--set {field}: the {field} is an argument, not a field"
                    )));
                }
                "preset" => return Err(Failure::Input("--set preset: use --preset".to_owned())),
                _ => layers.put(field.clone(), parse_value(field, text), Origin::Set)?,
            }
        }
        if let Some(seed) = args.seed {
            layers.put("seed".to_owned(), Value::Integer(seed as i64), Origin::Flag("--seed"))?;
        }
        if let Some(steps) = args.steps {
            layers.put("steps".to_owned(), Value::Integer(steps as i64), Origin::Flag("--steps"))?;
        }

        let seed = layers.take_integer("seed", 1, 0, "a whole number, not negative")?;
        let steps = layers.take_integer("steps", 100_000, 1, "a whole number, at least 1")?;
        let threshold = layers.take_threshold()?.or_else(|| {
            // With other options it is another environment, of which nobody said what counts as solved.
            rederive::env::IDS.iter().find(|spec| spec.id == env).and_then(|spec| spec.reward_threshold)
        });
        let Layers { values, origins, .. } = layers;
        let fields = algo.complete(&values).map_err(|e| with_origin(&e, &origins))?;
        Ok(Settings { algo, env, preset, seed, steps, threshold, fields, origins })
    }

    /// A configuration's error, with where the value came from.
    pub fn input_error(&self, error: &ConfigError) -> Failure {
        with_origin(error, &self.origins)
    }

    /// The run with another seed.
    pub fn spec(&self, seed: u64) -> RunSpec {
        RunSpec {
            algo: self.algo.name.to_owned(),
            env: self.env.clone(),
            seed,
            steps: self.steps,
            threshold: self.threshold,
            config: self.fields.clone(),
        }
    }

    /// Every value, as a file that `--config` takes, with the algorithm's fields in its own order.
    pub fn to_toml(&self) -> String {
        let mut lines = vec![
            format!("algo = {}", quoted(self.algo.name)),
            format!("env = {}", quoted(&self.env)),
            format!("seed = {}", self.seed),
            format!("steps = {}", self.steps),
        ];
        lines.extend(self.threshold.map(|threshold| format!("threshold = {}", Value::Float(threshold))));
        lines.push(format!("\n[config] # {}, from preset {}", self.algo.name, self.preset));
        for &field in (self.algo.fields)() {
            if let Some(value) = self.fields.get(field) {
                lines.push(format!("{field} = {value}"));
            }
        }
        lines.join("\n") + "\n"
    }

    /// Every value, as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        let field = |(name, value): (&String, &Value)| {
            let none = value.as_str() == Some("none");
            (name.clone(), if none { serde_json::Value::Null } else { serde_json::json!(value) })
        };
        serde_json::json!({
            "algo": self.algo.name,
            "env": self.env,
            "preset": self.preset,
            "seed": self.seed,
            "steps": self.steps,
            "threshold": self.threshold,
            "config": self.fields.iter().map(field).collect::<serde_json::Map<_, _>>(),
        })
    }
}

fn quoted(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn missing(what: &str, example: &str) -> Failure {
    Failure::Input(format!("{what} is missing, as in `{example}`; `rederive list` shows what there is"))
}

fn with_origin(error: &ConfigError, origins: &BTreeMap<String, Origin>) -> Failure {
    match origins.get(&error.field) {
        Some(origin) => Failure::Input(format!("{error} ({origin})")),
        None => Failure::Input(error.to_string()),
    }
}

/// The algorithm called `name`.
pub fn find_algorithm(name: &str, origin: Option<&Origin>) -> Result<&'static Algorithm, Failure> {
    algorithm(name).ok_or_else(|| {
        let names = ALGORITHMS.iter().map(|a| a.name);
        let all = names.clone().collect::<Vec<_>>().join(", ");
        let near = did_you_mean(name, names);
        Failure::Input(format!("{}unknown algorithm `{name}`{near} (there are: {all})", place(origin)))
    })
}

/// The canonical ID and the action space of an environment.
fn find_env(id: &str, origin: Option<&Origin>) -> Result<(String, Space), Failure> {
    match rederive::env::make_vec(id, 1) {
        Ok(env) => Ok((env.id().to_owned(), env.action_space().clone())),
        Err(error) => Err(Failure::Input(format!("{}{error}", place(origin)))),
    }
}

/// `run.toml, line 3, column 1: `, or nothing.
fn place(origin: Option<&Origin>) -> String {
    origin.map_or_else(String::new, |origin| format!("{origin}: "))
}

/// The values of a preset for an environment: those for its kind of actions, then those for the environment itself.
fn preset_values(
    algo: &Algorithm,
    name: &str,
    origin: &Origin,
    env: &str,
    action: &Space,
) -> Result<Table, Failure> {
    let text = algo.preset(name).ok_or_else(|| {
        let names = algo.presets.iter().map(|(name, _)| *name);
        let near = did_you_mean(name, names.clone());
        let all = names.collect::<Vec<_>>().join(", ");
        Failure::Input(format!("{origin}: unknown preset `{name}`{near} ({} has: {all})", algo.name))
    })?;
    let mut preset: Table = text.parse().map_err(|e| Failure::Input(format!("preset {name}: {e}")))?;
    let kind = if matches!(action, Space::Box { .. }) { "continuous" } else { "discrete" };
    let mut values = Table::new();
    for key in [kind, rederive::env::spec(env).map_or(env, |spec| spec.id)] {
        if let Some(Value::Table(part)) = preset.remove(key) {
            values.extend(part);
        }
    }
    Ok(values)
}

/// A value of `--set`: TOML, or a string without its quotes.
fn parse_value(field: &str, text: &str) -> Value {
    if field == "steps"
        && let Ok(steps) = args::steps(text)
    {
        return Value::Integer(steps as i64);
    }
    match format!("value = {text}").parse::<Table>() {
        Ok(mut table) if table.len() == 1 => table.remove("value").unwrap_or_else(|| quoted(text)),
        _ => quoted(text),
    }
}

/// Values with their origins; a later one replaces an earlier one.
struct Layers {
    algo: &'static Algorithm,
    values: Table,
    origins: BTreeMap<String, Origin>,
}

impl Layers {
    fn put(&mut self, field: String, value: Value, origin: Origin) -> Result<(), Failure> {
        let known = (self.algo.fields)();
        if !known.contains(&field.as_str()) && !RUN_FIELDS.contains(&field.as_str()) {
            let near =
                match translate(&field).filter(|ours| known.contains(ours) || RUN_FIELDS.contains(ours)) {
                    Some(ours) => format!("; did you mean `{ours}`?"),
                    None => did_you_mean(&field, known.iter().copied().chain(RUN_FIELDS)),
                };
            let hint = "--print-config shows all";
            return Err(Failure::Input(format!("{origin}: unknown field `{field}`{near} ({hint})")));
        }
        self.origins.insert(field.clone(), origin);
        self.values.insert(field, value);
        Ok(())
    }

    fn take_integer(&mut self, field: &str, default: u64, min: i64, allowed: &str) -> Result<u64, Failure> {
        match self.values.remove(field) {
            None => Ok(default),
            Some(Value::Integer(n)) if n >= min => Ok(n as u64),
            Some(other) => Err(with_origin(&ConfigError::new(field, other, allowed), &self.origins)),
        }
    }

    fn take_threshold(&mut self) -> Result<Option<f64>, Failure> {
        match self.values.remove("threshold") {
            None => Ok(None),
            Some(Value::Float(x)) if x.is_finite() => Ok(Some(x)),
            Some(Value::Integer(n)) => Ok(Some(n as f64)),
            Some(other) => {
                Err(with_origin(&ConfigError::new("threshold", other, "a finite number"), &self.origins))
            }
        }
    }
}

/// A configuration file: the run's fields, and the algorithm's in a table `config` or beside them.
struct File {
    path: PathBuf,
    /// All fields together.
    values: Table,
    positions: BTreeMap<String, Position>,
}

impl File {
    fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|e| FormatError::io(path, "can't be read", &e))?;
        let problem = |error: toml::de::Error| {
            let position = error.span().map(|span| Position::of(&text, span.start));
            let excerpt = position.and_then(|p| text.lines().nth(p.line - 1).map(|line| excerpt(line, p)));
            let problem = format!("{}{}", error.message().replace('\n', ", "), excerpt.unwrap_or_default());
            FormatError { path: path.to_owned(), position: position.map(|p| p.to_string()), problem }
        };
        let spans = toml::de::DeTable::parse(&text).map_err(problem)?;
        let mut positions = BTreeMap::new();
        note_positions(&text, spans.get_ref(), &mut positions);
        if let Some(config) = spans.get_ref().get("config").and_then(|value| value.get_ref().as_table()) {
            note_positions(&text, config, &mut positions);
        }
        let mut values: Table = text.parse().map_err(problem)?;
        match values.remove("config") {
            Some(Value::Table(config)) => {
                if let Some(twice) = config.keys().find(|key| values.contains_key(*key)) {
                    let place = Origin::File(path.to_owned(), positions[twice]);
                    return Err(Failure::Input(format!("{place}: `{twice}` is given twice")));
                }
                values.extend(config);
            }
            Some(other) => {
                let origin = Origin::File(path.to_owned(), positions["config"]);
                let error = ConfigError::new("config", other, "a table of the algorithm's fields");
                return Err(Failure::Input(format!("{error} ({origin})")));
            }
            None => {}
        }
        Ok(File { path: path.to_owned(), values, positions })
    }

    fn string(&self, field: &str) -> Result<Option<(String, Origin)>, Failure> {
        let Some(value) = self.values.get(field) else { return Ok(None) };
        let origin = Origin::File(self.path.clone(), self.positions[field]);
        match value {
            Value::String(text) => Ok(Some((text.clone(), origin))),
            other => {
                Err(Failure::Input(format!("{} ({origin})", ConfigError::new(field, other, "a string"))))
            }
        }
    }
}

fn note_positions(text: &str, table: &toml::de::DeTable<'_>, positions: &mut BTreeMap<String, Position>) {
    for key in table.keys() {
        positions.insert(key.get_ref().to_string(), Position::of(text, key.span().start));
    }
}

/// The line with a mark under the column.
fn excerpt(line: &str, at: Position) -> String {
    let number = at.line.to_string();
    let margin = " ".repeat(number.len());
    format!("\n  {margin} |\n  {number} | {line}\n  {margin} | {}^", " ".repeat(at.column - 1))
}
