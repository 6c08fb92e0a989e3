//! `rederive solve`: a finite process from an environment, a file or a generator, solved exactly.

use super::args::{Method, SolveArgs};
use super::heat::{Colors, Heat};
use super::report::{self, Failure, counted, duration, grouped, short};
use super::verify::cores;
use console::{Style, Term};
use rederive::env::generate::Generator;
use rederive::env::{AnyMdp, Grid, IDS, Mdp, finite_table, make, read_mdp, spec};
use rederive::math::Real;
use rederive::tabular::{self, FiniteHorizon, Options, SoftSolution, Solution, SolveError};
use rederive::train::{ConfigError, write_file};
use serde_json::json;
use std::fmt::Write as _;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What is solved.
struct Source {
    name: String,
    mdp: AnyMdp,
    grid: Option<Grid>,
    /// The distribution of the first state, if the source has one.
    start: Option<Vec<f64>>,
    /// After how many steps an episode is cut off, if the source says so.
    max_steps: Option<u32>,
}

/// What comes out, whatever the method.
struct Answer {
    value: Vec<f64>,
    /// The best action of every state; the likeliest one of a stochastic policy, the first one of a sequence.
    policy: Vec<u32>,
    detail: Detail,
    iterations: u64,
    sweeps: f64,
    residual: f64,
    error_bound: f64,
    seconds: f64,
}

/// What some methods have besides a value and an action per state.
enum Detail {
    Plain,
    /// The probability of every pair, and where the pairs of each state begin.
    Soft {
        probs: Vec<f64>,
        first_pair: Vec<u32>,
        temperature: f64,
    },
    Finite(FiniteHorizon),
}

/// Where the solution also goes.
enum Out {
    Json(PathBuf),
    Svg(PathBuf),
}

pub fn run(args: SolveArgs) -> Result<(), Failure> {
    let out = args.out.as_deref().map(ending).transpose()?;
    if let Some(path) = &args.export
        && !is_process(path)
    {
        return Err(Failure::Input(format!("--export {}: must end in .json or .npz", path.display())));
    }
    let threads = args.threads.map_or_else(cores, usize::from);
    refuse_unused(&args)?;
    let source = open(&args.source, threads)?;
    if let (Some(Out::Svg(path)), None) = (&out, &source.grid) {
        return Err(Failure::Input(format!(
            "--out {}: {} has no board to draw; must end in .json",
            path.display(),
            source.name
        )));
    }
    if let Some(path) = &args.export {
        write_file(path, |out| export(&source, path, out))?;
        report::note(format_args!("-> {}", path.display()));
    }
    let gamma = args.gamma.unwrap_or(if args.method == Method::Finite { 1.0 } else { 0.99 });
    let options = Options { threads, tol: args.tol.unwrap_or(1e-6), ..Options::new(gamma) };
    let (method, answer) = match &source.mdp {
        AnyMdp::F32(mdp) => solve(mdp, &source, &args, &options)?,
        AnyMdp::F64(mdp) => solve(mdp, &source, &args, &options)?,
    };
    let report = Report { source: &source, method, gamma, answer: &answer };
    match &out {
        Some(Out::Json(path)) => write_file(path, |out| report.json(out))?,
        Some(Out::Svg(path)) => write_file(path, |out| out.write_all(report.svg().as_bytes()))?,
        None => {}
    }
    if args.json {
        let mut stdout = BufWriter::new(io::stdout().lock());
        match report.json(&mut stdout).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                return Err(Failure::Run(format!("standard output: {error}")));
            }
            _ => {}
        }
    } else {
        report::stdout(&report.text())?;
    }
    if let Some(Out::Json(path) | Out::Svg(path)) = &out {
        report::note(format_args!("-> {}", path.display()));
    }
    Ok(())
}

fn ending(path: &Path) -> Result<Out, Failure> {
    match path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).as_deref() {
        Some("json") => Ok(Out::Json(path.to_owned())),
        Some("svg") => Ok(Out::Svg(path.to_owned())),
        _ => Err(Failure::Input(format!("--out {}: must end in .json or .svg", path.display()))),
    }
}

/// Whether a file's name is that of a process.
fn is_process(path: &Path) -> bool {
    ["json", "npz"].iter().any(|e| path.extension().is_some_and(|own| own.eq_ignore_ascii_case(e)))
}

/// Writes a process in the layout that the file's name asks for.
fn export(source: &Source, path: &Path, out: &mut dyn Write) -> io::Result<()> {
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz")) {
        return source.mdp.to_npz(out);
    }
    match (&source.mdp, finite_table(&source.name)) {
        // The table also knows where an ending leads to.
        (_, Some(table)) => table.to_json(out),
        (AnyMdp::F32(mdp), None) => mdp.to_json(out),
        (AnyMdp::F64(mdp), None) => mdp.to_json(out),
    }
}

/// An option that the method does not look at is a mistake of some kind.
fn refuse_unused(args: &SolveArgs) -> Result<(), ConfigError> {
    let method = args.method;
    let absent = |field, value: Option<String>, when: &str, fits: bool| match value {
        Some(value) if !fits => Err(ConfigError::new(field, value, format_args!("absent {when}"))),
        _ => Ok(()),
    };
    let soft = method == Method::Soft;
    absent(
        "horizon",
        args.horizon.map(|h| h.to_string()),
        "without --method finite",
        method == Method::Finite,
    )?;
    absent("temperature", args.temperature.map(|t| t.to_string()), "without --method soft", soft)?;
    absent("seed", args.seed.map(|s| s.to_string()), "without --method rtdp", method == Method::Rtdp)?;
    absent(
        "tol",
        args.tol.map(|t| t.to_string()),
        "with --method finite, which is exact",
        method != Method::Finite,
    )
}

fn open(name: &str, threads: usize) -> Result<Source, Failure> {
    let named = |mdp, grid, start, max_steps| Source { name: name.to_owned(), mdp, grid, start, max_steps };
    if let Some(generator) = Generator::parse(name) {
        let generator = generator.map_err(|e| Failure::Input(e.to_string()))?;
        let mdp = match generator {
            // The same process as in double precision, in half the memory.
            Generator::Random { .. } | Generator::Cycle { .. } => AnyMdp::F32(generator.make(threads)),
            _ => AnyMdp::F64(generator.make(threads)),
        };
        let start = generator.start().map(|state| {
            let mut start = vec![0.0; mdp.num_states()];
            start[state as usize] = 1.0;
            start
        });
        return Ok(named(mdp, generator.grid(), start, None));
    }
    let path = Path::new(name);
    if is_process(path) || path.exists() {
        return Ok(named(read_mdp(path).map_err(|e| Failure::Input(e.to_string()))?, None, None, None));
    }
    match finite_table(name) {
        Some(table) => {
            let (grid, start) = (rederive::env::grid(name), Some(table.start().to_vec()));
            let limit = rederive::env::max_steps(name);
            Ok(named(Mdp::<f64>::from_table(&table).into(), grid, start, limit))
        }
        None => Err(Failure::Input(match make(name) {
            Ok(_) => {
                let finite = IDS.iter().filter(|spec| finite_table(spec.id).is_some());
                let finite: Vec<&str> = finite.map(|spec| spec.id).collect();
                let id = spec(name).map_or(name, |spec| spec.id);
                format!("{id} has infinitely many states; there are finitely many in {}", finite.join(", "))
            }
            Err(error) => error.to_string(),
        })),
    }
}

/// The most numbers that the answer to a finite horizon may have.
const MAX_FINITE: u64 = 1 << 30;

fn solve<P: Real>(
    mdp: &Mdp<P>,
    source: &Source,
    args: &SolveArgs,
    options: &Options,
) -> Result<(Method, Answer), Failure> {
    let method = match args.method {
        Method::Auto if tabular::news_travel_far(mdp, options.gamma) => Method::Ipi,
        Method::Auto => Method::Mpi,
        method => method,
    };
    let begun = Instant::now();
    let plain = |solution: Result<Solution, SolveError>| {
        solution.map(|s| {
            let Solution { value, policy, iterations, sweeps, residual, error_bound, .. } = s;
            let seconds = begun.elapsed().as_secs_f64();
            Answer {
                value,
                policy,
                detail: Detail::Plain,
                iterations,
                sweeps,
                residual,
                error_bound,
                seconds,
            }
        })
    };
    let answer = match method {
        Method::Vi => plain(tabular::value_iteration(mdp, options)),
        Method::Gs => plain(tabular::gauss_seidel(mdp, options)),
        Method::Pi => plain(tabular::policy_iteration(mdp, options)),
        Method::Auto | Method::Mpi => plain(tabular::modified_policy_iteration(mdp, options)),
        Method::Ipi => plain(tabular::inexact_policy_iteration(mdp, options)),
        Method::Ps => plain(tabular::prioritized_sweeping(mdp, options)),
        Method::Rtdp => {
            let n = mdp.num_states();
            let uniform = || vec![1.0 / n as f64; n];
            let start = source.start.clone().unwrap_or_else(uniform);
            plain(tabular::rtdp(mdp, &start, options, args.seed.unwrap_or(1)))
        }
        Method::Soft => {
            let temperature = args.temperature.unwrap_or(0.1);
            tabular::soft_policy_iteration(mdp, temperature, options).map(|solution| {
                let SoftSolution { value, policy: probs, iterations, sweeps, residual, error_bound, .. } =
                    solution;
                let seconds = begun.elapsed().as_secs_f64();
                let policy = (0..mdp.num_states()).map(|s| likeliest(&probs[mdp.pairs(s)])).collect();
                let detail = Detail::Soft { probs, first_pair: mdp.first_pair().to_vec(), temperature };
                Answer { value, policy, detail, iterations, sweeps, residual, error_bound, seconds }
            })
        }
        Method::Finite => {
            let horizon = horizon(mdp.num_states(), source, args)?;
            tabular::finite_horizon(mdp, horizon, options.gamma, options.threads).map(|solution| {
                let seconds = begun.elapsed().as_secs_f64();
                Answer {
                    value: solution.value.row(horizon).to_vec(),
                    policy: solution.policy.row(horizon - 1).to_vec(),
                    iterations: horizon as u64,
                    sweeps: horizon as f64,
                    residual: 0.0,
                    error_bound: solution.error_bound,
                    detail: Detail::Finite(solution),
                    seconds,
                }
            })
        }
    };
    answer.map(|answer| (method, answer)).map_err(|error| match error {
        SolveError::MaxIterations { .. } => Failure::Run(error.to_string()),
        _ => Failure::Input(error.to_string()),
    })
}

fn horizon(num_states: usize, source: &Source, args: &SolveArgs) -> Result<usize, ConfigError> {
    let most = MAX_FINITE / num_states as u64;
    match args.horizon.or(source.max_steps.map(u64::from)) {
        None => {
            let allowed = format!(
                "a whole number in 1..={most}: {} has no time limit to take in its place",
                source.name
            );
            Err(ConfigError::new("horizon", "none", allowed))
        }
        Some(horizon) if horizon > most => {
            let allowed = format!("in 1..={most} for {num_states} states, whose values are all kept");
            Err(ConfigError::new("horizon", horizon, allowed))
        }
        Some(horizon) => Ok(horizon as usize),
    }
}

/// The first of the largest.
fn likeliest(probs: &[f64]) -> u32 {
    let best = (0..probs.len()).fold(0, |best, a| if probs[a] > probs[best] { a } else { best });
    best as u32
}

fn entropy(probs: &[f64]) -> f64 {
    -probs.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>()
}

fn name(method: Method) -> (&'static str, &'static str) {
    match method {
        Method::Auto => ("auto", "whichever suits"),
        Method::Vi => ("vi", "value iteration"),
        Method::Gs => ("gs", "Gauss-Seidel value iteration"),
        Method::Pi => ("pi", "policy iteration"),
        Method::Mpi => ("mpi", "modified policy iteration"),
        Method::Ipi => ("ipi", "inexact policy iteration"),
        Method::Ps => ("ps", "prioritised sweeping"),
        Method::Rtdp => ("rtdp", "real-time dynamic programming"),
        Method::Soft => ("soft", "soft policy iteration"),
        Method::Finite => ("finite", "backward induction"),
    }
}

struct Report<'a> {
    source: &'a Source,
    method: Method,
    gamma: f64,
    answer: &'a Answer,
}

impl Report<'_> {
    /// The document of `--json`, written piece by piece: there may be many states.
    fn json(&self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let Answer { value, policy, detail, iterations, sweeps, residual, error_bound, seconds } =
            self.answer;
        let (states, actions) = (self.source.mdp.num_states(), self.source.mdp.num_actions());
        let mut fields = vec![
            ("source", json!(self.source.name)),
            ("states", json!(states)),
            ("actions", json!(actions)),
            ("gamma", json!(self.gamma)),
            ("method", json!(name(self.method).0)),
        ];
        match detail {
            Detail::Plain => {}
            Detail::Soft { temperature, .. } => fields.push(("temperature", json!(temperature))),
            Detail::Finite(solution) => fields.push(("horizon", json!(solution.policy.nrows()))),
        }
        fields.extend([
            ("iterations", json!(iterations)),
            ("sweeps", json!(sweeps)),
            ("residual", json!(residual)),
            ("error_bound", json!(error_bound)),
            ("wall_seconds", json!(seconds)),
        ]);
        if let Some(start) = &self.source.start {
            let mean = start.iter().zip(value).map(|(p, v)| p * v).sum::<f64>();
            fields.push(("start_value", json!(mean)));
        }
        writeln!(out, "{{")?;
        for (field, value) in fields {
            writeln!(out, "  \"{field}\": {value},")?;
        }
        write!(out, "  \"v\": ")?;
        serde_json::to_writer(&mut *out, value)?;
        write!(out, ",\n  \"policy\": ")?;
        match detail {
            Detail::Plain => serde_json::to_writer(&mut *out, policy)?,
            Detail::Soft { probs, first_pair, .. } => {
                let rows = first_pair.windows(2).map(|w| &probs[w[0] as usize..w[1] as usize]);
                list(out, rows, |out, row| Ok(serde_json::to_writer(out, row)?))?;
            }
            Detail::Finite(solution) => {
                // In the order of time: the first decision has all the others still to come.
                let rows = solution.policy.rows().into_iter().rev();
                list(out, rows, |out, row| Ok(serde_json::to_writer(out, &row.to_vec())?))?;
            }
        }
        writeln!(out, "\n}}")
    }

    fn text(&self) -> String {
        let Answer { iterations, sweeps, residual, error_bound, seconds, .. } = self.answer;
        let bold = Style::new().bold();
        let mut out = format!(
            "{}: {}, {}, gamma {}\n",
            bold.apply_to(&self.source.name),
            many(self.source.mdp.num_states(), "state"),
            counted(self.source.mdp.num_actions(), "action"),
            self.gamma
        );
        let (_, method) = name(self.method);
        let how = match &self.answer.detail {
            Detail::Plain => String::new(),
            Detail::Soft { temperature, .. } => format!(" at temperature {temperature}"),
            Detail::Finite(_) => format!(" over {}", counted(*iterations as usize, "decision")),
        };
        let work = match self.method {
            Method::Finite => String::new(),
            _ => format!(
                "{}, {} sweeps, residual {residual:.1e}, ",
                many(*iterations as usize, "iteration"),
                rounded(*sweeps)
            ),
        };
        let bound = bold.apply_to(format!("{error_bound:.1e}"));
        let where_ = if self.method == Method::Rtdp { " in the mean over start states" } else { "" };
        let _ = writeln!(out, "{method}{how}: {work}error at most {bound}{where_}, {}\n", duration(*seconds));
        match &self.source.grid {
            Some(grid) => {
                let heat = Heat::new(grid, &self.answer.value, &self.answer.policy);
                out += &heat.text(report::columns().unwrap_or(100), colors());
            }
            None => out += &self.table(),
        }
        out + &self.epilogue()
    }

    /// The value of the start, and what else a method has to say.
    fn epilogue(&self) -> String {
        let Answer { value, detail, .. } = self.answer;
        let mut out = String::new();
        if let Some(start) = &self.source.start {
            let mean: f64 = start.iter().zip(value).map(|(p, v)| p * v).sum();
            let _ = writeln!(out, "\nvalue at the start {}", Style::new().bold().apply_to(short(mean)));
        }
        match detail {
            Detail::Plain => {}
            Detail::Soft { probs, first_pair, .. } => {
                if self.source.grid.is_some() {
                    out.push('\n');
                    out += &self.table();
                }
                let rows = first_pair.windows(2).map(|w| entropy(&probs[w[0] as usize..w[1] as usize]));
                let mean = rows.sum::<f64>() / value.len() as f64;
                let _ = writeln!(out, "mean entropy of the policy {} nats", short(mean));
            }
            Detail::Finite(solution) => {
                let (horizon, states) = solution.policy.dim();
                let (first, last) = (solution.policy.row(horizon - 1), solution.policy.row(0));
                let differ = first.iter().zip(last).filter(|(a, b)| a != b).count();
                if horizon == 1 {
                    return out;
                }
                let _ = writeln!(
                    out,
                    "shown are the values and the actions with all {horizon} decisions to come; with one left, the best \
                     action is another in {differ} of {states} states"
                );
            }
        }
        out
    }

    /// The first and the last states.
    fn table(&self) -> String {
        let Answer { value, policy, detail, .. } = self.answer;
        let signs = self.source.grid.as_ref().map(|grid| &grid.actions);
        let mut out = match detail {
            Detail::Soft { .. } => {
                format!("{:>10}  {:>11}  {:>7}  probabilities\n", "state", "value", "entropy")
            }
            _ => format!("{:>10}  {:>11}  action\n", "state", "value"),
        };
        out = Style::new().bold().apply_to(out.trim_end()).to_string() + "\n";
        for s in shown(value.len()) {
            let Some(s) = s else {
                let _ = writeln!(out, "{:>10}", "...");
                continue;
            };
            let _ = write!(out, "{s:>10}  {:>11}  ", short(value[s]));
            match detail {
                Detail::Soft { probs, first_pair, .. } => {
                    let probs = &probs[first_pair[s] as usize..first_pair[s + 1] as usize];
                    let _ = write!(out, "{:>7.3}  ", entropy(probs));
                    for (a, prob) in probs.iter().enumerate().take(MAX_PROBS) {
                        let sign = signs.map_or_else(String::new, |signs| format!("{} ", signs[a].sign()));
                        let _ = write!(out, "{sign}{prob:.3} ");
                    }
                    let more = if probs.len() > MAX_PROBS { "..." } else { "" };
                    out = out.trim_end().to_owned() + more + "\n";
                }
                _ => {
                    let _ = writeln!(out, "{:>6}", policy[s]);
                }
            }
        }
        out
    }

    fn svg(&self) -> String {
        let title = format!(
            "{} · gamma {} · {} · error at most {:.0e}",
            self.source.name,
            self.gamma,
            name(self.method).1,
            self.answer.error_bound
        );
        let Some(grid) = &self.source.grid else { return String::new() };
        Heat::new(grid, &self.answer.value, &self.answer.policy).svg(&title)
    }
}

/// The most probabilities that fit into a line.
const MAX_PROBS: usize = 8;

/// All states if there are few; the first and the last, with a gap between them, if there are many.
fn shown(states: usize) -> Vec<Option<usize>> {
    if states <= 20 {
        return (0..states).map(Some).collect();
    }
    (0..10).map(Some).chain([None]).chain((states - 5..states).map(Some)).collect()
}

fn list<T, W: Write + ?Sized>(
    out: &mut W,
    items: impl Iterator<Item = T>,
    write: impl Fn(&mut W, T) -> io::Result<()>,
) -> io::Result<()> {
    for (i, item) in items.enumerate() {
        write!(out, "{}", if i == 0 { '[' } else { ',' })?;
        write(out, item)?;
    }
    write!(out, "]")
}

/// `1 000 000 states`.
fn many(n: usize, thing: &str) -> String {
    format!("{} {thing}{}", grouped(n as u64), if n == 1 { "" } else { "s" })
}

fn rounded(sweeps: f64) -> String {
    if sweeps < 100.0 { format!("{sweeps:.1}") } else { grouped(sweeps.round() as u64) }
}

/// How many colours standard output shows.
fn colors() -> Colors {
    let all = |value: String| ["truecolor", "24bit"].contains(&value.as_str());
    if !console::colors_enabled() || !Term::stdout().is_term() {
        Colors::None
    } else if std::env::var("COLORTERM").is_ok_and(all) {
        Colors::All
    } else {
        Colors::Few
    }
}
