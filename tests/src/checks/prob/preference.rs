//! The Bradley-Terry model: `prob.bradley-terry` and `prob.bt-mle`.

use super::law;
use crate::generators::normals;
use crate::measure::{EXACT, TOL_FD, TOL_ID, TOL_INEQ, Worst, require};
use crate::oracles;
use crate::{Check, Measured, fixed, random};
use ndarray::{Array2, array};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::preference::{Games, Unfit, win_probability};

pub(super) fn checks() -> Vec<Check> {
    vec![
        random("prob.bradley-terry", "definition", TOL_ID, vec(-20.0..=20.0f64, 2..=5), definition),
        random("prob.bradley-terry", "logits", TOL_ID, vec(-5.0..=5.0f64, 3..=5), logits),
        fixed("prob.bradley-terry", "edges", EXACT, |_| edges()),
        random("prob.bt-mle", "gradient", TOL_FD, (wins(), normals(4)), gradient),
        random("prob.bt-mle", "monotone", TOL_INEQ, (wins(), normals(4)), monotone),
        random("prob.bt-mle", "maximum", 1e-5, wins(), maximum),
        random("prob.bt-mle", "curvature", TOL_INEQ, (wins(), normals(4), normals(4)), curvature),
        random("prob.bt-mle", "connected", EXACT, sparse_wins(), connected),
        fixed("prob.bt-mle", "edges", EXACT, |_| mle_edges()),
    ]
}

fn definition(u: Vec<f64>) -> Measured {
    let mut worst = Worst::new();
    for &a in &u {
        for &b in &u {
            let max = a.max(b);
            let (wins, loses) = ((a - max).exp(), (b - max).exp());
            let p = win_probability(a, b);
            worst.same(p, wins / (wins + loses)).same(p + win_probability(b, a), 1.0);
            worst.same(p, win_probability(a + 3.0, b + 3.0));
        }
    }
    worst.done()
}

/// Logits add up along a chain of players. Only for abilities up to 5: from a difference of about 37 on, a probability rounds to 1.
fn logits(u: Vec<f64>) -> Measured {
    let logit = |a: f64, b: f64| {
        let p = win_probability(a, b);
        (p / (1.0 - p)).ln()
    };
    let mut worst = Worst::new();
    for &a in &u {
        for &b in &u {
            for &c in &u {
                worst.same(logit(a, c), logit(a, b) + logit(b, c));
            }
        }
    }
    worst.done()
}

fn edges() -> Measured {
    for (a, b, p) in [(400.0, -400.0, 1.0), (-400.0, 400.0, 0.0), (800.0, 0.0, 1.0), (0.7, 0.7, 0.5)] {
        let got = win_probability(a, b);
        require(got == p, || format!("{got} instead of {p} for abilities {a} and {b}"))?;
    }
    let single = win_probability(400.0f32, -400.0);
    require(single == 1.0, || format!("{single} in single precision"))?;
    Ok(0.0)
}

/// `w[i, j]`, how often i beat j: 1 to 5 for every pair, so that a finite maximiser exists.
fn wins() -> impl Strategy<Value = Array2<f64>> + Clone + Send + Sync {
    (2..=4usize, vec(1..=5u32, 16)).prop_map(|(n, w)| {
        Array2::from_shape_fn((n, n), |(i, j)| if i == j { 0.0 } else { f64::from(w[i * 4 + j]) })
    })
}

/// The negative log-likelihood from ratios of exponentials, game by game.
fn loss(w: &Array2<f64>, u: &[f64]) -> f64 {
    let term = |((i, j), w): ((usize, usize), &f64)| {
        let max = u[i].max(u[j]);
        let (wins, loses) = ((u[i] - max).exp(), (u[j] - max).exp());
        if *w == 0.0 { 0.0 } else { -w * (wins / (wins + loses)).ln() }
    };
    w.indexed_iter().map(term).sum()
}

fn gradient((w, u): (Array2<f64>, Vec<f64>)) -> Measured {
    let u = &u[..w.nrows()];
    let games = law(Games::new(&w))?;
    let mut formula = vec![f64::NAN; u.len()];
    games.d_nll(u, &mut formula);
    let difference = oracles::gradient(|u| loss(&w, u), u);
    let mut worst = Worst::new();
    worst.gradient(&formula, &difference).same(games.nll(u), loss(&w, u)).same(formula.iter().sum(), 0.0);
    worst.done()
}

/// 200 MM steps from anywhere, none of which lowers the likelihood.
fn monotone((w, u): (Array2<f64>, Vec<f64>)) -> Measured {
    let games = law(Games::new(&w))?;
    let mut strength: Vec<f64> = u[..w.nrows()].iter().map(|u| u.exp()).collect();
    let mut next = strength.clone();
    let mut before = f64::INFINITY;
    let mut worst = Worst::new();
    for _ in 0..200 {
        let ability: Vec<f64> = strength.iter().map(|x| x.ln()).collect();
        let now = loss(&w, &ability);
        worst.at_most(now, before);
        before = now;
        // The step reports the gradient it started from.
        let reported = games.mm_step(&strength, &mut next);
        let mut slope = vec![f64::NAN; ability.len()];
        games.d_nll(&ability, &mut slope);
        worst.same(reported, slope.iter().fold(0.0, |m: f64, g| m.max(g.abs())));
        std::mem::swap(&mut strength, &mut next);
    }
    worst.done()
}

fn maximum(w: Array2<f64>) -> Measured {
    let games = law(Games::new(&w))?;
    let fit = law(games.fit(1e-9, 10_000))?;
    require(fit.converged && fit.gradient <= 1e-9, || format!("not converged: {fit:?}"))?;
    let slope = oracles::gradient(|u| loss(&w, u), &fit.ability);
    let mut worst = Worst::new();
    slope.iter().for_each(|g| {
        worst.add(g.abs());
    });
    worst.same(fit.ability.iter().sum(), 0.0);
    worst.done()
}

/// The likelihood is concave, and flat along equal shifts of all abilities.
fn curvature((w, u, v): (Array2<f64>, Vec<f64>, Vec<f64>)) -> Measured {
    let n = w.nrows();
    let games = law(Games::new(&w))?;
    let middle: Vec<f64> = u[..n].iter().zip(&v).map(|(u, v)| 0.5 * (u + v)).collect();
    let shifted: Vec<f64> = u[..n].iter().map(|u| u + 2.5).collect();
    let mut worst = Worst::new();
    worst.at_most(games.nll(&middle), 0.5 * (games.nll(&u[..n]) + games.nll(&v[..n])));
    worst.same(games.nll(&shifted), games.nll(&u[..n]));
    // Along the shift the gradient does not change either: (1, ..., 1) is in the Hessian's null space.
    let (mut here, mut there) = (vec![f64::NAN; n], vec![f64::NAN; n]);
    games.d_nll(&u[..n], &mut here);
    games.d_nll(&shifted, &mut there);
    worst.all(&here, &there);
    worst.done()
}

/// Few wins, so that the graph of wins is often not strongly connected.
fn sparse_wins() -> impl Strategy<Value = Array2<f64>> + Clone + Send + Sync {
    (2..=4usize, vec(0..=6u32, 16)).prop_map(|(n, w)| {
        let count = |w: u32| f64::from(w.saturating_sub(4));
        Array2::from_shape_fn((n, n), |(i, j)| if i == j { 0.0 } else { count(w[i * 4 + j]) })
    })
}

/// A fit exists exactly if no way to split the players in two leaves one side without a win over the other.
fn connected(w: Array2<f64>) -> Measured {
    let n = w.nrows();
    let wins_over =
        |set: u32| (0..n).any(|i| set >> i & 1 == 1 && (0..n).any(|j| set >> j & 1 == 0 && w[[i, j]] > 0.0));
    let all = (1u32 << n) - 1;
    let exists = (1..all).all(wins_over);
    match law(Games::new(&w))?.fit(1e-6, 100_000) {
        Ok(fit) => require(exists && fit.converged, || format!("{fit:?} has no finite maximum"))?,
        Err(fault) => {
            require(!exists, || format!("refused although a maximum exists: {fault}"))?;
            let players = match &fault {
                Unfit::Diverges { players } | Unfit::Apart { players } => players,
                Unfit::Wins { .. } => return Err(format!("the table is sound, but {fault}")),
            };
            let set = players.iter().fold(0, |set, &i| set | 1 << i);
            require(!wins_over(set), || format!("{players:?} do beat others"))?;
            let diverges = matches!(fault, Unfit::Diverges { .. });
            require(diverges == wins_over(all ^ set), || format!("the wrong reason: {fault}"))?;
        }
    }
    Ok(0.0)
}

fn mle_edges() -> Measured {
    // A player without wins has no finite ability.
    let games = law(Games::new(&array![[0.0, 2.0, 1.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]))?;
    let fit = games.fit(1e-9, 1000);
    require(fit == Err(Unfit::Diverges { players: vec![2] }), || {
        format!("{fit:?} for a player without wins")
    })?;
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        let games = Games::new(&array![[0.0, bad], [1.0, 0.0]]);
        require(games.is_err(), || format!("{bad} wins are accepted"))?;
    }
    require(Games::new(&array![[1.0]]).is_err(), || "a win over oneself is accepted".to_owned())?;
    Ok(0.0)
}
