//! What every environment of the registry keeps: automatic resets, time limits, streams, saved states.

use ndarray::{Array2, s};
use rederive_env::{
    Action, Actions, End, Env, IDS, Space, StateError, Stream, SyncVec, VecEnv, make, make_vec, reset_stream,
    scene::Shape, spec, step_stream,
};
use serde_json::{Value, json};

/// Actions for everyone, drawn per environment, so that they are the same however many there are.
struct Policy {
    space: Space,
    streams: Vec<Stream>,
    discrete: Vec<u32>,
    continuous: Array2<f32>,
}

impl Policy {
    fn new(env: &dyn VecEnv, seed: u64) -> Self {
        let n = env.num_envs();
        Policy {
            space: env.action_space().clone(),
            streams: (0..n).map(|i| Stream::new(seed, "action", i as u64)).collect(),
            discrete: vec![0; n],
            continuous: Array2::zeros((n, 1)),
        }
    }

    fn draw(&mut self) -> Actions<'_> {
        match &self.space {
            Space::Discrete { n } => {
                let n = *n as u32;
                self.discrete.iter_mut().zip(&mut self.streams).for_each(|(a, rng)| *a = rng.below(n));
                Actions::Discrete(&self.discrete)
            }
            Space::Box { low, high } => {
                let (low, high) = (f64::from(low[0]) * 1.2, f64::from(high[0]) * 1.2);
                let rows = self.continuous.iter_mut().zip(&mut self.streams);
                rows.for_each(|(a, rng)| *a = rng.uniform(low, high) as f32);
                Actions::Continuous(&self.continuous)
            }
            Space::MultiDiscrete { .. } | Space::Image { .. } => {
                unreachable!("no environment has such actions")
            }
        }
    }
}

/// All that a step shows of environment `n`, as bits.
fn shown(env: &dyn VecEnv, n: usize) -> Vec<u32> {
    let mut bits: Vec<u32> = env.obs().row(n).iter().map(|x| x.to_bits()).collect();
    bits.extend([env.reward()[n].to_bits(), env.end()[n] as u32]);
    if env.end()[n].done() {
        bits.extend(env.final_obs().row(n).iter().map(|x| x.to_bits()));
    }
    bits
}

/// Short episodes, so that each test sees many ends of both kinds.
fn short(id: &str) -> String {
    format!("{id}?max_steps=13")
}

fn action_of(actions: &Actions<'_>, n: usize) -> (u32, [f32; 1]) {
    match actions {
        Actions::Discrete(a) => (a[n], [0.0]),
        Actions::Continuous(a) => (0, [a[[n, 0]]]),
    }
}

#[test]
fn a_trajectory_does_not_depend_on_how_many_are_stepped_together() {
    for spec in IDS {
        for id in [spec.id.to_owned(), short(spec.id)] {
            let run = |num_envs: usize| {
                let mut env = make_vec(&id, num_envs).unwrap();
                env.reset(4);
                let mut policy = Policy::new(&*env, 9);
                let mut rows = vec![env.obs().row(0).iter().map(|x| x.to_bits()).collect()];
                for _ in 0..400 {
                    env.step(policy.draw());
                    rows.push(shown(&*env, 0));
                }
                rows
            };
            let alone = run(1);
            for n in [3, 8, 17] {
                assert!(alone == run(n), "{id} with {n}");
            }
        }
    }
}

#[test]
fn a_single_environment_with_the_streams_of_a_number_follows_that_number() {
    for spec in IDS {
        let id = short(spec.id);
        let (seed, n) = (6, 2);
        let mut many = make_vec(&id, 5).unwrap();
        many.reset(seed);
        let mut policy = Policy::new(&*many, 1);
        let mut one = make(&id).unwrap();
        let (mut resets, mut steps) = (reset_stream(seed, n), step_stream(seed, n));
        let mut obs = vec![0.0; many.observation_space().len()];
        one.reset(&mut resets, &mut obs);
        assert_eq!(many.obs().row(n).to_vec(), obs);
        let (mut ends, mut rewards) = (0, 0.0);
        for _ in 0..300 {
            let actions = policy.draw();
            many.step(actions);
            let (discrete, continuous) = action_of(&actions, n);
            let action = if let Actions::Discrete(_) = actions {
                Action::Discrete(discrete)
            } else {
                Action::Continuous(&continuous)
            };
            let (reward, end) = one.step(action, &mut steps, &mut obs);
            assert_eq!((reward, end), (many.reward()[n], many.end()[n]), "{id}");
            rewards += reward;
            if end.done() {
                ends += 1;
                // The last observation of the episode is kept, and the next episode has already begun.
                assert_eq!(many.final_obs().row(n).to_vec(), obs, "{id}");
                one.reset(&mut resets, &mut obs);
            }
            assert_eq!(many.obs().row(n).to_vec(), obs, "{id}");
        }
        assert!(ends >= 300 / 13 && rewards.is_finite(), "{id}: {ends} ends");
    }
}

#[test]
fn a_truncation_comes_exactly_at_the_limit_and_a_new_count_begins() {
    for spec in IDS {
        let id = format!("{}?max_steps=5", spec.id);
        let mut env = make_vec(&id, 3).unwrap();
        let mut policy = Policy::new(&*env, 2);
        let mut elapsed = [0; 3];
        let mut truncated = 0;
        for _ in 0..200 {
            env.step(policy.draw());
            for (n, steps) in elapsed.iter_mut().enumerate() {
                *steps += 1;
                match env.end()[n] {
                    End::No => assert!(*steps < 5, "{id}"),
                    End::Truncated => {
                        assert_eq!(*steps, 5, "{id}");
                        truncated += 1;
                    }
                    End::Terminated => assert!(*steps <= 5, "{id}"),
                }
                if env.end()[n].done() {
                    *steps = 0;
                }
            }
        }
        assert!(truncated > 0 || spec.id == "Blackjack-v1", "{id}");
    }
}

#[test]
fn a_terminal_state_at_the_limit_is_a_termination() {
    let state = json!({"state": [2.39, 3.0, 0.0, 0.0], "elapsed": 499});
    let mut one = make("CartPole-v1").unwrap();
    one.load(&state).unwrap();
    let mut obs = [0.0; 4];
    assert_eq!(one.step(Action::Discrete(1), &mut Stream::new(0, "", 0), &mut obs).1, End::Terminated);
    let mut many = make_vec("CartPole-v1", 2).unwrap();
    let mut saved = many.save();
    saved["envs"][0] = state;
    saved["envs"][1] = json!({"state": [0.0, 0.0, 0.0, 0.0], "elapsed": 499});
    many.load(&saved).unwrap();
    many.step(Actions::Discrete(&[1, 1]));
    assert_eq!(many.end(), [End::Terminated, End::Truncated]);
    // A lake's goal, entered at the limit.
    let mut lake = make("FrozenLake-v1?slippery=false").unwrap();
    lake.load(&json!({"state": 14, "elapsed": 99})).unwrap();
    assert_eq!(
        lake.step(Action::Discrete(2), &mut Stream::new(0, "", 0), &mut [0.0]),
        (1.0, End::Terminated)
    );
}

#[test]
fn a_saved_state_goes_on_bit_for_bit_from_the_middle_of_an_episode() {
    for spec in IDS {
        for num_envs in [1, 11] {
            let id = format!("{}?max_steps=60", spec.id);
            let mut env = make_vec(&id, num_envs).unwrap();
            env.reset(3);
            let mut policy = Policy::new(&*env, 5);
            for _ in 0..37 {
                env.step(policy.draw());
            }
            let text = env.save().to_string();
            let mut other = make_vec(&id, num_envs).unwrap();
            other.load(&serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(env.obs(), other.obs(), "{id}");
            for _ in 0..200 {
                let actions = policy.draw();
                env.step(actions);
                other.step(actions);
                for n in 0..num_envs {
                    assert_eq!(shown(&*env, n), shown(&*other, n), "{id}");
                }
            }
            assert_eq!(env.save(), other.save(), "{id}");
        }
    }
}

#[test]
fn a_saved_state_that_does_not_fit_is_refused_and_changes_nothing() {
    for spec in IDS {
        let mut env = make_vec(spec.id, 3).unwrap();
        env.reset(8);
        let good = env.save();
        let with = |path: &str, value: Value| {
            let mut bad = good.clone();
            *bad.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value;
            bad
        };
        let mut shorter = good.clone();
        shorter["envs"].as_array_mut().unwrap().pop();
        let mut longer = good.clone();
        longer["unheard of"] = json!(1);
        let mut bad = vec![
            (json!(null), "invalid type"),
            (json!({}), "missing field"),
            (shorter, "`envs` has 2 entries where 3 belong"),
            (longer, "unknown field"),
            (with("/id", json!("Chess-v0")), "saved from `Chess-v0`"),
            (with("/obs/1", json!([])), "`obs row` has 0 entries"),
            (with("/obs/1/0", json!("much")), "`obs` holds \"much\""),
            (with("/reset", json!([])), "`reset` has 0 entries where 3 belong"),
            (with("/reset/0/s", json!([1, 2])), "invalid length"),
            (with("/envs/2", json!({"elapsed": 0})), "`state` is not"),
            (with("/envs/2/state", json!("here")), "`state` is not"),
            (with("/envs/2/elapsed", json!(-1)), "`elapsed` is not"),
            (with("/envs/2/elapsed", json!(4e9 as u64 * 2)), "`elapsed` is not"),
        ];
        if good["envs"][0]["state"].is_number() {
            bad.push((with("/envs/2/state", json!(1_000_000)), "`state` is not a whole number below"));
            bad.push((with("/step", json!([])), "`step` has 0 entries where 3 belong"));
        } else if good["envs"][0]["state"].is_array() {
            bad.push((with("/envs/2/state/0", json!([])), "where a number belongs"));
        }
        if let Some(limit) = spec.max_steps {
            bad.push((with("/envs/2/elapsed", json!(limit)), "`elapsed` is not"));
        }
        for (state, message) in bad {
            let StateError(found) = env.load(&state).expect_err(message);
            assert!(found.contains(message), "{}: {found:?} where {message:?} was due", spec.id);
            assert_eq!(env.save(), good, "{} after {message:?}", spec.id);
        }
        env.load(&good).unwrap();
    }
}

#[test]
fn an_action_that_is_no_number_gives_an_observation_that_is_none_until_the_episode_ends() {
    for id in ["Pendulum-v1", "MountainCarContinuous-v0"] {
        let id = format!("{id}?max_steps=4");
        let mut env = make_vec(&id, 2).unwrap();
        let healthy = Array2::from_shape_vec((2, 1), vec![0.5, 0.5]).unwrap();
        let sick = Array2::from_shape_vec((2, 1), vec![f32::NAN, 0.5]).unwrap();
        env.step(Actions::Continuous(&sick));
        assert!(env.obs().row(0).iter().any(|x| x.is_nan()) && env.reward()[0].is_nan());
        assert!(env.obs().row(1).iter().all(|x| x.is_finite()) && env.reward()[1].is_finite());
        // Even such a state is saved and goes on.
        let text = env.save().to_string();
        let mut other = make_vec(&id, 2).unwrap();
        other.load(&serde_json::from_str(&text).unwrap()).unwrap();
        for step in 2..=4 {
            env.step(Actions::Continuous(&healthy));
            other.step(Actions::Continuous(&healthy));
            assert_eq!(env.end(), if step == 4 { [End::Truncated; 2] } else { [End::No; 2] });
            let nans = |env: &dyn VecEnv| env.obs().mapv(f32::is_nan);
            assert_eq!(nans(&*env), nans(&*other));
        }
        assert!(env.obs().iter().all(|x| x.is_finite()), "the next episode is healthy");
        assert!(env.final_obs().row(0).iter().any(|x| x.is_nan()));
        let endless = Array2::from_shape_vec((2, 1), vec![f32::INFINITY, f32::NEG_INFINITY]).unwrap();
        env.step(Actions::Continuous(&endless));
        assert!(env.obs().iter().all(|x| x.is_finite()), "an infinite action is clamped");
    }
}

#[test]
fn actions_may_lie_in_memory_in_any_order() {
    let wide = Array2::from_shape_fn((6, 3), |(n, k)| 0.1 * n as f32 + k as f32);
    let (mut a, mut b) = (make_vec("Pendulum-v1", 6).unwrap(), make_vec("Pendulum-v1", 6).unwrap());
    a.step(Actions::Continuous(&wide.slice(s![.., 1..2])));
    b.step(Actions::Continuous(&wide.slice(s![.., 1..2]).to_owned()));
    assert_eq!(a.obs(), b.obs());
    let mut c = SyncVec::new("Pendulum-v1", (0..6).map(|_| make("Pendulum-v1").unwrap()).collect());
    c.step(Actions::Continuous(&wide.slice(s![.., 1..2])));
    assert_eq!(a.obs(), c.obs());
}

#[test]
#[should_panic(expected = "an action outside the action space of 2 actions")]
fn a_discrete_action_that_does_not_exist_is_the_callers_mistake() {
    make_vec("CartPole-v1", 3).unwrap().step(Actions::Discrete(&[0, 1, 2]));
}

#[test]
#[should_panic(expected = "number of actions against num_envs")]
fn too_few_actions_are_the_callers_mistake() {
    make_vec("Taxi-v3", 3).unwrap().step(Actions::Discrete(&[0, 1]));
}

#[test]
fn observations_stay_in_their_space() {
    for spec in IDS {
        let mut env = make_vec(spec.id, 16).unwrap();
        let mut policy = Policy::new(&*env, 1);
        let space = env.observation_space().clone();
        let mut features = vec![0.0; space.features()];
        for _ in 0..500 {
            env.step(policy.draw());
            for row in env.obs().rows() {
                if let Space::Box { low, high } = &space {
                    let inside =
                        row.iter().zip(low.iter().zip(high)).all(|(x, (low, high))| x >= low && x <= high);
                    assert!(inside, "{}: {row}", spec.id);
                } else if let Space::Image { .. } = &space {
                    assert!(row.iter().all(|x| (0.0..=1.0).contains(x)), "{}: {row}", spec.id);
                } else {
                    space.encode(&row.to_vec(), &mut features);
                    assert_eq!(features.iter().sum::<f32>() as usize, space.len(), "{}", spec.id);
                }
            }
        }
    }
}

#[test]
fn every_environment_draws_itself_within_its_bounds() {
    for spec in IDS {
        let mut env = make(spec.id).unwrap();
        let mut obs = vec![0.0; env.observation_space().len()];
        let (mut resets, mut steps) = (reset_stream(0, 0), step_stream(0, 0));
        env.reset(&mut resets, &mut obs);
        for k in 0..50 {
            let scene = env.scene().expect("a drawing");
            let [left, bottom, right, top] = scene.bounds;
            let inside = |p: [f32; 2]| p[0] >= left && p[0] <= right && p[1] >= bottom && p[1] <= top;
            assert!(scene.shapes.iter().all(|shape| match shape {
                Shape::Line { points, .. } | Shape::Polygon { points, .. } =>
                    points.iter().all(|&p| inside(p)),
                Shape::Circle { center, .. } | Shape::Text { center, .. } => inside(*center),
            }));
            let action = if env.action_space().features() > 1 {
                Action::Discrete(k % env.action_space().features() as u32)
            } else {
                Action::Continuous(&[1.0])
            };
            if env.step(action, &mut steps, &mut obs).1.done() {
                env.reset(&mut resets, &mut obs);
            }
        }
    }
}

#[test]
fn boards_can_be_read_from_their_texts_alone() {
    let mut env = make("GridWorld-v0").unwrap();
    env.reset(&mut reset_stream(0, 0), &mut [0.0]);
    let mut rows = vec![vec![String::new(); 4]; 3];
    for shape in env.scene().unwrap().shapes {
        if let Shape::Text { center, text, .. } = shape {
            rows[2 - center[1] as usize][center[0] as usize] = text;
        }
    }
    assert_eq!(rows, [[".", ".", ".", "+1"], [".", "#", ".", "-1"], ["@", ".", ".", "."]]);
}

/// An environment that only exists here: it counts, and its dynamics draw a number.
struct Counter(u32);

impl Env for Counter {
    fn observation_space(&self) -> Space {
        Space::Box { low: vec![0.0; 2], high: vec![f32::INFINITY, 1.0] }
    }

    fn action_space(&self) -> Space {
        Space::Discrete { n: 2 }
    }

    fn reset(&mut self, _rng: &mut Stream, obs: &mut [f32]) {
        self.0 = 0;
        obs.copy_from_slice(&[0.0, 0.0]);
    }

    fn step(&mut self, action: Action<'_>, rng: &mut Stream, obs: &mut [f32]) -> (f32, End) {
        self.0 += 1;
        let chance = rng.unit() as f32;
        obs.copy_from_slice(&[self.0 as f32, chance]);
        (chance, if action == Action::Discrete(1) { End::Terminated } else { End::No })
    }

    fn save(&self) -> Value {
        json!(self.0)
    }

    fn load(&mut self, state: &Value) -> Result<(), StateError> {
        self.0 = state.as_u64().ok_or_else(|| StateError("not a count".into()))? as u32;
        Ok(())
    }
}

#[test]
fn an_environment_from_outside_is_vectorised_with_a_stream_for_each_purpose() {
    let mut env = SyncVec::new("Counter", (0..3).map(|_| Counter(0)).collect());
    env.reset(21);
    let mut streams: Vec<Stream> = (0..3).map(|n| step_stream(21, n)).collect();
    env.step(Actions::Discrete(&[0, 0, 0]));
    env.step(Actions::Discrete(&[0, 1, 0]));
    let expected: Vec<f32> = streams.iter_mut().map(|rng| (rng.unit(), rng.unit()).1 as f32).collect();
    assert_eq!(env.reward(), expected);
    assert_eq!(env.end(), [End::No, End::Terminated, End::No]);
    assert_eq!(env.obs().column(0).to_vec(), [2.0, 0.0, 2.0]);
    assert_eq!(env.final_obs().row(1).to_vec(), [2.0, expected[1]]);
    let good = env.save();
    let mut bad = good.clone();
    bad["envs"][2] = json!("many");
    assert_eq!(env.load(&bad), Err(StateError("environment 2: not a count".into())));
    assert_eq!(env.save(), good, "a load that fails half-way changes nothing");
}

#[test]
fn the_registry_knows_its_own() {
    assert_eq!(spec("Taxi-v4").map(|spec| spec.id), Some("Taxi-v3"));
    assert_eq!(spec("FrozenLake-v1?map=8x8").and_then(|spec| spec.max_steps), Some(100));
    assert!(spec("CartPole").is_none());
}
