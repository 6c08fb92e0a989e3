//! This project's own entry in the jobs that the command line has no command for: `rederive-peer gae`,
//! `rederive-peer conv`, `rederive-peer env`, `rederive-peer q` and `rederive-peer dp DIR`, for which `rederive-peer dp-data DIR` writes the data. Prints one JSON line like the
//! peers beside it; the data and the shapes are those of `job.py`.

use ndarray::{Array2, Axis};
use rederive_env::{
    Actions, AnyMdp, End, Mdp, Stream, finite_table, generate::Generator, make_vec, read_mdp,
};
use rederive_math::gae::gae;
use rederive_nn::{Activation, Conv, ConvSpec, Input, Network, NetworkSpec};
use rederive_q_learning::{Config, Method, QLearning};
use rederive_tabular::{Options, solve};
use rederive_train::{EpisodeLog, Learner, Report};
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

const GAE_SHAPES: [(usize, usize); 3] = [(128, 8), (128, 4096), (2048, 2048)];
/// Channels of MinAtar's images.
const CONV_DEPTHS: [usize; 4] = [4, 6, 7, 10];
const CONV_BATCH: usize = 32;
const ENV_SIZES: [usize; 2] = [4, 4096];
const ACTION_ROWS: usize = 64;
const Q_ENVS: [&str; 2] = ["FrozenLake-v1", "Taxi-v3"];
const Q_STEPS: usize = 1_000_000;

/// The processes of the job `dp`, and when they count as solved.
const DP_CASES: [&str; 6] = [
    "random:100000x8x8",
    "random:1000000x4x4",
    "lake:300x300",
    "hill:300x300",
    "FrozenLake8x8-v1",
    "Taxi-v3",
];
const DP_OPTIONS: Options = Options { gamma: 0.99, tol: 1e-4, max_iterations: 1_000_000, threads: 1 };

fn main() {
    let start = Instant::now();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let cases: Vec<Value> = match arguments.first().map(String::as_str) {
        Some("gae") => GAE_SHAPES.iter().map(|&(steps, envs)| gae_case(steps, envs)).collect(),
        Some("conv") => [false, true]
            .iter()
            .flat_map(|&network| CONV_DEPTHS.iter().map(move |&depth| conv_case(depth, network)))
            .collect(),
        Some("env") => ENV_SIZES.iter().map(|&envs| env_case(envs)).collect(),
        Some("q") => Q_ENVS.iter().map(|id| q_case(id)).collect(),
        Some("dp-data") if arguments.len() == 2 => return dp_data(Path::new(&arguments[1])),
        Some("dp") if arguments.len() == 2 => {
            (0..DP_CASES.len()).map(|i| dp_case(Path::new(&arguments[1]), i)).collect()
        }
        _ => {
            eprintln!("usage: rederive-peer gae|conv|env|q|dp-data DIR|dp DIR");
            std::process::exit(2);
        }
    };
    let report = json!({
        "peer": "rederive",
        "version": env!("CARGO_PKG_VERSION"),
        "cases": cases,
        "inside_seconds": start.elapsed().as_secs_f64(),
    });
    println!("{report}");
}

fn gae_case(steps: usize, envs: usize) -> Value {
    let array = |salt: u32, scale: f32, offset: f32| {
        Array2::from_shape_fn((steps, envs), |(t, n)| uniform(t * envs + n, salt) * scale + offset)
    };
    let (reward, value, next_value) = (array(1, 1.0, 0.0), array(2, 10.0, -5.0), array(3, 10.0, -5.0));
    let end = array(4, 1.0, 0.0).mapv(|chance| match chance {
        c if c < 0.01 => End::Terminated,
        c if c < 0.02 => End::Truncated,
        _ => End::No,
    });
    // A value that is never written would show in the means.
    let mut advantage = Array2::from_elem((steps, envs), f32::NAN);
    let mut return_ = advantage.clone();
    let mut call = || gae(&reward, &value, &next_value, &end, 0.99, 0.95, &mut advantage, &mut return_);
    let seconds = seconds_per_call(&mut call, Duration::from_millis(500));
    let mean = |a: &Array2<f32>| a.iter().map(|&x| f64::from(x)).sum::<f64>() / a.len() as f64;
    let items = steps * envs;
    json!({
        "case": format!("{steps}x{envs}"),
        "items": items,
        "seconds": seconds,
        "items_per_second": items as f64 / seconds,
        "check": [mean(&advantage), mean(&return_)],
    })
}

/// The layer alone, or the network: the same weights in the same order, read as named views.
fn conv_case(depth: usize, whole: bool) -> Value {
    let spec = ConvSpec { channels: 16, kernel: 3, stride: 1, padding: 0 };
    let input = [10, 10, depth];
    let network = Network::new(&NetworkSpec {
        input: Input::Image(input),
        conv: vec![spec],
        hidden: vec![128],
        outputs: 6,
        activation: Activation::Relu,
        dueling: false,
    })
    .expect("a window fits");
    let conv = Conv::new(input, spec).expect("a window fits");
    let views = &network.layout().views()[..if whole { 6 } else { 2 }];
    let mut params = Vec::new();
    for (salt, view) in (3..).zip(views) {
        let rows = if view.shape.len() == 2 { view.shape[0] as f32 } else { 1.0 };
        params.extend((0..view.range.len()).map(|i| (uniform(i, salt) - 0.5) * 2.0 / rows.sqrt()));
    }
    let array = |columns: usize, salt: u32, offset: f32| {
        Array2::from_shape_fn((CONV_BATCH, columns), |(i, j)| uniform(i * columns + j, salt) + offset)
    };
    let x = array(conv.inputs(), 1, 0.0);
    let d_y = array(if whole { 6 } else { conv.outputs() }, 2, -0.5);
    let mut grad = vec![0.0f32; params.len()];
    let mut y = Array2::from_elem(d_y.dim(), f32::NAN);
    let seconds = if whole {
        let mut ws = network.workspace(CONV_BATCH);
        let mut call = || {
            y.assign(&network.forward(&params, &x, &mut ws));
            grad.fill(0.0);
            network.backward(&params, &x, &d_y, &mut ws, &mut grad);
        };
        seconds_per_call(&mut call, Duration::from_secs(1))
    } else {
        let mut ws = conv.workspace(CONV_BATCH);
        let (w, b) = params.split_at(views[0].range.len());
        let (x, d_y) = (x.as_slice().expect("contiguous"), d_y.as_slice().expect("contiguous"));
        let mut call = || {
            conv.forward(w, b, x, &mut ws, y.as_slice_mut().expect("contiguous"));
            grad.fill(0.0);
            let (d_w, d_b) = grad.split_at_mut(w.len());
            conv.backward(w, x, d_y, &mut ws, d_w, d_b, None);
        };
        seconds_per_call(&mut call, Duration::from_secs(1))
    };
    let mean = |values: &mut dyn Iterator<Item = f32>, power: i32| {
        let (sum, count) = values.fold((0.0, 0.0), |(sum, n), x| (sum + f64::from(x).powi(power), n + 1.0));
        sum / count
    };
    json!({
        "case": format!("{} 10x10x{depth}", if whole { "network" } else { "layer" }),
        "items": CONV_BATCH,
        "seconds": seconds,
        "items_per_second": CONV_BATCH as f64 / seconds,
        "check": [
            mean(&mut y.iter().copied(), 1),
            mean(&mut y.iter().copied(), 2),
            mean(&mut grad.iter().copied(), 2),
        ],
    })
}

fn q_case(id: &str) -> Value {
    let config =
        Config { num_steps: Q_STEPS / 100, alpha: 0.1, gamma: 0.99, epsilon: 0.1, ..Config::default() };
    let mut env = make_vec(id, 1).expect("the environment is built in");
    let mut agent = QLearning::new(Method::QLearning, config, env.as_ref(), 1).expect("it has a table");
    env.reset(1);
    let (mut episodes, mut report) = (EpisodeLog::new(1), Report::default());
    let mut call = || {
        for _ in 0..100 {
            agent.iterate(env.as_mut(), 0.0, &mut episodes, &mut report).expect("the values stay finite");
            episodes.drain();
        }
    };
    let seconds = seconds_per_call(&mut call, Duration::from_secs(2));
    let start = finite_table(id).expect("it is finite").start().to_vec();
    let best = agent.q().map_axis(Axis(1), |row| row.fold(f32::NEG_INFINITY, |a, &b| a.max(b)));
    let starts = start.iter().zip(&best).filter(|(prob, _)| **prob > 0.0).map(|(_, &value)| value);
    json!({
        "case": id,
        "items": Q_STEPS,
        "seconds": seconds,
        "items_per_second": Q_STEPS as f64 / seconds,
        "start_value": starts.clone().sum::<f32>() / starts.count() as f32,
    })
}

/// Writes the processes as `0.npz`, `1.npz`, ...
fn dp_data(folder: &Path) {
    for (i, source) in DP_CASES.iter().enumerate() {
        let mdp = match Generator::parse(source) {
            Some(generator) => generator.expect("the sources are sound").make::<f64>(1),
            None => Mdp::from_table(&finite_table(source).expect("the environment is built in")),
        };
        let file = File::create(folder.join(format!("{i}.npz"))).expect("the folder can be written to");
        mdp.to_npz(file).expect("the file can be written");
    }
}

fn dp_case(folder: &Path, index: usize) -> Value {
    let Ok(AnyMdp::F64(mdp)) = read_mdp(&folder.join(format!("{index}.npz"))) else {
        panic!("dp-data writes f64");
    };
    let solution = solve(&mdp, &DP_OPTIONS).expect("it can be solved");
    let seconds = seconds_per_call(&mut || drop(solve(&mdp, &DP_OPTIONS)), Duration::from_secs(1));
    json!({
        "case": DP_CASES[index],
        "items": 1,
        "seconds": seconds,
        "items_per_second": 1.0 / seconds,
        "iterations": solution.iterations,
        "check": [solution.value.iter().sum::<f64>() / solution.value.len() as f64],
    })
}

fn env_case(num_envs: usize) -> Value {
    let mut env = make_vec("CartPole-v1", num_envs).expect("CartPole-v1 is built in");
    env.reset(1);
    let mut rng = Stream::new(1, "action", 0);
    let actions: Vec<u32> = (0..ACTION_ROWS * num_envs).map(|_| rng.below(2)).collect();
    let mut call = || {
        for row in actions.chunks(num_envs) {
            env.step(Actions::Discrete(row));
        }
    };
    let seconds = seconds_per_call(&mut call, Duration::from_secs(2));
    let items = ACTION_ROWS * num_envs;
    json!({
        "case": format!("{num_envs} environments"),
        "items": items,
        "seconds": seconds,
        "items_per_second": items as f64 / seconds,
    })
}

/// A number in [0, 1) from the position and the array's number: the finaliser of MurmurHash3.
fn uniform(position: usize, salt: u32) -> f32 {
    let mut x = (position as u32).wrapping_add(salt.wrapping_mul(0x9e37_79b9));
    x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
    x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
    x ^= x >> 16;
    (x >> 8) as f32 / (1 << 24) as f32
}

/// The median over batches of calls, each batch long enough for the clock.
fn seconds_per_call(call: &mut impl FnMut(), budget: Duration) -> f64 {
    let mut batch = |calls: usize| {
        let start = Instant::now();
        for _ in 0..calls {
            call();
        }
        start.elapsed().as_secs_f64() / calls as f64
    };
    batch(1);
    let once = batch(1).max(1e-7);
    let calls = ((1e-3 / once) as usize).max(1);
    let batches = ((budget.as_secs_f64() / (once * calls as f64)) as usize).clamp(5, 200);
    let mut times: Vec<f64> = (0..batches).map(|_| batch(calls)).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
