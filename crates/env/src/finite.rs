use crate::{Action, End, Env, Grid, Space, StateError, Stream, dynamics, saved, scene::Scene};
use serde_json::Value;
use std::sync::Arc;

/// One way in which a transition can turn out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Its probability given the state and the action.
    pub prob: f64,
    /// The next state.
    pub next: u32,
    /// The reward.
    pub reward: f64,
    /// Whether the episode ends there: the next state is then worth nothing.
    pub terminated: bool,
}

/// A finite Markov decision process, exactly: for every state and action the list of outcomes, and the distribution of the
/// first state. Compressed by rows: the outcomes of `(s, a)` are those from `offsets()[s * A + a]` to the next offset.
///
/// A terminal state's own rows lead back to it with reward 0 and `terminated` set, so that value recursions need no
/// special case: `V(s) = max_a sum prob (reward + gamma (1 - terminated) V(next))`.
#[derive(Clone, Debug, PartialEq)]
pub struct FiniteTable {
    num_states: usize,
    num_actions: usize,
    offsets: Vec<u32>,
    outcomes: Vec<Outcome>,
    /// Running sums of the probabilities within a row.
    cumulative: Vec<f64>,
    start: Vec<f64>,
    /// The states where an episode can start, with the running sum of their probabilities.
    starts: Vec<(f64, u32)>,
}

/// How far from 1 a sum of probabilities may be.
const SUM_TOLERANCE: f64 = 1e-9;

impl FiniteTable {
    /// Builds the table of `num_states` states and `num_actions` actions from a function that lists the outcomes of a pair,
    /// and the distribution `start` of the first state.
    ///
    /// # Panics
    /// If the probabilities of a row or of `start` are negative or don't sum to 1 within 1e-9, or a next state is not below
    /// `num_states`.
    pub fn new(
        num_states: usize,
        num_actions: usize,
        mut row: impl FnMut(usize, usize) -> Vec<Outcome>,
        start: Vec<f64>,
    ) -> Self {
        assert_eq!(start.len(), num_states, "length of `start` against the number of states");
        let mut table = FiniteTable {
            num_states,
            num_actions,
            offsets: Vec::with_capacity(num_states * num_actions + 1),
            outcomes: Vec::new(),
            cumulative: Vec::new(),
            starts: Vec::new(),
            start,
        };
        table.offsets.push(0);
        for s in 0..num_states {
            for a in 0..num_actions {
                let mut sum = 0.0;
                for outcome in row(s, a) {
                    assert!(outcome.prob >= 0.0, "a probability of ({s}, {a}) is {}", outcome.prob);
                    assert!((outcome.next as usize) < num_states, "({s}, {a}) leads to {}", outcome.next);
                    sum += outcome.prob;
                    table.outcomes.push(outcome);
                    table.cumulative.push(sum);
                }
                assert!((sum - 1.0).abs() <= SUM_TOLERANCE, "the probabilities of ({s}, {a}) sum to {sum}");
                table.offsets.push(table.outcomes.len() as u32);
            }
        }
        let mut sum = 0.0;
        for (s, &prob) in table.start.iter().enumerate() {
            assert!(prob >= 0.0, "the probability of starting in {s} is {prob}");
            if prob > 0.0 {
                sum += prob;
                table.starts.push((sum, s as u32));
            }
        }
        assert!((sum - 1.0).abs() <= SUM_TOLERANCE, "the probabilities of the first state sum to {sum}");
        table
    }

    /// How many states there are, S.
    pub fn num_states(&self) -> usize {
        self.num_states
    }

    /// How many actions there are, A.
    pub fn num_actions(&self) -> usize {
        self.num_actions
    }

    /// The distribution of the first state `[S]`.
    pub fn start(&self) -> &[f64] {
        &self.start
    }

    /// Where the outcomes of each pair begin in [`outcomes`](Self::outcomes) `[S * A + 1]`.
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// All outcomes, pair after pair.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    #[inline(always)]
    fn range(&self, state: usize, action: usize) -> std::ops::Range<usize> {
        assert!(action < self.num_actions, "action {action} of {}", self.num_actions);
        let pair = state * self.num_actions + action;
        self.offsets[pair] as usize..self.offsets[pair + 1] as usize
    }

    /// The outcomes of `action` in `state`.
    ///
    /// # Panics
    /// If there is no such state or action.
    pub fn row(&self, state: usize, action: usize) -> &[Outcome] {
        &self.outcomes[self.range(state, action)]
    }

    /// Draws an outcome of `action` in `state`; a sure one takes no random number.
    ///
    /// # Panics
    /// If there is no such state or action.
    #[inline]
    pub fn sample(&self, state: usize, action: usize, rng: &mut Stream) -> Outcome {
        let range = self.range(state, action);
        let row = &self.outcomes[range.clone()];
        let last = row.len() - 1;
        if last == 0 {
            return row[0];
        }
        let u = rng.unit();
        // The last one takes what rounding leaves. Rows are short: counting is quicker than a search with branches.
        let below = self.cumulative[range][..last].iter().filter(|&&sum| sum <= u).count();
        row[below]
    }

    /// Draws a first state; a sure one takes no random number.
    #[inline]
    pub fn sample_start(&self, rng: &mut Stream) -> u32 {
        let last = self.starts.len() - 1;
        if last == 0 {
            return self.starts[0].1;
        }
        let u = rng.unit();
        self.starts[self.starts[..last].partition_point(|&(sum, _)| sum <= u)].1
    }
}

/// An environment that a [`FiniteTable`] describes completely. Implement it and get an [`Env`] from [`Finite`].
pub trait FiniteModel: Send + Sync + 'static {
    /// The exact transitions.
    fn table(&self) -> &FiniteTable;

    /// What observations look like: the number of the state, unless said otherwise.
    fn observation_space(&self) -> Space {
        Space::Discrete { n: self.table().num_states() }
    }

    /// Writes what is seen of a state.
    #[inline(always)]
    fn observe(&self, state: u32, obs: &mut [f32]) {
        obs[0] = state as f32;
    }

    /// A drawing of a state.
    fn scene(&self, state: u32) -> Scene;

    /// How the states lie on a board, if they do.
    fn grid(&self) -> Option<Grid> {
        None
    }
}

/// What a loop needs of finite environments to step them without calling them.
#[derive(Clone, Debug, PartialEq)]
pub struct FiniteParts<'a> {
    /// The exact transitions.
    pub table: &'a FiniteTable,
    /// After how many steps an episode is truncated; `u32::MAX` for never.
    pub limit: u32,
    /// What is seen of each state `[S, D]`, row after row.
    pub observations: Vec<f32>,
}

/// Where one finite environment stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The number of its state in the table.
    pub state: u32,
    /// The steps of the running episode so far.
    pub elapsed: u32,
    /// From where it draws the starts of its episodes.
    pub reset: Stream,
    /// From where it draws its transitions.
    pub step: Stream,
}

/// One environment of the model `M`, truncated at a number of steps; many share one model.
pub struct Finite<M> {
    model: Arc<M>,
    limit: u32,
    state: u32,
    elapsed: u32,
}

impl<M: FiniteModel> Finite<M> {
    /// An environment that truncates an episode after `max_steps` steps; [`reset`](Env::reset) it first.
    pub fn new(model: Arc<M>, max_steps: Option<u32>) -> Self {
        Finite { model, limit: max_steps.unwrap_or(u32::MAX), state: 0, elapsed: 0 }
    }

    /// The model.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The number of the present state in the model's table.
    pub fn state(&self) -> u32 {
        self.state
    }
}

impl<M: FiniteModel> Env for Finite<M> {
    fn observation_space(&self) -> Space {
        self.model.observation_space()
    }

    fn action_space(&self) -> Space {
        Space::Discrete { n: self.model.table().num_actions() }
    }

    #[inline]
    fn reset(&mut self, rng: &mut Stream, obs: &mut [f32]) {
        self.state = self.model.table().sample_start(rng);
        self.elapsed = 0;
        self.model.observe(self.state, obs);
    }

    #[inline]
    fn step(&mut self, action: Action<'_>, rng: &mut Stream, obs: &mut [f32]) -> (f32, End) {
        let Action::Discrete(action) = action else {
            panic!("a continuous action for a discrete action space");
        };
        let outcome = self.model.table().sample(self.state as usize, action as usize, rng);
        self.state = outcome.next;
        self.elapsed = self.elapsed.saturating_add(1);
        self.model.observe(self.state, obs);
        (outcome.reward as f32, dynamics::end(outcome.terminated, self.elapsed, self.limit))
    }

    fn save(&self) -> Value {
        saved::finite_state(self.state, self.elapsed)
    }

    fn load(&mut self, state: &Value) -> Result<(), StateError> {
        let states = self.model.table().num_states();
        (self.state, self.elapsed) = saved::read_finite_state(state, states, self.limit)?;
        Ok(())
    }

    fn scene(&self) -> Option<Scene> {
        Some(self.model.scene(self.state))
    }

    fn finite_parts(&self) -> Option<FiniteParts<'_>> {
        let table = self.model.table();
        let width = self.model.observation_space().len();
        let mut observations = vec![0.0; table.num_states() * width];
        for (state, obs) in observations.chunks_exact_mut(width).enumerate() {
            self.model.observe(state as u32, obs);
        }
        Some(FiniteParts { table, limit: self.limit, observations })
    }

    fn finite_state(&self) -> Option<(u32, u32)> {
        Some((self.state, self.elapsed))
    }

    fn set_finite_state(&mut self, state: u32, elapsed: u32, obs: &mut [f32]) {
        assert!((state as usize) < self.model.table().num_states(), "there is no state {state}");
        (self.state, self.elapsed) = (state, elapsed);
        self.model.observe(state, obs);
    }
}
