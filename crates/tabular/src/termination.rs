use crate::SolveError;
use crate::backup::Rows;
use crate::bounds::greedy;
use crate::options::config;
use rederive_env::Mdp;
use rederive_math::Real;

/// After how many sweeps episodes count as too long for a bound.
const MAX_SWEEPS: u32 = 1_000_000;

/// How many steps an episode takes at most, on average, whatever state it starts in and whatever is done: a bound from above.
///
/// It exists if every policy ends the episode with probability 1, which is what makes `gamma = 1` sound. That in turn is a
/// question about the graph alone: take away every state all of whose remaining actions may end the episode or lead to a state
/// taken away, until nothing changes; what is left can be kept going for ever.
///
/// The longest time solves `W = 1 + max_a P W`. A `V` with `1 + max_a P V <= V + e`, `e < 1`, gives `W <= V / (1 - e)`.
///
/// # Errors
/// [`SolveError::NeverEnds`] with a state and an action that go on for ever, or a configuration error if episodes take so long that
/// the bound is out of reach.
///
/// Source: D. Bertsekas and J. Tsitsiklis (1991), An analysis of stochastic shortest path problems.
pub fn longest_episode<P: Real>(mdp: &Mdp<P>) -> Result<f64, SolveError> {
    if let Some((state, action)) = endless(mdp) {
        return Err(SolveError::NeverEnds { state, action });
    }
    let ones = vec![1.0; mdp.num_pairs()];
    let rows = Rows { reward: &ones, ..Rows::of(mdp) };
    let mut time = vec![0.0_f64; mdp.num_states()];
    let mut q = vec![0.0; mdp.num_actions()];
    let mut sweeps = 0;
    loop {
        // In place: the values rise towards the solution, which exists.
        let (mut rise, mut longest): (f64, f64) = (0.0, 0.0);
        for s in 0..time.len() {
            let pairs = mdp.pairs(s);
            let q = &mut q[..pairs.len()];
            rows.backup(pairs, &time, 1.0, q);
            let (slowest, _) = greedy(q);
            rise = rise.max(slowest - time[s]);
            time[s] = slowest;
            longest = longest.max(slowest);
        }
        if rise <= 0.01 {
            // A sweep in place that raised no entry by more than `e` leaves `T V <= V + e`; rounding is far below the rest.
            return Ok(longest / (1.0 - rise - 1e-9));
        }
        sweeps += 1;
        if sweeps == MAX_SWEEPS {
            return Err(config(
                "gamma",
                1,
                format!("below 1: episodes can last more than {longest:.0} steps on average"),
            ));
        }
    }
}

/// A state and an action with which it stays among the states that can be kept going for ever, if there are such states.
fn endless<P: Real>(mdp: &Mdp<P>) -> Option<(usize, usize)> {
    let states = mdp.num_states();
    // An action is safe as long as it surely stays among the states that are left; `safe` counts a state's safe actions.
    let mut safe: Vec<u32> = (0..states).map(|s| mdp.pairs(s).len() as u32).collect();
    let mut broken = vec![false; mdp.num_pairs()];
    let (first, owner) = predecessors(mdp);
    let mut gone: Vec<u32> = Vec::new();
    let mut break_pair = |pair: usize, state: usize, safe: &mut [u32], gone: &mut Vec<u32>| {
        if !std::mem::replace(&mut broken[pair], true) {
            safe[state] -= 1;
            if safe[state] == 0 {
                gone.push(state as u32);
            }
        }
    };
    for s in 0..states {
        for pair in mdp.pairs(s) {
            // Whatever is missing from 1 is the probability of an end. Rows as sums of roundings come closer than this.
            let stay: f64 = mdp.prob()[mdp.entries(pair)].iter().map(|&p| p.to_f64()).sum();
            if stay < 1.0 - 1e-6 {
                break_pair(pair, s, &mut safe, &mut gone);
            }
        }
    }
    let mut pair_state = vec![0u32; mdp.num_pairs()];
    for s in 0..states {
        pair_state[mdp.pairs(s)].fill(s as u32);
    }
    while let Some(s) = gone.pop() {
        for &pair in &owner[first[s as usize] as usize..first[s as usize + 1] as usize] {
            break_pair(pair as usize, pair_state[pair as usize] as usize, &mut safe, &mut gone);
        }
    }
    let state = safe.iter().position(|&actions| actions > 0)?;
    let action = mdp.pairs(state).position(|pair| !broken[pair])?;
    Some((state, action))
}

/// For every state the pairs that may lead to it, as offsets and pairs.
fn predecessors<P: Real>(mdp: &Mdp<P>) -> (Vec<u32>, Vec<u32>) {
    let mut first = vec![0u32; mdp.num_states() + 1];
    for &s in mdp.next() {
        first[s as usize + 1] += 1;
    }
    for s in 1..first.len() {
        first[s] += first[s - 1];
    }
    let mut slot = first.clone();
    let mut pairs = vec![0u32; mdp.next().len()];
    for pair in 0..mdp.num_pairs() {
        for &s in &mdp.next()[mdp.entries(pair)] {
            pairs[slot[s as usize] as usize] = pair as u32;
            slot[s as usize] += 1;
        }
    }
    (first, pairs)
}
