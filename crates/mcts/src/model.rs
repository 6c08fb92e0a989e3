use rederive_math::Stream;

/// What a search plans in: states, what can be done in them, and what follows.
///
/// ```
/// use rederive_math::Stream;
/// use rederive_mcts::{Config, Model, Search};
///
/// /// Nim: whoever takes the last of the stones wins; one, two or three at a time.
/// struct Nim;
///
/// impl Model for Nim {
///     type State = usize;
///     const TWO_PLAYERS: bool = true;
///
///     fn num_actions(&self, stones: &usize) -> usize {
///         (*stones).min(3)
///     }
///
///     fn step(&self, stones: &mut usize, action: usize, _: &mut Stream) -> f64 {
///         *stones -= action + 1;
///         if *stones == 0 { 1.0 } else { 0.0 }
///     }
/// }
///
/// let mut search = Search::new(Nim, Config { range: 2.0, ..Config::default() }, 1)?;
/// search.plan(&10);
/// assert_eq!(search.best() + 1, 2, "leaves a multiple of four");
/// # Ok::<(), rederive_train::ConfigError>(())
/// ```
pub trait Model {
    /// A state, with whatever it takes to go on from it.
    type State: Clone + PartialEq;

    /// Whether two players act in turn, one's gain being the other's loss. Otherwise one player does all.
    const TWO_PLAYERS: bool = false;

    /// Whether the same action can lead to different states. A search then keeps a node for each state that was met.
    const CHANCE: bool = false;

    /// How many actions there are in `state`, numbered from 0; none where it is over.
    fn num_actions(&self, state: &Self::State) -> usize;

    /// Takes `action`, draws what follows, and returns the reward of whoever acted.
    fn step(&self, state: &mut Self::State, action: usize, rng: &mut Stream) -> f64;

    /// The discounted return, for the player to act in `state`, of uniformly random actions from there on: [`playout`], unless
    /// the model has quicker code that draws from the same law.
    #[inline]
    fn playout(&self, state: &Self::State, gamma: f64, max_steps: u32, rng: &mut Stream) -> f64 {
        playout(self, state, gamma, max_steps, rng, |n, rng| rng.below(n as u32) as usize)
    }
}

impl<M: Model> Model for &M {
    type State = M::State;
    const TWO_PLAYERS: bool = M::TWO_PLAYERS;
    const CHANCE: bool = M::CHANCE;

    #[inline(always)]
    fn num_actions(&self, state: &Self::State) -> usize {
        (**self).num_actions(state)
    }

    #[inline(always)]
    fn step(&self, state: &mut Self::State, action: usize, rng: &mut Stream) -> f64 {
        (**self).step(state, action, rng)
    }

    #[inline(always)]
    fn playout(&self, state: &Self::State, gamma: f64, max_steps: u32, rng: &mut Stream) -> f64 {
        (**self).playout(state, gamma, max_steps, rng)
    }
}

/// What the next player's value counts for the one before: `gamma`, and the other sign where they are opponents.
#[inline(always)]
pub(crate) fn discount<M: Model + ?Sized>(gamma: f64) -> f64 {
    if M::TWO_PLAYERS { -gamma } else { gamma }
}

/// The discounted return from `state` on, for the player to act there, where `pick` chooses among `n` actions; it ends with
/// the game or after `max_steps` steps.
///
/// ID `mcts.playout`: with uniform choices its mean is the value of the uniform policy, `V^unif(s)`, not `V*(s)`.
///
/// Source: B. Brügmann (1993), Monte Carlo Go.
// ANCHOR: mcts.playout
#[inline]
pub fn playout<M: Model + ?Sized>(
    model: &M,
    state: &M::State,
    gamma: f64,
    max_steps: u32,
    rng: &mut Stream,
    mut pick: impl FnMut(usize, &mut Stream) -> usize,
) -> f64 {
    let mut state = state.clone();
    let (mut return_, mut weight) = (0.0, 1.0);
    for _ in 0..max_steps {
        let n = model.num_actions(&state);
        if n == 0 {
            break;
        }
        let action = pick(n, rng);
        return_ += weight * model.step(&mut state, action, rng);
        weight *= discount::<M>(gamma);
    }
    return_
}
// ANCHOR_END: mcts.playout
