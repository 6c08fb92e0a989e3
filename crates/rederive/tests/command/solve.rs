//! `rederive solve`.

use crate::{Done, command, keys, rederive};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::tempdir;

fn solve(args: &[&str]) -> Done {
    rederive(Path::new("."), &[&["solve"], args].concat())
}

fn refused(dir: &Path, args: &[&str], parts: &[&str]) {
    let done = rederive(dir, &[&["solve"], args].concat());
    assert_eq!((done.code, done.out.as_str()), (2, ""), "{args:?}: {}", done.err);
    for part in parts {
        assert!(done.err.contains(part), "{args:?}: {part:?} is not in {:?}", done.err);
    }
}

fn values(document: &Value) -> Vec<f64> {
    document["v"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[test]
fn every_method_finds_the_values_of_the_lake() {
    for method in ["auto", "vi", "gs", "pi", "mpi", "ipi", "ps", "rtdp"] {
        let done =
            solve(&["FrozenLake-v1", "--method", method, "--gamma", "0.99", "--tol", "1e-9", "--json"])
                .success();
        let document = done.json();
        assert_eq!(
            keys(&document),
            [
                "actions",
                "error_bound",
                "gamma",
                "iterations",
                "method",
                "policy",
                "residual",
                "source",
                "start_value",
                "states",
                "sweeps",
                "v",
                "wall_seconds"
            ]
        );
        assert_eq!((&document["states"], &document["actions"]), (&json!(16), &json!(4)));
        // Episodes end on the lake: evaluation by GMRES suits.
        let taken = if method == "auto" { "ipi" } else { method };
        assert_eq!((&document["method"], &document["gamma"]), (&json!(taken), &json!(0.99)));
        let start = values(&document)[0];
        assert!((start - 0.542_025_93).abs() < 1e-8, "{method}: {start}");
        assert_eq!(document["start_value"].as_f64(), Some(start));
        assert!(document["error_bound"].as_f64().unwrap() <= 1e-9, "{method}");
        assert_eq!(document["policy"][14], 1, "{method}: down, beside the goal");
    }
}

#[test]
fn threads_change_nothing() {
    let lake = |threads| {
        let mut document = solve(&["random:20000x3x3", "--threads", threads, "--json"]).success().json();
        document["wall_seconds"] = Value::Null;
        document
    };
    assert_eq!(lake("1"), lake("3"));
}

#[test]
fn soft_policies_are_distributions_with_an_entropy() {
    let args = ["CliffWalking-v1", "--method", "soft", "--temperature", "0.5"];
    let document = solve(&[&args[..], &["--json"]].concat()).success().json();
    assert_eq!(document["temperature"], 0.5);
    for row in document["policy"].as_array().unwrap() {
        let sum: f64 = row.as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{row}");
    }
    // An entropy bonus makes every state worth more.
    let hard = solve(&["CliffWalking-v1", "--json"]).success().json();
    assert!(values(&document).iter().zip(values(&hard)).all(|(soft, hard)| *soft > hard));
    let text = solve(&args).success().out;
    assert!(text.contains("at temperature 0.5: ") && text.contains("entropy  probabilities"), "{text}");
    assert!(text.contains("mean entropy of the policy 0."), "{text}");
}

#[test]
fn a_finite_horizon_has_a_policy_for_every_decision() {
    // One decision left: only the neighbour of the goal can earn anything, on sure ice.
    let sure = "FrozenLake-v1?slippery=false";
    let one = solve(&[sure, "--method", "finite", "--horizon", "1", "--json"]).success().json();
    let expected: Vec<f64> = (0..16).map(|s| if s == 14 { 1.0 } else { 0.0 }).collect();
    assert_eq!(values(&one), expected);
    assert_eq!(one["gamma"], 1.0);
    let discounted = [sure, "--method", "finite", "--horizon", "6", "--gamma", "0.5", "--json"];
    let six = solve(&discounted).success().json();
    assert_eq!((values(&six)[0], &six["horizon"]), (0.5f64.powi(5), &json!(6)));
    let policy = six["policy"].as_array().unwrap();
    assert_eq!((policy.len(), &policy[0][14], &policy[5][14]), (6, &json!(2), &json!(2)));
    // The last decision is the one of a horizon of 1, which sees a goal only next to it.
    assert_eq!((&policy[5], &policy[0][0], &policy[5][0]), (&one["policy"][0], &json!(1), &json!(0)));
    let five = solve(&[sure, "--method", "finite", "--horizon", "5", "--json"]).success().json();
    assert_eq!(values(&five)[0], 0.0);
    // The time limit of the environment is the default, in the ID's options too.
    let default = solve(&["FrozenLake-v1?max_steps=7", "--method", "finite", "--json"]).success().json();
    assert_eq!(default["horizon"], 7);
    let text = solve(&["FrozenLake-v1", "--method", "finite"]).success().out;
    assert!(text.contains("backward induction over 100 decisions: error at most "), "{text}");
    assert!(text.contains("with all 100 decisions to come"), "{text}");
}

#[test]
fn a_board_shows_values_and_arrows_with_or_without_colours() {
    let text = solve(&["GridWorld", "--gamma", "0.9"]).success().out;
    for part in [
        "GridWorld: 13 states, 4 actions, gamma 0.9\ninexact policy iteration: ",
        "error at most ",
        "   0.645 →    0.744 →    0.848 → +  1.000",
        "S  0.491 ↑    0.431 ←    0.475 ↑    0.277 ←\n",
        "value at the start 0.4907\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(!text.contains('\x1b'), "{text}");
    let taxi = solve(&["Taxi-v3"]).success().out;
    assert!(taxi.contains("waits at R, to G") && taxi.contains("20.00 D"), "{taxi}");
    // A board that is too wide for numbers keeps its arrows; one that is too wide for those becomes shades.
    let cliff = solve(&["CliffWalking-v1"]).success().out;
    assert!(cliff.contains("→ → → → → → → → → → → ↓\n↑ C C C C C C C C C C G\n"), "{cliff}");
    let hill = solve(&["hill:150x60"]).success().out;
    assert!(hill.contains("▒▒▒") && hill.lines().all(|line| line.chars().count() <= 100), "{hill}");

    // On a terminal there are colours, unless NO_COLOR says that there are none.
    let on_terminal = |variables: &[(&str, &str)]| {
        let mut script = command(Path::new("."));
        let program = script.get_program().to_owned();
        let line = format!("{} solve FrozenLake-v1", program.to_string_lossy());
        script = std::process::Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env_remove("NO_COLOR").env_remove("COLORTERM");
        script.env("TERM", "xterm-256color").envs(variables.iter().copied());
        script.output().ok().map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // `script` gives a program a terminal; where there is none, there is nothing to see.
    if let Some(text) = on_terminal(&[]) {
        assert!(text.contains("\x1b[48;5;") && text.contains("0.542"), "{text:?}");
        let all = on_terminal(&[("COLORTERM", "truecolor")]).unwrap();
        assert!(all.contains("\x1b[48;2;68;1;84m"), "{all:?}");
        let none = on_terminal(&[("NO_COLOR", "1")]).unwrap();
        assert!(!none.contains("\x1b[48") && none.contains("0.542 ←"), "{none:?}");
    }
}

#[test]
fn without_a_board_the_first_and_last_states_are_listed() {
    let text = solve(&["random:1000x2x3?seed=5", "--gamma", "0.5"]).success().out;
    let states: Vec<&str> =
        text.lines().skip(4).map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(
        states,
        ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "...", "995", "996", "997", "998", "999"]
    );
    assert!(text.contains("1 000 states, 2 actions"), "{text}");
}

#[test]
fn solutions_go_to_files() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    let done = rederive(at, &["solve", "FrozenLake8x8-v1", "--out", "lake.svg"]).success();
    assert!(done.err.contains("-> lake.svg"), "{}", done.err);
    let svg = fs::read_to_string(at.join("lake.svg")).unwrap();
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\"") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("FrozenLake8x8-v1 · gamma 0.99") && svg.contains(">0.415</text>"), "{svg}");
    assert_eq!(svg.matches("rotate(").count(), 53, "an arrow on every tile that is no hole and no goal");
    assert!(!svg.contains("NaN") && svg.matches("http").count() == 1, "only the namespace is an address");
    for source in
        ["Taxi-v3", "Blackjack-v1", "CliffWalking-v1", "GridWorld", "hill:200x100", "lake:120x120?holes=0.1"]
    {
        rederive(at, &["solve", source, "--out", "board.svg", "--gamma", "0.9"]).success();
        let svg = fs::read_to_string(at.join("board.svg")).unwrap();
        assert!(!svg.contains("NaN") && svg.len() < 400_000, "{source}: {} bytes", svg.len());
    }
    let shown = rederive(at, &["solve", "Taxi-v3", "--json", "--out", "taxi.json"]).success().json();
    let written: Value = serde_json::from_str(&fs::read_to_string(at.join("taxi.json")).unwrap()).unwrap();
    assert_eq!(shown, written);
    // A process that is written is solved like the one that it was.
    for file in ["taxi-p.json", "taxi.npz"] {
        rederive(at, &["solve", "Taxi-v3", "--export", file]).success();
        let again = rederive(at, &["solve", file, "--json"]).success().json();
        assert_eq!((&again["v"], &again["policy"]), (&shown["v"], &shown["policy"]), "{file}");
        fs::remove_file(at.join(file)).unwrap();
    }
    let left: Vec<_> = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

/// A file in the layout of Gymnasium's `P`, and the same in the arrays that NumPy writes.
#[test]
fn files_are_solved_like_the_environments_that_they_come_from() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/gymnasium/data");
    for id in ["FrozenLake-v1", "CliffWalking-v1"] {
        let expected = values(&solve(&[id, "--json", "--tol", "1e-9"]).success().json());
        for (file, tol) in [("-P.json", "1e-9"), (".npz", "1e-9"), ("-f32.npz", "1e-3")] {
            let path = data.join(format!("{id}{file}"));
            let document = solve(&[path.to_str().unwrap(), "--json", "--tol", tol]).success().json();
            let off = values(&document).iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off <= 1e-9 + tol.parse::<f64>().unwrap(), "{id}{file}: off by {off}");
        }
    }
    // Thirds do not sum to 1 in single precision: what is unknown of the process can't be solved away.
    let single = data.join("FrozenLake-v1-f32.npz");
    refused(
        Path::new("."),
        &[single.to_str().unwrap(), "--tol", "1e-9"],
        &["tol = 1e-9: must be above ", "f32"],
    );
}

#[test]
fn bad_values_name_field_value_and_what_is_allowed() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    for (args, parts) in [
        (&["--gamma", "1.5"][..], &["gamma = 1.5: must be in [0, 1]"][..]),
        (&["--gamma", "-0.1"], &["gamma = -0.1: must be in [0, 1]"]),
        (&["--gamma", "nan"], &["gamma = NaN: must be in [0, 1]"]),
        (&["--gamma", "high"], &["--gamma", "high"]),
        (&["--gamma", "1"], &["gamma = 1: must be below 1", "state 0, action"]),
        (&["--gamma", "1.5", "--method", "finite"], &["gamma = 1.5: must be in [0, 1]"]),
        (&["--tol", "0"], &["tol = 0: must be", "above 0"]),
        (&["--tol", "-1"], &["tol = -1: must be", "above 0"]),
        (&["--tol", "nan"], &["tol = NaN: must be", "above 0"]),
        (&["--tol", "1e-17"], &["tol = 1e-17: must be above "]),
        (&["--horizon", "3"], &["horizon = 3: must be absent without --method finite"]),
        (&["--temperature", "3"], &["temperature = 3: must be absent without --method soft"]),
        (&["--seed", "3"], &["seed = 3: must be absent without --method rtdp"]),
        (&["--method", "finite", "--tol", "1e-3"], &["tol = 0.001: must be absent with --method finite"]),
        (&["--method", "finite", "--horizon", "0"], &["horizon = 0: must be 1 or more"]),
        (&["--method", "finite", "--horizon", "-1"], &["-1"]),
        (
            &["--method", "finite", "--horizon", "99999999999"],
            &["horizon = 99999999999: must be in 1..=67108864 for 16 states"],
        ),
        (&["--method", "soft", "--temperature", "0"], &["temperature = 0: must be", "above 0"]),
        (&["--method", "soft", "--temperature", "-2"], &["temperature = -2: must be", "above 0"]),
        (&["--method", "soft", "--temperature", "inf"], &["temperature = inf: must be"]),
        (&["--method", "vii"], &["vii", "--method", "auto, vi, gs, pi, mpi, ipi, ps, rtdp, soft, finite"]),
        (&["--threads", "0"], &["--threads", "1..=1024"]),
        (&["--out", "values.png"], &["--out values.png: must end in .json or .svg"]),
        (&["--export", "lake.svg"], &["--export lake.svg: must end in .json or .npz"]),
        (&["--export", "nowhere/lake.npz"], &["nowhere/lake.npz: can't be written: "]),
        (&["--out", "nowhere/values.svg"], &["nowhere/values.svg: can't be written: "]),
    ] {
        refused(at, &[&["FrozenLake-v1"], args].concat(), parts);
    }
    refused(
        at,
        &["CliffWalking-v1", "--method", "finite"],
        &["horizon = none: must be", "CliffWalking-v1 has no time limit"],
    );
    refused(
        at,
        &["random:9x2x2", "--out", "x.svg"],
        &["--out x.svg: random:9x2x2 has no board to draw; must end in .json"],
    );
    refused(at, &["random:0x2x2"], &["random:0x2x2: 0 x 2 x 2: each must be at least 1"]);
    refused(at, &["random:10x2"], &["random:10x2: `10x2` must be SxAxK"]);
    refused(at, &["FrozenLak-v1"], &["unknown environment `FrozenLak-v1`; did you mean `FrozenLake-v1`?"]);
    refused(at, &["FrozenLake-v1?slippery=7"], &["option `slippery` is `7`; allowed: true, false"]);
    refused(
        at,
        &["CartPole-v1"],
        &["CartPole-v1 has infinitely many states; there are finitely many in FrozenLake-v1, "],
    );
    refused(at, &[], &["SOURCE"]);
    assert_eq!(fs::read_dir(at).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn bad_files_are_refused_with_their_place() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    refused(at, &["nowhere.json"], &["nowhere.json: can't be read: "]);
    refused(at, &["nowhere.npz"], &["nowhere.npz: can't be read: "]);
    fs::write(at.join("mdp.txt"), "").unwrap();
    refused(at, &["mdp.txt"], &["mdp.txt: must end in .json or .npz"]);
    for (text, parts) in [
        ("", &["line 1, column 0: the file ends too early"][..]),
        (
            "{\"0\": {\"0\": [[1.0, 0, 0.0, fal",
            &["line 1, column 30: state 0, action 0, outcome 0: the file ends too early"],
        ),
        ("{}", &["there are no states"]),
        ("{\"0\": {}}", &["state 0: there is no action"]),
        (
            "{\"0\": {\"0\": [[0.9, 0, 0.0, false]]}}",
            &["state 0, action 0: the probabilities sum to 0.9, must be 1 within 1e-9"],
        ),
        (
            "{\"0\": {\"0\": [[1.0, 4, 0.0, false]]}}",
            &["state 0, action 0: the next state is 4, must be in 0..=0"],
        ),
        ("{\"0\": {\"0\": [[NaN, 0, 0.0, false]]}}", &["state 0, action 0, outcome 0: NaN"]),
    ] {
        fs::write(at.join("mdp.json"), text).unwrap();
        refused(at, &["mdp.json"], &[&["mdp.json"], parts].concat());
    }
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/gymnasium/data/FrozenLake-v1.npz");
    let whole = fs::read(data).unwrap();
    fs::write(at.join("cut.npz"), &whole[..whole.len() - 30]).unwrap();
    refused(at, &["cut.npz"], &["cut.npz: is no .npz file, or is cut short"]);
    let mut wrong = whole.clone();
    let at_type = wrong.windows(3).position(|w| w == b"<f8").expect("a type");
    wrong[at_type + 1] = b'i';
    fs::write(at.join("type.npz"), wrong).unwrap();
    refused(at, &["type.npz"], &["type.npz, array prob: its type is <i8, must be float32 or float64"]);
}
