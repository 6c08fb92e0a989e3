//! `prob.epsilon-greedy`.

use crate::generators::{normals, unit};
use crate::measure::{EXACT, TOL_ID, TOL_STAT, Worst, require};
use crate::{Check, Measured, fixed, panics, random};
use proptest::prelude::*;
use rederive_math::{Stream, exploration};

pub(super) fn checks() -> Vec<Check> {
    vec![
        random("prob.epsilon-greedy", "definition", TOL_ID, case(), definition),
        random("prob.epsilon-greedy", "sampler", TOL_ID, case(), sampler),
        fixed("prob.epsilon-greedy", "seeded", TOL_STAT, seeded),
        random("prob.epsilon-greedy", "decay", TOL_ID, (unit(), unit(), 0..=40u64), decay),
        random("prob.epsilon-greedy", "edges", EXACT, case(), edges),
        fixed("prob.epsilon-greedy", "closed", TOL_STAT, |_| closed()),
    ]
}

/// Action values, often with ties, and a share of exploration.
fn case() -> impl Strategy<Value = (Vec<f64>, f64)> + Clone + Send + Sync {
    (normals(1..=6), any::<bool>(), unit()).prop_map(|(mut q, round, epsilon)| {
        if round {
            q.iter_mut().for_each(|x| *x = x.round());
        }
        (q, epsilon)
    })
}

/// The first of the largest.
fn best(q: &[f64]) -> usize {
    (1..q.len()).fold(0, |best, a| if q[a] > q[best] { a } else { best })
}

fn probabilities(q: &[f64], epsilon: f64) -> Vec<f64> {
    let mut out = vec![f64::NAN; q.len()];
    exploration::epsilon_greedy(q, epsilon, &mut out);
    out
}

fn definition((q, epsilon): (Vec<f64>, f64)) -> Measured {
    let left = probabilities(&q, epsilon);
    let (greedy, n) = (best(&q), q.len() as f64);
    let mut worst = Worst::new();
    for (a, p) in left.iter().enumerate() {
        // Not greedy, or greedy by the coin, or greedy by the random branch.
        let expected = if a == greedy { 1.0 - epsilon * (n - 1.0) / n } else { epsilon / n };
        worst.same(*p, expected);
    }
    worst.same(left.iter().sum(), 1.0).done()
}

/// The law of the sampler, from its two coins: the first one decides the branch, the second one the random action.
fn sampler((q, epsilon): (Vec<f64>, f64)) -> Measured {
    let n = q.len();
    let mut law = vec![0.0; n];
    // One number of each coin's ranges stands for the whole range.
    for (coin, weight) in [(0.5 * epsilon, epsilon), (0.5 * (1.0 + epsilon), 1.0 - epsilon)] {
        for cell in 0..n {
            if weight > 0.0 {
                let pick = (cell as f64 + 0.5) / n as f64;
                law[exploration::choose(&q, epsilon, coin, pick)] += weight / n as f64;
            }
        }
    }
    Worst::new().all(&law, &probabilities(&q, epsilon)).done()
}

fn seeded(seed: u64) -> Measured {
    let (q, epsilon, draws) = ([0.3, 2.0, 2.0, -1.0], 0.3, 20_000u32);
    let mut stream = Stream::new(seed, "epsilon-greedy", 0);
    let mut count = [0u32; 4];
    for _ in 0..draws {
        count[exploration::sample(&q, epsilon, &mut stream)] += 1;
    }
    let mut worst = Worst::new();
    for (count, p) in count.iter().zip(probabilities(&q, epsilon)) {
        let variance = f64::from(draws) * p * (1.0 - p);
        require(variance >= 100.0, || format!("{variance} is too small for a normal limit"))?;
        worst.within_five_se(f64::from(*count), f64::from(draws) * p, variance.sqrt());
    }
    worst.done()
}

fn decay((start, factor, k): (f64, f64, u64)) -> Measured {
    let by_hand = (0..k).fold(start, |epsilon, _| epsilon * factor);
    Worst::new().same(exploration::geometric_decay(start, factor, k), by_hand).done()
}

/// Never and always exploring; a single action; a share outside of the unit interval.
fn edges((q, _): (Vec<f64>, f64)) -> Measured {
    let (never, always) = (probabilities(&q, 0.0), probabilities(&q, 1.0));
    let greedy = best(&q);
    let point = never.iter().enumerate().all(|(a, p)| *p == if a == greedy { 1.0 } else { 0.0 });
    require(point, || format!("without exploration: {never:?}"))?;
    let each = 1.0 / q.len() as f64;
    require(always.iter().all(|p| (p - each).abs() < 1e-15), || format!("always exploring: {always:?}"))?;
    require(probabilities(&q[..1], 0.3) == [1.0], || "a single action is not sure".to_owned())?;
    for bad in [-0.1, 1.1, f64::NAN] {
        require(panics(|| probabilities(&q, bad)), || format!("a share of {bad} is accepted"))?;
    }
    require(panics(|| probabilities(&[], 0.1)), || "no action is accepted".to_owned())?;
    Ok(0.0)
}

fn closed() -> Measured {
    let p = probabilities(&[0.0, 3.0, 1.0, 2.0], 0.1);
    let mut worst = Worst::new();
    // Not 0.9: the random branch includes the greedy action.
    worst.printed(p[1], 0.925, 10).printed(p[0], 0.025, 10);
    worst.printed(exploration::geometric_decay(0.9, 0.995, 1000), 0.005_988_6, 7);
    worst.done()
}
