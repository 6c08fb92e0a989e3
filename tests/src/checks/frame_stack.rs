use crate::measure::{EXACT, TOL_ID, Worst, require};
use crate::{Check, Measured, fixed, random};
use proptest::prelude::*;
use rederive_env::{Action, Actions, End, Env, Space, Stacked, StateError, Stream, SyncVec, VecEnv};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("dqn.frame-stack", "definition", EXACT, film(), definition),
        random("dqn.frame-stack", "saved", EXACT, film(), saved_in_the_middle),
        random("dqn.frame-stack", "markov", TOL_ID, tunnel(), markov),
        fixed("dqn.frame-stack", "speeds", EXACT, |_| two_speeds()),
        fixed("dqn.frame-stack", "timer", EXACT, |_| hidden_timer()),
    ]
}

/// An environment that shows one frame after another, in episodes of given lengths; action 0 does nothing and action 1 ends the
/// episode early.
#[derive(Clone, Debug)]
struct Projector {
    space: Space,
    /// `[frames][numbers]`, shown in turn.
    frames: Vec<Vec<f32>>,
    /// Steps of each episode, in turn.
    lengths: Vec<usize>,
    next: usize,
    episode: usize,
    left: usize,
}

impl Projector {
    fn show(&mut self, obs: &mut [f32]) {
        obs.copy_from_slice(&self.frames[self.next % self.frames.len()]);
        self.next += 1;
    }
}

impl Env for Projector {
    fn observation_space(&self) -> Space {
        self.space.clone()
    }

    fn action_space(&self) -> Space {
        Space::Discrete { n: 2 }
    }

    fn reset(&mut self, _rng: &mut Stream, obs: &mut [f32]) {
        self.left = self.lengths[self.episode % self.lengths.len()];
        self.episode += 1;
        self.show(obs);
    }

    fn step(&mut self, action: Action<'_>, _rng: &mut Stream, obs: &mut [f32]) -> (f32, End) {
        self.show(obs);
        self.left -= 1;
        match (action, self.left) {
            (Action::Discrete(1), _) => (0.0, End::Terminated),
            (_, 0) => (0.0, End::Truncated),
            _ => (0.0, End::No),
        }
    }

    fn save(&self) -> Value {
        json!([self.next, self.episode, self.left])
    }

    fn load(&mut self, state: &Value) -> Result<(), StateError> {
        let at =
            |i: usize| state[i].as_u64().map(|x| x as usize).ok_or_else(|| StateError(state.to_string()));
        (self.next, self.episode, self.left) = (at(0)?, at(1)?, at(2)?);
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct Film {
    projector: Projector,
    depth: usize,
    actions: Vec<u32>,
}

impl Film {
    fn env(&self) -> SyncVec<Stacked<Projector>> {
        SyncVec::new("Projector", vec![Stacked::new(self.projector.clone(), self.depth)])
    }

    /// What the stack must hold after `frames` of an episode, from the definition: number `k` of pixel `p` of the frame that
    /// is `depth - 1 - j` frames old, or of the first one, lies at `(p * depth + j) * channels + k`.
    fn expected(&self, episode: &[Vec<f32>]) -> Vec<f32> {
        let channels = match self.projector.space {
            Space::Image { shape: [_, _, channels] } => channels,
            _ => episode[0].len(),
        };
        let newest = episode.len() as isize - 1;
        let mut stack = vec![f32::NAN; self.depth * episode[0].len()];
        for j in 0..self.depth {
            let frame = &episode[(newest - (self.depth - 1 - j) as isize).max(0) as usize];
            for (i, &x) in frame.iter().enumerate() {
                stack[(i / channels * self.depth + j) * channels + i % channels] = x;
            }
        }
        stack
    }
}

fn film() -> impl Strategy<Value = Film> {
    let space = prop_oneof![
        (1..=5usize).prop_map(|d| Space::Box { low: vec![-9.0; d], high: vec![9.0; d] }),
        (1..=4usize, 1..=4usize, 1..=5usize).prop_map(|(h, w, c)| Space::Image { shape: [h, w, c] }),
    ];
    (space, 1..=5usize, 1..=40usize).prop_flat_map(|(space, depth, steps)| {
        let frames = prop::collection::vec(prop::collection::vec(-9.0..9.0f32, space.len()), 2 * steps + 1);
        let lengths = prop::collection::vec(1..=9usize, 1..=3);
        // Some episodes are ended early.
        let actions = prop::collection::vec(prop_oneof![4 => Just(0u32), 1 => Just(1)], steps);
        (frames, lengths, actions).prop_map(move |(frames, lengths, actions)| Film {
            projector: Projector { space: space.clone(), frames, lengths, next: 0, episode: 0, left: 0 },
            depth,
            actions,
        })
    })
}

/// Oldest to newest, the first frame repeated, nothing of the episode before; also the last observation of an episode, which is
/// kept when the next one has begun, is a stack of its own episode.
fn definition(film: Film) -> Measured {
    let mut env = film.env();
    let mut plain = SyncVec::new("Projector", vec![film.projector.clone()]);
    let mut episode = vec![plain.obs().row(0).to_vec()];
    let mut worst = Worst::new();
    worst.holds(env.observation_space().len() == film.depth * plain.observation_space().len());
    worst.holds(env.obs().row(0).to_vec() == film.expected(&episode));
    for &action in &film.actions {
        env.step(Actions::Discrete(&[action]));
        plain.step(Actions::Discrete(&[action]));
        worst.holds(env.end() == plain.end());
        if plain.end()[0].done() {
            episode.push(plain.final_obs().row(0).to_vec());
            worst.holds(env.final_obs().row(0).to_vec() == film.expected(&episode));
            episode.clear();
        }
        episode.push(plain.obs().row(0).to_vec());
        worst.holds(env.obs().row(0).to_vec() == film.expected(&episode));
    }
    worst.done()
}

/// A saved stack goes on where it was.
fn saved_in_the_middle(film: Film) -> Measured {
    let (mut env, mut other) = (film.env(), film.env());
    let (before, after) = film.actions.split_at(film.actions.len() / 2);
    before.iter().for_each(|&action| env.step(Actions::Discrete(&[action])));
    other.load(&env.save()).map_err(|error| error.to_string())?;
    let mut worst = Worst::new();
    for &action in after {
        worst.holds(env.obs() == other.obs());
        env.step(Actions::Discrete(&[action]));
        other.step(Actions::Discrete(&[action]));
        worst.holds(env.end() == other.end());
        worst.holds(!env.end()[0].done() || env.final_obs() == other.final_obs());
    }
    worst.holds(env.obs() == other.obs()).done()
}

/// A point on `0..=length` that moves at one of some speeds and turns round at the walls; with a timer, it stands still in all steps
/// but every `rest`-th. Episodes end after `steps` steps and begin at `starts` in turn: position, velocity, timer.
#[derive(Clone, Debug)]
struct Point {
    length: i64,
    steps: usize,
    rest: usize,
    starts: [[i64; 3]; 2],
    episode: usize,
    position: i64,
    velocity: i64,
    timer: usize,
    elapsed: usize,
}

impl Point {
    fn new(length: i64, steps: usize, rest: usize) -> Self {
        let starts = [[0, 1, 0]; 2];
        Point { length, steps, rest, starts, episode: 0, position: 0, velocity: 1, timer: 0, elapsed: 0 }
    }
}

impl Env for Point {
    fn observation_space(&self) -> Space {
        Space::Box { low: vec![0.0], high: vec![self.length as f32] }
    }

    fn action_space(&self) -> Space {
        Space::Discrete { n: 1 }
    }

    fn reset(&mut self, _rng: &mut Stream, obs: &mut [f32]) {
        let [position, velocity, timer] = self.starts[self.episode % 2];
        (self.position, self.velocity, self.timer) = (position, velocity, timer as usize);
        self.episode += 1;
        self.elapsed = 0;
        obs[0] = self.position as f32;
    }

    fn step(&mut self, _action: Action<'_>, _rng: &mut Stream, obs: &mut [f32]) -> (f32, End) {
        self.timer = (self.timer + 1) % self.rest;
        if self.timer == 0 {
            self.position += self.velocity;
            if !(0..=self.length).contains(&self.position) {
                let wall = if self.position < 0 { 0 } else { self.length };
                (self.position, self.velocity) = (2 * wall - self.position, -self.velocity);
            }
        }
        self.elapsed += 1;
        obs[0] = self.position as f32;
        (0.0, if self.elapsed == self.steps { End::Terminated } else { End::No })
    }

    fn save(&self) -> Value {
        Value::Null
    }

    fn load(&mut self, _state: &Value) -> Result<(), StateError> {
        Ok(())
    }
}

/// Positions as whole numbers, which can be keys.
type Positions = Vec<i64>;

/// The weights of what comes next, by what was seen.
type Next = BTreeMap<Positions, BTreeMap<i64, f64>>;

/// Goes through an episode from every start (with its weight) and adds up the weights of the next observation by the history of the
/// episode and by the stack. Also tells which stack belongs to a history.
fn enumerate(
    point: &Point,
    depth: usize,
    starts: &[([i64; 3], f64)],
) -> Result<(Next, Next, BTreeMap<Positions, Positions>), String> {
    let whole = |row: &[f32]| -> Positions { row.iter().map(|&x| x as i64).collect() };
    let (mut by_history, mut by_stack, mut stack_of) = (Next::new(), Next::new(), BTreeMap::new());
    let mut rng = Stream::new(0, "unused", 0);
    let mut stack = vec![0.0; depth];
    for (i, &(start, weight)) in starts.iter().enumerate() {
        // Each of these episodes comes after one from elsewhere: a stack that kept something of it would show it.
        let (before, _) = starts[(i + starts.len() / 2 + 1) % starts.len()];
        let mut env = Stacked::new(Point { starts: [before, start], ..point.clone() }, depth);
        env.reset(&mut rng, &mut stack);
        for _ in 0..point.steps {
            env.step(Action::Discrete(0), &mut rng, &mut stack);
        }
        env.reset(&mut rng, &mut stack);
        let mut history = vec![stack[depth - 1] as i64];
        for _ in 0..point.steps {
            let seen = whole(&stack);
            env.step(Action::Discrete(0), &mut rng, &mut stack);
            let next = stack[depth - 1] as i64;
            *by_history.entry(history.clone()).or_default().entry(next).or_default() += weight;
            *by_stack.entry(seen.clone()).or_default().entry(next).or_default() += weight;
            if stack_of.insert(history.clone(), seen.clone()).is_some_and(|other| other != seen) {
                return Err(format!("the history {history:?} has two stacks, one of them {seen:?}"));
            }
            history.push(next);
        }
    }
    Ok((by_history, by_stack, stack_of))
}

/// The largest distance between the probability of a next observation given the history and given the stack.
fn distance(point: &Point, depth: usize, starts: &[([i64; 3], f64)]) -> Result<f64, String> {
    let (by_history, by_stack, stack_of) = enumerate(point, depth, starts)?;
    let prob =
        |next: &BTreeMap<i64, f64>, x: &i64| next.get(x).copied().unwrap_or(0.0) / next.values().sum::<f64>();
    let mut largest = 0.0f64;
    for (history, stack) in &stack_of {
        for x in by_stack[stack].keys() {
            largest = largest.max((prob(&by_history[history], x) - prob(&by_stack[stack], x)).abs());
        }
    }
    Ok(largest)
}

#[derive(Clone, Debug)]
struct Tunnel {
    length: i64,
    speed: i64,
    steps: usize,
    /// How likely each start (position, direction) is, up to a factor.
    weights: Vec<f64>,
}

impl Tunnel {
    fn starts(&self) -> Vec<([i64; 3], f64)> {
        let cells = (0..=self.length).flat_map(|x| [[x, self.speed, 0], [x, -self.speed, 0]]);
        cells.zip(self.weights.iter().copied()).collect()
    }
}

/// One speed, odd so that the point never stays in its cell while it turns round, and walls further apart than two steps.
fn tunnel() -> impl Strategy<Value = Tunnel> {
    (prop_oneof![Just(1i64), Just(3)], 1..=8i64, 2..=7usize).prop_flat_map(|(speed, more, steps)| {
        let length = 2 * speed + more;
        let weights = prop::collection::vec(0.1..1.0f64, 2 * (length as usize + 1));
        weights.prop_map(move |weights| Tunnel { length, speed, steps, weights })
    })
}

/// With one known speed two frames say as much as the whole history, and one frame does not.
fn markov(tunnel: Tunnel) -> Measured {
    let point = Point::new(tunnel.length, tunnel.steps, 1);
    let starts = tunnel.starts();
    let single = distance(&point, 1, &starts)?;
    require(single > 0.01, || format!("one frame misses the history's probabilities by {single} only"))?;
    let mut worst = Worst::new();
    for depth in 2..=4 {
        worst.add(distance(&point, depth, &starts)?);
    }
    worst.done()
}

fn even(starts: impl IntoIterator<Item = [i64; 3]>) -> Vec<([i64; 3], f64)> {
    starts.into_iter().map(|start| (start, 1.0)).collect()
}

/// With the speeds 1 and 3 the frames (8, 9) of a tunnel of length 10 are followed by 10 or, after a bounce, by 6; three frames tell.
fn two_speeds() -> Measured {
    let point = Point::new(10, 6, 1);
    let starts = even((0..=10).flat_map(|x| [1, -1, 3, -3].map(|v| [x, v, 0])));
    let (_, by_stack, _) = enumerate(&point, 2, &starts)?;
    let followers: Vec<i64> = by_stack[&vec![8, 9]].keys().copied().collect();
    require(followers == [6, 10], || format!("(8, 9) is followed by {followers:?}"))?;
    let pair = distance(&point, 2, &starts)?;
    require(pair > 0.1, || format!("two frames miss the history's probabilities by {pair} only"))?;
    let (_, by_stack, _) = enumerate(&point, 3, &starts)?;
    let mut worst = Worst::new();
    for (stack, next) in [(vec![7, 8, 9], 10), (vec![5, 8, 9], 6)] {
        worst.holds(by_stack[&stack].keys().eq([&next]));
    }
    worst.done()
}

/// A point that moves every third step, with a timer out of sight: two frames don't tell when it moves next.
fn hidden_timer() -> Measured {
    let point = Point::new(10, 7, 3);
    let starts = even((0..=10).flat_map(|x| (0..3).flat_map(move |t| [[x, 1, t], [x, -1, t]])));
    let [two, three, four] = [2, 3, 4].map(|depth| distance(&point, depth, &starts));
    let (two, three, four) = (two?, three?, four?);
    require(two > 0.1 && three > 0.01, || format!("missed by {two} with two frames, {three} with three"))?;
    // The step that moves is seen within four frames; only the start of an episode, before any move, stays uncertain, and there the
    // history knows how long it has lasted.
    Worst::new().holds(four < two).done()
}
