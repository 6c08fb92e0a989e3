use crate::{Action, Actions, End, Env, Space, StateError, Stream, saved, scene::Scene};
use serde_json::Value;

/// An environment whose state is `S` real numbers, whose observation is `D` of them, and whose step draws nothing at random.
///
/// Implement this and get both [`Single`], an [`Env`], and [`Batch`](crate::Batch), a [`VecEnv`](crate::VecEnv) that steps
/// eight environments per vector instruction. Both run the very same [`transition`](Self::transition), so an environment's
/// trajectory does not depend on which of them steps it, nor on how many others are stepped with it.
///
/// For vector code, `transition` and `observe` must be `#[inline(always)]`, free of calls, and choose between values rather
/// than branch (`&` and `|` in place of `&&` and `||`).
pub trait Dynamics<const S: usize, const D: usize>: Send + Sync + 'static {
    /// `u32` for a discrete action, `f32` for a continuous one of one dimension.
    type Action: LaneAction;

    /// What observations look like: `D` numbers.
    fn observation_space() -> Space;

    /// What actions look like.
    fn action_space() -> Space;

    /// The state at the start of an episode.
    fn start(rng: &mut Stream) -> [f64; S];

    /// The next state, the reward, and whether the next state is terminal.
    fn transition(state: [f64; S], action: Self::Action) -> ([f64; S], f32, bool);

    /// What is seen of a state.
    fn observe(state: [f64; S]) -> [f32; D];

    /// A drawing of a state.
    fn scene(state: [f64; S]) -> Scene;
}

mod private {
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for f32 {}
}

/// An action that a lane of a vector can hold: `u32` or `f32`, and nothing else.
pub trait LaneAction: private::Sealed + Copy + Default + Send + Sync {
    /// From the action of one environment.
    ///
    /// # Panics
    /// If the kind of action is the other one.
    fn one(action: Action<'_>) -> Self;

    /// The actions of `num_envs` environments; `spare` holds them when they do not lie one after the other.
    ///
    /// # Panics
    /// If their number is not `num_envs`, or their kind is the other one.
    fn many<'a>(actions: Actions<'a>, num_envs: usize, spare: &'a mut Vec<Self>) -> &'a [Self];

    /// Whether `space` has no such action. NaN passes: the environment then returns NaN, and training stops.
    fn outside(self, choices: u32) -> bool;
}

/// How many discrete actions there are (no bound for a continuous action).
pub(crate) fn choices(space: &Space) -> u32 {
    if let Space::Discrete { n } = space { *n as u32 } else { u32::MAX }
}

impl LaneAction for u32 {
    #[inline(always)]
    fn one(action: Action<'_>) -> Self {
        match action {
            Action::Discrete(a) => a,
            Action::Continuous(_) => panic!("a continuous action for a discrete action space"),
        }
    }

    #[inline(always)]
    fn many<'a>(actions: Actions<'a>, num_envs: usize, _spare: &'a mut Vec<Self>) -> &'a [Self] {
        match actions {
            Actions::Discrete(a) => {
                assert_eq!(a.len(), num_envs, "number of actions against num_envs");
                a
            }
            Actions::Continuous(_) => panic!("continuous actions for a discrete action space"),
        }
    }

    #[inline(always)]
    fn outside(self, choices: u32) -> bool {
        self >= choices
    }
}

impl LaneAction for f32 {
    #[inline(always)]
    fn one(action: Action<'_>) -> Self {
        match action {
            Action::Continuous(a) => {
                assert_eq!(a.len(), 1, "length of the action against its one dimension");
                a[0]
            }
            Action::Discrete(_) => panic!("a discrete action for a continuous action space"),
        }
    }

    #[inline(always)]
    fn many<'a>(actions: Actions<'a>, num_envs: usize, spare: &'a mut Vec<Self>) -> &'a [Self] {
        match actions {
            Actions::Continuous(a) => {
                assert_eq!(a.dim(), (num_envs, 1), "shape of the actions against [num_envs, 1]");
                match a.as_slice() {
                    Some(a) => a,
                    None => {
                        spare.clear();
                        spare.extend(a.iter());
                        spare
                    }
                }
            }
            Actions::Discrete(_) => panic!("discrete actions for a continuous action space"),
        }
    }

    #[inline(always)]
    fn outside(self, _choices: u32) -> bool {
        false
    }
}

/// How a step ends whose next state is terminal or not and that is number `elapsed` of at most `limit`: a terminal state at
/// the limit is a termination, because its value is zero whatever the limit.
#[inline(always)]
pub(crate) fn end(terminated: bool, elapsed: u32, limit: u32) -> End {
    if terminated {
        End::Terminated
    } else if elapsed >= limit {
        End::Truncated
    } else {
        End::No
    }
}

/// One environment with the dynamics `M`, truncated at a number of steps.
pub struct Single<M, const S: usize, const D: usize> {
    dynamics: std::marker::PhantomData<M>,
    limit: u32,
    choices: u32,
    state: [f64; S],
    elapsed: u32,
}

impl<M: Dynamics<S, D>, const S: usize, const D: usize> Single<M, S, D> {
    /// An environment that truncates an episode after `max_steps` steps; [`reset`](Env::reset) it first.
    pub fn new(max_steps: Option<u32>) -> Self {
        Single {
            dynamics: std::marker::PhantomData,
            limit: max_steps.unwrap_or(u32::MAX),
            choices: choices(&M::action_space()),
            state: [0.0; S],
            elapsed: 0,
        }
    }
}

impl<M: Dynamics<S, D>, const S: usize, const D: usize> Env for Single<M, S, D> {
    fn observation_space(&self) -> Space {
        M::observation_space()
    }

    fn action_space(&self) -> Space {
        M::action_space()
    }

    fn reset(&mut self, rng: &mut Stream, obs: &mut [f32]) {
        self.state = M::start(rng);
        self.elapsed = 0;
        obs.copy_from_slice(&M::observe(self.state));
    }

    fn step(&mut self, action: Action<'_>, _rng: &mut Stream, obs: &mut [f32]) -> (f32, End) {
        let action = M::Action::one(action);
        assert!(
            !action.outside(self.choices),
            "an action outside the action space of {} actions",
            self.choices
        );
        let (state, reward, terminated) = M::transition(self.state, action);
        self.state = state;
        self.elapsed = self.elapsed.saturating_add(1);
        obs.copy_from_slice(&M::observe(state));
        (reward, end(terminated, self.elapsed, self.limit))
    }

    fn save(&self) -> Value {
        saved::real_state(self.state, self.elapsed)
    }

    fn load(&mut self, state: &Value) -> Result<(), StateError> {
        (self.state, self.elapsed) = saved::read_real_state(state, self.limit)?;
        Ok(())
    }

    fn scene(&self) -> Option<Scene> {
        Some(M::scene(self.state))
    }
}
