//! The environments against what Gymnasium's own did: `tests/gymnasium/record.py` recorded it.

use ndarray::Array2;
use rederive_env::{
    Action, Actions, End, FiniteTable, Outcome, Stream, finite_table, make, make_vec, reset_stream, spec,
    step_stream,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path};

/// How far two numbers may be apart, relative to the larger of 1 and the recorded one.
const TOLERANCE: f64 = 1e-6;

const CLASSIC: [&str; 5] =
    ["CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Acrobot-v1", "Pendulum-v1"];

fn recorded(name: &str) -> Value {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/gymnasium/data");
    let text = std::fs::read_to_string(data.join(format!("{name}.json"))).expect("a recorded file");
    let record: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(record["gymnasium"], "1.4.0");
    let known = spec(record["id"].as_str().unwrap()).expect("a known ID");
    assert_eq!(known.max_steps.map(u64::from), record["max_steps"].as_u64(), "{name}: time limit");
    assert_eq!(known.reward_threshold, record["reward_threshold"].as_f64(), "{name}: threshold");
    record
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number")).collect()
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn assert_close(what: &str, ours: f64, theirs: f64) {
    let scale = theirs.abs().max(1.0);
    assert!((ours - theirs).abs() <= TOLERANCE * scale, "{what}: {ours} where Gymnasium has {theirs}");
}

/// The recorded transitions of a classic-control environment, taken by the single environment and by the vector one.
#[test]
fn classic_control_moves_as_in_gymnasium() {
    for id in CLASSIC {
        let record = recorded(id);
        let rows = rows(&record["transitions"]);
        let (mut terminal, mut ongoing) = (0, 0);
        let mut env = make(id).unwrap();
        let discrete = env.action_space().features() > 1;
        let mut rng = Stream::new(0, "unused", 0);
        let mut seen = Vec::new();
        for row in rows {
            let (action, next, reward) =
                (row[1].as_f64().unwrap(), numbers(&row[2]), row[3].as_f64().unwrap());
            let what = format!("{id} {row}");
            env.load(&json!({"state": row[0], "elapsed": 0})).unwrap();
            let mut obs = vec![0.0; next.len()];
            let continuous = [action as f32];
            let action =
                if discrete { Action::Discrete(action as u32) } else { Action::Continuous(&continuous) };
            let (earned, end) = env.step(action, &mut rng, &mut obs);
            for (&ours, &theirs) in obs.iter().zip(&next) {
                assert_close(&what, f64::from(ours), theirs);
            }
            assert_close(&what, f64::from(earned), reward);
            assert_eq!(end.terminated(), row[4] == 1, "{what}: terminated");
            assert!(!end.truncated() && row[5] == 0, "{what}: truncated");
            if end.terminated() {
                terminal += 1
            } else {
                ongoing += 1
            }
            seen.push((obs, earned, end));
        }
        assert!(ongoing > 100, "{id}: {ongoing} ongoing");
        assert!(terminal > 20 || id == "Pendulum-v1", "{id}: {terminal} terminal");

        // The vector environment, with all rows at once, gives the same bits.
        let mut many = make_vec(id, rows.len()).unwrap();
        let mut state = many.save();
        for (n, row) in rows.iter().enumerate() {
            state["envs"][n] = json!({"state": row[0], "elapsed": 0});
        }
        many.load(&state).unwrap();
        if discrete {
            let actions: Vec<u32> = rows.iter().map(|row| row[1].as_u64().unwrap() as u32).collect();
            many.step(Actions::Discrete(&actions));
        } else {
            let actions =
                Array2::from_shape_fn((rows.len(), 1), |(n, _)| rows[n][1].as_f64().unwrap() as f32);
            many.step(Actions::Continuous(&actions));
        }
        for (n, (obs, reward, end)) in seen.iter().enumerate() {
            let successor = if end.done() { many.final_obs() } else { many.obs() };
            assert_eq!(successor.row(n).to_vec(), *obs, "{id} row {n}");
            assert_eq!((many.reward()[n], many.end()[n]), (*reward, *end), "{id} row {n}");
        }
    }
}

/// Where the recorder put each environment: a state that goes on, and one that ends, with the action taken there.
fn held(id: &str) -> (Value, Value, f32) {
    let pi = std::f64::consts::PI;
    match id {
        "CartPole-v1" => (json!([0.0, 0.0, 0.0, 0.0]), json!([5.0, 0.0, 0.0, 0.0]), 0.0),
        "MountainCar-v0" => (json!([-0.5, 0.0]), json!([0.55, 0.0]), 1.0),
        "MountainCarContinuous-v0" => (json!([-0.5, 0.0]), json!([0.5, 0.0]), 0.0),
        "Acrobot-v1" => (json!([0.0, 0.0, 0.0, 0.0]), json!([pi, 0.0, 0.0, 0.0]), 1.0),
        "Pendulum-v1" => (json!([1.0, 0.0]), json!([1.0, 0.0]), 0.0),
        other => panic!("{other}"),
    }
}

#[test]
fn time_limits_cut_where_gymnasiums_do() {
    for id in CLASSIC {
        let record = recorded(id);
        let limit = record["max_steps"].as_u64().unwrap();
        let (going, ending, action) = held(id);
        for (n, expected) in rows(&record["limit"]).iter().enumerate() {
            let mut env = make(id).unwrap();
            let mut obs = vec![0.0; env.observation_space().len()];
            let mut rng = Stream::new(0, "unused", 0);
            let continuous = [action];
            let discrete = env.action_space().features() > 1;
            for step in 1..=limit {
                let state = if n == 1 && step == limit { &ending } else { &going };
                env.load(&json!({"state": state, "elapsed": step - 1})).unwrap();
                let action =
                    if discrete { Action::Discrete(action as u32) } else { Action::Continuous(&continuous) };
                let (_, end) = env.step(action, &mut rng, &mut obs);
                assert_eq!(end.done(), step == limit, "{id} step {step}");
                if step == limit {
                    // Gymnasium sets both flags when a terminal state is reached at the limit; termination wins here.
                    let flags = End::from_flags(expected[1] == 1, expected[2] == 1);
                    assert_eq!((expected[0].as_u64(), flags), (Some(limit), end), "{id}");
                }
            }
        }
    }
}

/// Many first states, one component after the other.
fn first_states(id: &str, count: usize) -> Vec<Vec<f64>> {
    let mut env = make(id).unwrap();
    let mut obs = vec![0.0; env.observation_space().len()];
    let mut components: Vec<Vec<f64>> = Vec::new();
    let mut rng = reset_stream(11, 0);
    for _ in 0..count {
        env.reset(&mut rng, &mut obs);
        let state = numbers(&env.save()["state"]);
        components.resize(state.len(), Vec::new());
        components.iter_mut().zip(state).for_each(|(all, x)| all.push(x));
    }
    components
}

#[test]
fn resets_have_gymnasiums_distribution() {
    let pi = std::f64::consts::PI;
    let bounds: [&[(f64, f64)]; 5] = [
        &[(-0.05, 0.05); 4],
        &[(-0.6, -0.4), (0.0, 0.0)],
        &[(-0.6, -0.4), (0.0, 0.0)],
        &[(-0.1, 0.1); 4],
        &[(-pi, pi), (-1.0, 1.0)],
    ];
    for (id, bounds) in CLASSIC.iter().zip(bounds) {
        let theirs = &recorded(id)["resets"];
        let n = theirs["count"].as_f64().unwrap();
        let ours = first_states(id, n as usize);
        assert_eq!(ours.len(), bounds.len());
        for (k, &(low, high)) in bounds.iter().enumerate() {
            let what = format!("{id} component {k}");
            let (mean, std) = (numbers(&theirs["mean"])[k], numbers(&theirs["std"])[k]);
            let (least, largest) = (numbers(&theirs["min"])[k], numbers(&theirs["max"])[k]);
            let width = high - low;
            // The recorded samples have the distribution claimed here, and so have ours: uniform on [low, high).
            assert!(least >= low - 1e-8 && largest <= high + 1e-8, "{what}");
            assert!(width == 0.0 || (largest - least) > 0.999 * width, "{what}");
            let exact = (0.5 * (low + high), width / 12f64.sqrt());
            // Five standard errors: of a mean of n, and of a standard deviation of n uniform numbers, whose fourth central
            // moment is 9/5 of the squared variance.
            let mean_error = 5.0 * exact.1 / n.sqrt() + 1e-12;
            let std_error = 5.0 * exact.1 * (0.8 / (4.0 * n)).sqrt() + 1e-12;
            assert!((mean - exact.0).abs() <= mean_error && (std - exact.1).abs() <= std_error, "{what}");
            let sample = &ours[k];
            let our_mean = sample.iter().sum::<f64>() / n;
            let our_std = (sample.iter().map(|x| (x - our_mean).powi(2)).sum::<f64>() / n).sqrt();
            assert!((our_mean - exact.0).abs() <= mean_error, "{what}: mean {our_mean}");
            assert!((our_std - exact.1).abs() <= std_error, "{what}: standard deviation {our_std}");
            assert!(sample.iter().all(|&x| x >= low - 1e-8 && x <= high + 1e-8), "{what}");
            if width > 0.0 {
                let mut bins = [0.0; 10];
                sample.iter().for_each(|x| bins[(((x - low) / width * 10.0) as usize).min(9)] += 1.0 / n);
                let error = 5.0 * (0.09 / n).sqrt();
                assert!(bins.iter().all(|share| (share - 0.1f64).abs() <= error), "{what}: {bins:?}");
            }
        }
    }
}

#[test]
fn tables_are_gymnasiums() {
    for (file, id) in [
        ("FrozenLake-v1", "FrozenLake-v1"),
        ("FrozenLake-v1-sure", "FrozenLake-v1?slippery=false"),
        ("FrozenLake8x8-v1", "FrozenLake8x8-v1"),
        ("FrozenLake8x8-v1", "FrozenLake-v1?map=8x8"),
        ("FrozenLake8x8-v1-success", "FrozenLake8x8-v1?success_rate=0.75"),
        ("CliffWalking-v1", "CliffWalking-v1"),
        ("CliffWalking-v1-slippery", "CliffWalking-v1?slippery=true"),
        ("Taxi-v4", "Taxi-v3"),
        ("Taxi-v4", "Taxi-v4"),
    ] {
        let record = recorded(file);
        let table = finite_table(id).unwrap();
        let (states, actions) = (table.num_states(), table.num_actions());
        assert_eq!(json!([states, actions]), json!([record["num_states"], record["num_actions"]]));
        let mut start = vec![0.0; states];
        for pair in rows(&record["start"]) {
            start[pair[0].as_u64().unwrap() as usize] = pair[1].as_f64().unwrap();
        }
        for (ours, theirs) in table.start().iter().zip(&start) {
            assert!((ours - theirs).abs() < 1e-11, "{id}: start");
        }
        let outcomes = rows(&record["outcomes"]);
        assert_eq!(outcomes.len(), states * actions);
        for (pair, row) in outcomes.iter().enumerate() {
            let theirs: Vec<Outcome> = numbers(row)
                .chunks_exact(4)
                .map(|x| Outcome { prob: x[0], next: x[1] as u32, reward: x[2], terminated: x[3] == 1.0 })
                .collect();
            let ours = table.row(pair / actions, pair % actions);
            assert_eq!(ours.len(), theirs.len(), "{id} pair {pair}");
            for (a, b) in ours.iter().zip(&theirs) {
                assert!((a.prob - b.prob).abs() < 1e-15, "{id} pair {pair}: {a:?} where Gymnasium has {b:?}");
                assert_eq!(Outcome { prob: b.prob, ..*a }, *b, "{id} pair {pair}");
            }
        }
    }
}

/// The state of the blackjack table for [sum, dealer's card, usable ace, natural].
fn blackjack_state(x: &[f64]) -> usize {
    if x[3] == 1.0 {
        704 + x[1] as usize - 1
    } else {
        (x[0] as usize * 11 + x[1] as usize) * 2 + x[2] as usize
    }
}

/// The outcomes of a row by (sum, card, ace), reward and flag, with the probabilities of equal ones added.
fn merged(table: &FiniteTable, state: usize, action: usize) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for o in table.row(state, action) {
        let next = o.next as usize;
        let obs = if next < 704 { [next / 22, next / 2 % 11, next % 2] } else { [21, next - 703, 1] };
        *all.entry(format!("{obs:?} {} {}", o.reward, o.terminated)).or_insert(0.0) += o.prob;
    }
    all
}

#[test]
fn the_blackjack_table_is_what_gymnasiums_code_plays() {
    for (file, id) in [
        ("Blackjack-v1", "Blackjack-v1"),
        ("Blackjack-v1-natural", "Blackjack-v1?natural=true&sab=false"),
        ("Blackjack-v1-plain", "Blackjack-v1?sab=false"),
    ] {
        let record = recorded(file);
        let table = finite_table(id).unwrap();
        let mut start = vec![0.0; table.num_states()];
        for row in rows(&record["start"]) {
            let row = numbers(row);
            start[blackjack_state(&row)] = row[4];
        }
        if !rows(&record["start"]).is_empty() {
            assert!(table.start().iter().zip(&start).all(|(a, b)| (a - b).abs() < 1e-11));
        }
        let mut compared = 0;
        for row in rows(&record["outcomes"]) {
            let mut state = numbers(&row[0]);
            let action = row[1].as_u64().unwrap() as usize;
            // A hit was recorded against one dealer's card and is the same against all.
            for card in if action == 1 { 1..11 } else { state[1] as usize..state[1] as usize + 1 } {
                state[1] = card as f64;
                let ours = merged(&table, blackjack_state(&state), action);
                let theirs: BTreeMap<String, f64> = rows(&row[2])
                    .iter()
                    .map(|outcome| {
                        let x = numbers(outcome);
                        let obs = [x[0] as usize, card, x[2] as usize];
                        (format!("{obs:?} {} {}", x[3], x[4] == 1.0), x[5])
                    })
                    .collect();
                assert!(
                    ours.keys().eq(theirs.keys()),
                    "{id} {state:?} {action}: {ours:?} against {theirs:?}"
                );
                assert!(
                    ours.values().zip(theirs.values()).all(|(a, b)| (a - b).abs() < 1e-11),
                    "{id} {state:?}"
                );
                compared += 1;
            }
        }
        assert!(compared > if file == "Blackjack-v1" { 550 } else { 30 }, "{compared} pairs compared");
    }
}

#[test]
fn finite_environments_draw_from_their_tables() {
    for id in ["FrozenLake-v1", "CliffWalking-v1?slippery=true", "Taxi-v3", "Blackjack-v1", "GridWorld-v0"] {
        let table = finite_table(id).unwrap();
        let mut env = make(id).unwrap();
        let (mut resets, mut steps) = (reset_stream(3, 0), step_stream(3, 0));
        let mut obs = vec![0.0; env.observation_space().len()];
        let n = 40_000;
        let mut starts = vec![0.0; table.num_states()];
        for _ in 0..n {
            env.reset(&mut resets, &mut obs);
            starts[env.save()["state"].as_u64().unwrap() as usize] += 1.0;
        }
        five_standard_errors(id, &starts, table.start(), f64::from(n));
        for state in (0..table.num_states()).filter(|&s| table.row(s, 0).len() > 1).step_by(7) {
            for action in 0..table.num_actions() {
                let row = table.row(state, action);
                let mut counts = vec![0.0; row.len()];
                for _ in 0..4_000 {
                    env.load(&json!({"state": state, "elapsed": 0})).unwrap();
                    let (reward, end) = env.step(Action::Discrete(action as u32), &mut steps, &mut obs);
                    let next = env.save()["state"].as_u64().unwrap() as u32;
                    let same = |o: &Outcome| {
                        o.next == next && o.reward as f32 == reward && o.terminated == end.terminated()
                    };
                    // Outcomes that look the same share what is counted.
                    let alike = row.iter().filter(|o| same(o)).map(|o| o.prob).sum::<f64>();
                    assert!(alike > 0.0, "{id} ({state}, {action}) led to {next}, {reward}, {end:?}");
                    for (count, o) in counts.iter_mut().zip(row).filter(|(_, o)| same(o)) {
                        *count += o.prob / alike;
                    }
                }
                let probs: Vec<f64> = row.iter().map(|o| o.prob).collect();
                five_standard_errors(&format!("{id} ({state}, {action})"), &counts, &probs, 4_000.0);
            }
        }
    }
}

fn five_standard_errors(what: &str, counts: &[f64], probs: &[f64], n: f64) {
    for (count, p) in counts.iter().zip(probs) {
        if p * (1.0 - p) * n >= 100.0 {
            let error = 5.0 * (p * (1.0 - p) / n).sqrt();
            assert!((count / n - p).abs() <= error, "{what}: {count} of {n} where {p} was due");
        } else if *p == 0.0 {
            assert_eq!(*count, 0.0, "{what}");
        }
    }
}
