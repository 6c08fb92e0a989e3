use crate::generators::{Roll, Segment, roll, roll_of, unit};
use crate::measure::{EXACT, TOL_ID, TOL_INEQ, TOL_STAT, Worst, require};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::{Array2, array, s};
use proptest::strategy::Strategy;
use rederive_math::{End, gae, returns};

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("return.recursion", "definition", TOL_ID, roll(), recursion_definition),
        random("return.recursion", "single-precision", 1e-5, wide(), recursion_single_precision),
        random("return.recursion", "wide", TOL_ID, wide(), recursion_definition),
        fixed("return.recursion", "edges", EXACT, |_| recursion_edges()),
        fixed("return.recursion", "closed", TOL_ID, |_| recursion_closed()),
        random("return.recursion", "layouts", EXACT, roll(), recursion_layouts),
        random("return.recursion", "unused", EXACT, roll(), recursion_unused),
        random("return.recursion", "mutants-die", EXACT, roll_of(3..=32, 1..=1), recursion_mutant),
        random("return.bounds-limits", "bound", TOL_INEQ, roll(), bounds),
        random(
            "return.bounds-limits",
            "equality",
            TOL_ID,
            (unit(), 0.0..=3.0f64, 0..=64usize),
            bounds_equality,
        ),
        random("return.bounds-limits", "limits", TOL_INEQ, (roll(), 0.0..=0.5f64), limits),
        fixed("return.bounds-limits", "closed", TOL_STAT, |_| bounds_closed()),
        random("return.index-shift", "definition", TOL_ID, roll(), index_shift),
        fixed("return.index-shift", "closed", TOL_ID, |_| index_shift_closed()),
    ]
}

/// More columns than a vector register holds numbers, and any remainder.
fn wide() -> impl Strategy<Value = Roll> + Clone + Send + Sync {
    roll_of(1..=9, 1..=150)
}

fn discounted(roll: &Roll, gamma: f64) -> Array2<f64> {
    let mut out = Array2::from_elem(roll.reward.dim(), f64::NAN);
    returns::discounted(&roll.reward, &roll.next_value, &roll.end(), gamma, &mut out);
    out
}

/// The same rollout in which every segment ends in a terminal state.
fn without_bootstrap(mut roll: Roll) -> Roll {
    let last = roll.steps() - 1;
    roll.terminated |= &roll.truncated;
    roll.terminated.row_mut(last).fill(true);
    roll
}

/// `sum_{k>=t} gamma^{k-t} r_k + gamma^{T-t} b_T`, term by term.
fn explicit(segment: &Segment, t: usize, gamma: f64) -> f64 {
    let rewards: f64 = (t..segment.len()).map(|k| gamma.powi((k - t) as i32) * segment.reward[k]).sum();
    rewards + gamma.powi((segment.len() - t) as i32) * segment.bootstrap
}

fn each_step(roll: &Roll, mut f: impl FnMut(&Segment, usize, [usize; 2])) {
    for segment in roll.segments() {
        for t in 0..segment.len() {
            f(&segment, t, [segment.first + t, segment.n]);
        }
    }
}

fn recursion_definition(roll: Roll) -> Measured {
    let left = discounted(&roll, roll.gamma);
    let mut worst = Worst::new();
    each_step(&roll, |segment, t, at| {
        worst.same(left[at], explicit(segment, t, roll.gamma));
    });
    worst.done()
}

fn recursion_single_precision(roll: Roll) -> Measured {
    let narrow = |a: &Array2<f64>| a.mapv(|x| x as f32);
    let mut out = Array2::from_elem(roll.reward.dim(), f32::NAN);
    returns::discounted(
        &narrow(&roll.reward),
        &narrow(&roll.next_value),
        &roll.end(),
        roll.gamma as f32,
        &mut out,
    );
    let mut worst = Worst::new();
    each_step(&roll, |segment, t, at| {
        worst.same(f64::from(out[at]), explicit(segment, t, roll.gamma));
    });
    worst.done()
}

fn recursion_edges() -> Measured {
    // No step at all, and no environment.
    for shape in [(0, 3), (4, 0)] {
        let none = Array2::<f64>::zeros(shape);
        let mut out = Array2::zeros(shape);
        returns::discounted(&none, &none, &Array2::from_elem(shape, End::No), 0.9, &mut out);
    }
    // One step, for each way to end it; gamma 0 and 1.
    let mut worst = Worst::new();
    for (end, gamma, expected) in [
        (End::Terminated, 0.5, 3.0),
        (End::Truncated, 0.5, 5.0),
        (End::No, 0.5, 5.0),
        (End::Truncated, 0.0, 3.0),
        (End::Truncated, 1.0, 7.0),
        (End::Terminated, 1.0, 3.0),
    ] {
        let mut out = array![[f64::NAN]];
        returns::discounted(&array![[3.0]], &array![[4.0]], &array![[end]], gamma, &mut out);
        worst.same(out[[0, 0]], expected);
    }
    worst.done()
}

fn recursion_closed() -> Measured {
    let run = |reward: Vec<f64>, gamma| {
        let t = reward.len();
        let reward = Array2::from_shape_vec((t, 1), reward).expect("one column");
        let mut end = Array2::from_elem((t, 1), End::No);
        end[[t - 1, 0]] = End::Terminated;
        let mut out = Array2::from_elem((t, 1), f64::NAN);
        returns::discounted(&reward, &Array2::from_elem((t, 1), 9.0), &end, gamma, &mut out);
        out.into_raw_vec_and_offset().0
    };
    let mut worst = Worst::new();
    // The value of the second state is 1; the return from time 0, which some texts condition on it, is 5.5.
    worst.all(&run(vec![5.0, 1.0], 0.5), &[5.5, 1.0]);
    // One state and three steps to go: the value depends on the time.
    worst.all(&run(vec![1.0, 1.0, 1.0], 1.0), &[3.0, 2.0, 1.0]).done()
}

/// Arrays whose columns are contiguous instead of their rows give the same bits.
fn recursion_layouts(roll: Roll) -> Measured {
    fn turn<A: Clone>(a: &Array2<A>) -> Array2<A> {
        a.t().as_standard_layout().into_owned().reversed_axes()
    }
    let mut out = turn(&Array2::from_elem(roll.reward.dim(), f64::NAN));
    returns::discounted(
        &turn(&roll.reward),
        &turn(&roll.next_value),
        &turn(&roll.end()),
        roll.gamma,
        &mut out,
    );
    require(out == discounted(&roll, roll.gamma), || "the layout changes the result".to_owned())?;
    Ok(0.0)
}

/// Only the value at a truncation and behind the last row may be read: NaN everywhere else changes nothing.
fn recursion_unused(roll: Roll) -> Measured {
    let mut poisoned = roll.clone();
    let last = roll.steps() - 1;
    for (at, v) in poisoned.next_value.indexed_iter_mut() {
        let terminated = roll.terminated[at];
        if terminated || (!roll.truncated[at] && at.0 != last) {
            *v = f64::NAN;
        }
    }
    let same = discounted(&roll, roll.gamma) == discounted(&poisoned, roll.gamma);
    require(same, || "a value that no step bootstraps from is used".to_owned())?;
    Ok(0.0)
}

/// Discounting from time 0 instead of from `t` would give `gamma G_1` at step 1.
fn recursion_mutant(mut roll: Roll) -> Measured {
    roll.gamma = 0.25 + 0.5 * roll.gamma;
    roll.terminated.fill(false);
    roll.truncated.fill(false);
    roll.reward.fill(1.0);
    let roll = without_bootstrap(roll);
    let forward: f64 = (1..roll.steps()).map(|k| roll.gamma.powi(k as i32)).sum();
    let left = discounted(&roll, roll.gamma)[[1, 0]];
    require((left - forward).abs() > 0.1, || format!("{left} is discounted from time 0"))?;
    Ok(0.0)
}

fn bounds(roll: Roll) -> Measured {
    let roll = without_bootstrap(roll);
    let left = discounted(&roll, roll.gamma);
    let mut worst = Worst::new();
    for segment in roll.segments() {
        let r_max = segment.reward.iter().fold(0.0, |m: f64, r| m.max(r.abs()));
        let bound = returns::bound(r_max, roll.gamma, segment.len());
        worst.at_most(left[[segment.first, segment.n]].abs(), bound);
    }
    worst.done()
}

/// A constant reward attains the bound; `1 - gamma^(T+1)` in the numerator would not be attained.
fn bounds_equality((gamma, reward, steps): (f64, f64, usize)) -> Measured {
    let sum: f64 = (0..steps).map(|k| gamma.powi(k as i32) * reward).sum();
    let mut worst = Worst::new();
    worst.same(returns::bound(reward, gamma, steps), sum);
    if steps > 0 {
        let shape = (steps, 1);
        let mut end = Array2::from_elem(shape, End::No);
        end[[steps - 1, 0]] = End::Terminated;
        let mut out = Array2::from_elem(shape, f64::NAN);
        returns::discounted(&Array2::from_elem(shape, reward), &Array2::zeros(shape), &end, gamma, &mut out);
        worst.same(out[[0, 0]], sum);
    }
    // Close to gamma = 1 the quotient must not lose its digits.
    let close = 1.0 - 1e-9 * gamma;
    worst.same(returns::bound(reward, close, steps), (0..steps).map(|k| close.powi(k as i32) * reward).sum());
    worst.done()
}

fn limits((roll, epsilon): (Roll, f64)) -> Measured {
    let roll = without_bootstrap(roll);
    let (none, near, all) =
        (discounted(&roll, 0.0), discounted(&roll, 1.0 - epsilon), discounted(&roll, 1.0));
    let mut worst = Worst::new();
    each_step(&roll, |segment, t, at| {
        let r_max = segment.reward.iter().fold(0.0, |m: f64, r| m.max(r.abs()));
        let steps = segment.len() as f64;
        worst.same(none[at], segment.reward[t]);
        worst.same(all[at], segment.reward[t..].iter().sum());
        worst.at_most((near[at] - all[at]).abs(), epsilon * steps * steps * r_max);
    });
    worst.done()
}

fn bounds_closed() -> Measured {
    let mut worst = Worst::new();
    // A state that pays 1 for ever and has no terminal state is worth 10 at a discount of 0.9.
    worst.printed(returns::bound(1.0, 0.9, 10_000), 10.0, 10);
    // Without a discount the partial sums 1, 2, 3, ... have no limit.
    for steps in 1..=100 {
        worst.printed(returns::bound(1.0, 1.0, steps), steps as f64, 10);
    }
    worst.printed(returns::bound(0.0, 1.0, 5), 0.0, 10);
    worst.done()
}

/// The other layout: rewards numbered from 1, the dummy slot 0 poisoned. Returns, TD errors and advantages of a segment.
fn shifted(segment: &Segment, gamma: f64, gae_lambda: f64) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let steps = segment.len();
    let mut reward = vec![f64::NAN];
    reward.extend(&segment.reward);
    let value = |k: usize| segment.value_after(k);
    // G_t = R_{t+1} + gamma R_{t+2} + ...; delta_t = R_{t+1} + gamma V(S_{t+1}) - V(S_t).
    let return_ = |t: usize| {
        let tail: f64 = (1..=steps - t).map(|i| gamma.powi(i as i32 - 1) * reward[t + i]).sum();
        tail + gamma.powi((steps - t) as i32) * segment.bootstrap
    };
    let delta = |t: usize| reward[t + 1] + gamma * value(t + 1) - value(t);
    let advantage =
        |t: usize| (t..steps).map(|k| (gamma * gae_lambda).powi((k - t) as i32) * delta(k)).sum::<f64>();
    ((0..steps).map(return_).collect(), (0..steps).map(delta).collect(), (0..steps).map(advantage).collect())
}

fn index_shift(roll: Roll) -> Measured {
    let (steps, columns) = roll.reward.dim();
    let end = roll.end();
    // The note's array: rewards numbered from 1.
    let mut numbered = Array2::from_elem((steps + 1, columns), f64::NAN);
    numbered.slice_mut(s![1.., ..]).assign(&roll.reward);
    let reward = returns::from_shifted(&numbered);
    let mut return_ = Array2::from_elem((steps, columns), f64::NAN);
    returns::discounted(&reward, &roll.next_value, &end, roll.gamma, &mut return_);
    let mut delta = return_.clone();
    returns::td_error(&reward, &roll.value, &roll.next_value, &end, roll.gamma, &mut delta);
    let (mut advantage, mut target) = (delta.clone(), delta.clone());
    gae::gae(
        &reward,
        &roll.value,
        &roll.next_value,
        &end,
        roll.gamma,
        roll.gae_lambda,
        &mut advantage,
        &mut target,
    );
    let mut worst = Worst::new();
    for segment in roll.segments() {
        let (returns, deltas, advantages) = shifted(&segment, roll.gamma, roll.gae_lambda);
        for t in 0..segment.len() {
            let at = [segment.first + t, segment.n];
            worst.same(return_[at], returns[t]).same(delta[at], deltas[t]).same(advantage[at], advantages[t]);
        }
    }
    worst.done()
}

fn index_shift_closed() -> Measured {
    let mut worst = Worst::new();
    for (numbered, gamma, expected) in [
        // Rewards R_1 = 5, R_2 = 1: the return from time 0 is 5.5, from time 1 it is 1.
        (array![[f64::NAN], [5.0], [1.0]], 0.5, &[5.5, 1.0][..]),
        // 1, 2, 3 without discount: starting at the second reward would give 5.
        (array![[f64::NAN], [1.0], [2.0], [3.0]], 1.0, &[6.0, 5.0, 3.0]),
        (array![[f64::NAN], [4.0]], 0.5, &[4.0]),
    ] {
        let reward = returns::from_shifted(&numbered);
        let mut end = Array2::from_elem(reward.dim(), End::No);
        end[[reward.nrows() - 1, 0]] = End::Terminated;
        let mut out = Array2::from_elem(reward.dim(), f64::NAN);
        returns::discounted(&reward, &Array2::zeros(reward.dim()), &end, gamma, &mut out);
        worst.all(&out, expected);
    }
    let no_slot = panics(|| returns::from_shifted(&Array2::<f64>::zeros((0, 2))).dim());
    require(no_slot, || "an array without slot 0 is accepted".to_owned())?;
    worst.done()
}
