use crate::generators::{GameTree, game_tree, gamma, unit};
use crate::measure::{EXACT, TOL_ID, TOL_STAT, Worst, require};
use crate::{Check, Measured, fixed, panics, random};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::Stream;
use rederive_mcts::{Child, Config, Model, NodeId, Search, Tree, ValueLeaf, mix, playout, ucb};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("mcts.ucb", "definition", TOL_ID, counts(), ucb_definition),
        random("mcts.ucb", "monotone", EXACT, counts(), ucb_monotone),
        random("mcts.ucb", "choice", TOL_ID, pulls(), ucb_choice).at_most(64),
        fixed("mcts.ucb", "closed", TOL_STAT, |_| ucb_closed()),
        random("mcts.scale", "invariance", EXACT, scaled_pulls(), scale_invariance).at_most(128),
        fixed("mcts.scale", "closed", EXACT, |_| scale_closed()),
        fixed("mcts.ucb1-regret", "bound", EXACT, regret_within_bound),
        fixed("mcts.ucb1-regret", "closed", TOL_STAT, |_| regret_closed()),
        random("mcts.backup", "definition", TOL_ID, logged(), backup_definition).at_most(64),
        random("mcts.backup", "path", TOL_ID, path(), backup_path),
        fixed("mcts.backup", "closed", EXACT, |_| backup_closed()),
        random("mcts.expansion", "definition", EXACT, logged(), expansion_definition).at_most(64),
        fixed("mcts.expansion", "ends", EXACT, |_| expansion_ends()),
        random("mcts.playout", "definition", TOL_ID, bare_tree(), playout_definition).at_most(128),
        fixed("mcts.playout", "sampled", TOL_STAT, playout_sampled),
        fixed("mcts.playout", "closed", TOL_ID, |_| playout_closed()),
        random("mcts.value-leaf", "exact", TOL_ID, bare_tree(), leaf_exact),
        random("mcts.value-leaf", "bias", TOL_ID, (bare_tree(), -2.0..=2.0f64), leaf_bias),
        random("mcts.value-leaf", "mixture", TOL_ID, (bare_tree(), unit()), leaf_mixture),
        fixed("mcts.uct-consistency", "closed", EXACT, |_| consistency_closed()),
        // One case is a search of 20000 simulations.
        random("mcts.uct-consistency", "limit", EXACT, game_tree(2, true), consistency_limit).at_most(24),
    ]
}

// ------------------------------------------------------------------------------------------------------------- processes

/// A [`GameTree`] as a model that writes down its steps.
struct Logged<'a, const TWO: bool, const CHANCE: bool> {
    tree: &'a GameTree,
    steps: RefCell<Vec<Step>>,
    /// What a playout brings instead of random actions, if it is fixed.
    outcome: Option<&'a [f64]>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    state: usize,
    action: usize,
    reward: f64,
    next: usize,
}

impl<'a, const TWO: bool, const CHANCE: bool> Logged<'a, TWO, CHANCE> {
    fn new(tree: &'a GameTree) -> Self {
        Logged { tree, steps: RefCell::new(Vec::new()), outcome: None }
    }
}

impl<const TWO: bool, const CHANCE: bool> Model for Logged<'_, TWO, CHANCE> {
    type State = usize;
    const TWO_PLAYERS: bool = TWO;
    const CHANCE: bool = CHANCE;

    fn num_actions(&self, state: &usize) -> usize {
        self.tree.nodes[*state].len()
    }

    fn step(&self, state: &mut usize, action: usize, rng: &mut Stream) -> f64 {
        let branches = &self.tree.nodes[*state][action];
        let branch =
            if branches.len() == 2 && rng.unit() >= branches[0].prob { &branches[1] } else { &branches[0] };
        self.steps.borrow_mut().push(Step {
            state: *state,
            action,
            reward: branch.reward,
            next: branch.next,
        });
        *state = branch.next;
        branch.reward
    }

    fn playout(&self, state: &usize, gamma: f64, max_steps: u32, rng: &mut Stream) -> f64 {
        match self.outcome {
            Some(outcome) => outcome[*state],
            None => playout(self, state, gamma, max_steps, rng, |n, rng| rng.below(n as u32) as usize),
        }
    }
}

/// Arms whose `k`-th pull pays a number given beforehand; one pull ends the episode.
struct Arms<F: Fn(usize, u32, &mut Stream) -> f64> {
    pulls: Vec<Cell<u32>>,
    pay: F,
}

impl<F: Fn(usize, u32, &mut Stream) -> f64> Arms<F> {
    fn new(arms: usize, pay: F) -> Self {
        Arms { pulls: vec![Cell::new(0); arms], pay }
    }

    /// The numbers of the arms, in the order in which a search pulls them.
    fn played(&self, rounds: u64, config: Config, seed: u64) -> Vec<usize> {
        let mut search = Search::new(self, config, seed).expect("a valid configuration");
        search.restart(&true);
        let pulls = || self.pulls.iter().map(Cell::get).collect::<Vec<_>>();
        let mut order = Vec::with_capacity(rounds as usize);
        for _ in 0..rounds {
            let before = pulls();
            search.run(1);
            order.extend(pulls().iter().zip(&before).position(|(after, before)| after > before));
        }
        order
    }

    /// How often each arm is pulled.
    fn counts(&self, rounds: u64, config: Config, seed: u64) -> Vec<u32> {
        let mut search = Search::new(self, config, seed).expect("a valid configuration");
        search.restart(&true);
        search.run(rounds);
        search.children().map(|child| child.visits).collect()
    }
}

impl<F: Fn(usize, u32, &mut Stream) -> f64> Model for Arms<F> {
    /// Whether there is still something to choose.
    type State = bool;

    fn num_actions(&self, open: &bool) -> usize {
        if *open { self.pulls.len() } else { 0 }
    }

    fn step(&self, open: &mut bool, arm: usize, rng: &mut Stream) -> f64 {
        *open = false;
        let pulls = &self.pulls[arm];
        pulls.set(pulls.get() + 1);
        (self.pay)(arm, pulls.get() - 1, rng)
    }
}

/// `V*(node)` for `best`, the value of uniformly random actions otherwise; at most `left` steps.
fn value(tree: &GameTree, node: usize, two: bool, best: bool, left: usize) -> f64 {
    let values: Vec<f64> = (0..tree.nodes[node].len())
        .filter(|_| left > 0)
        .map(|a| action_value(tree, node, a, two, best, left))
        .collect();
    match (values.is_empty(), best) {
        (true, _) => 0.0,
        (_, true) => values.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v)),
        (_, false) => values.iter().sum::<f64>() / values.len() as f64,
    }
}

/// The value of an action to whoever takes it.
fn action_value(tree: &GameTree, node: usize, action: usize, two: bool, best: bool, left: usize) -> f64 {
    let worth = |next| {
        let value = tree.gamma * value(tree, next, two, best, left - 1);
        if two { -value } else { value }
    };
    tree.nodes[node][action].iter().map(|b| b.prob * (b.reward + worth(b.next))).sum()
}

const DEEP: usize = 100;

// ---------------------------------------------------------------------------------------------------------------- bounds

#[derive(Clone, Debug)]
struct Counts {
    mean: f64,
    visits: u32,
    parent: u32,
    c: f64,
}

fn counts() -> impl Strategy<Value = Counts> + Clone + Send + Sync {
    let visits = prop_oneof![4 => 1..=50u32, 1 => 1..=1_000_000u32];
    let more = prop_oneof![1 => Just(0u32), 4 => 0..=200u32, 1 => 0..=1_000_000u32];
    (-2.0..=2.0f64, visits, more, prop_oneof![8 => 0.0..=5.0f64, 1 => Just(0.0)])
        .prop_map(|(mean, visits, more, c)| Counts { mean, visits, parent: visits + more, c })
}

fn ucb_definition(case: Counts) -> Measured {
    let Counts { mean, visits, parent, c } = case;
    let (n, all) = (f64::from(visits), f64::from(parent));
    let mut worst = Worst::new();
    worst.same(ucb::score(mean, visits, parent, c), mean + c * (all.ln() / n).sqrt());
    // A child that was never tried comes first, also where nothing else is known, and whatever the weight.
    for parent in [0, 1, parent] {
        worst.same(ucb::score(mean, 0, parent, c), f64::INFINITY);
    }
    worst.same(ucb::score(mean, 1, 1, c), mean);
    worst.done()
}

fn ucb_monotone(case: Counts) -> Measured {
    let Counts { visits: n, parent: all, .. } = case;
    let bonus = |n, all| ucb::score(0.0, n, all, 1.0);
    let here = bonus(n, all);
    require(all == 1 || bonus(n + 1, all) < here, || format!("does not fall from n = {n} on at N = {all}"))?;
    require(bonus(n, all + 1) > here, || format!("does not rise from N = {all} on at n = {n}"))?;
    // A visit raises both counts.
    let (x, y) = (f64::from(n) * f64::from(all + 1).ln(), f64::from(n + 1) * f64::from(all).ln());
    if (x - y).abs() > 1e-9 * x.max(1.0) {
        let falls = bonus(n + 1, all + 1) < here;
        require(falls == (x < y), || format!("a visit at n = {n}, N = {all}: falls is {falls}"))?;
    }
    Ok(0.0)
}

fn ucb_closed() -> Measured {
    let mut worst = Worst::new();
    for (n, printed) in [(1, 0.0), (2, 0.5887), (3, 0.6051), (4, 0.5887)] {
        worst.printed(ucb::score(0.0, n, n, 1.0), printed, 4);
    }
    worst.printed(ucb::score(0.0, 1, 2, 1.0), 0.8326, 4).printed(ucb::score(0.0, 2, 3, 1.0), 0.7412, 4);
    // Of equal scores the first child is taken, and without exploration the largest mean.
    let mut tree = Tree::new(3, 0.0);
    for value in [1.0, 2.0, 2.0] {
        let action = tree.select(Tree::ROOT);
        tree.descend(Tree::ROOT, action, value);
        tree.backup(0.0, 1.0);
    }
    worst.holds(tree.select(Tree::ROOT) == 1);
    worst.holds(panics(|| Tree::new(0, 1.0).select(Tree::ROOT)));
    worst.done()
}

#[derive(Clone, Debug)]
struct Pulls {
    arms: usize,
    pay: Vec<f64>,
    c: f64,
}

/// Rewards of arms by pull, multiples of 1/16 so that sums are exact.
fn pulls() -> impl Strategy<Value = Pulls> + Clone + Send + Sync {
    (1..=4usize, vec(0..=16u8, 23), prop_oneof![8 => 0.0..=3.0f64, 1 => Just(0.0)]).prop_map(
        |(arms, pay, c)| Pulls { arms, pay: pay.into_iter().map(|p| f64::from(p) / 16.0).collect(), c },
    )
}

impl Pulls {
    fn pay(&self, arm: usize, pull: u32) -> f64 {
        self.pay[(7 * arm + pull as usize) % self.pay.len()]
    }
}

/// Every choice has the largest score by the formula, or is the first of an arm.
fn ucb_choice(case: Pulls) -> Measured {
    let arms = Arms::new(case.arms, |arm, pull, _: &mut Stream| case.pay(arm, pull));
    let config = Config { c: case.c, ..Config::default() };
    let mut worst = Worst::new();
    let (mut n, mut sum) = (vec![0u32; case.arms], vec![0.0; case.arms]);
    for (round, arm) in arms.played(200, config, 1).into_iter().enumerate() {
        if round < case.arms {
            worst.holds(arm == round);
        } else {
            let bonus = |n: u32| case.c * ((round as f64).ln() / f64::from(n)).sqrt();
            let scores: Vec<f64> = (0..case.arms).map(|i| sum[i] / f64::from(n[i]) + bonus(n[i])).collect();
            let largest = scores.iter().fold(f64::NEG_INFINITY, |m, s| m.max(*s));
            worst.same(scores[arm], largest);
        }
        sum[arm] += case.pay(arm, n[arm]);
        n[arm] += 1;
    }
    worst.done()
}

#[derive(Clone, Debug)]
struct Scaled {
    pulls: Pulls,
    range: f64,
    shift: f64,
}

fn scaled_pulls() -> impl Strategy<Value = Scaled> + Clone + Send + Sync {
    (pulls(), -3..=6i32, -8..=8i32).prop_map(|(pulls, power, shift)| Scaled {
        pulls,
        range: 2f64.powi(power),
        shift: f64::from(shift) / 2.0,
    })
}

fn scale_invariance(case: Scaled) -> Measured {
    let Scaled { pulls, range, shift } = case;
    let order = |range: f64, shift: f64| {
        let arms = Arms::new(pulls.arms, |arm, pull, _: &mut Stream| range * pulls.pay(arm, pull) + shift);
        arms.played(300, Config { c: pulls.c, range, ..Config::default() }, 1)
    };
    let (plain, scaled) = (order(1.0, 0.0), order(range, shift));
    require(plain == scaled, || format!("the choices differ: {plain:?} and {scaled:?}"))?;
    Ok(0.0)
}

fn scale_closed() -> Measured {
    // The better arm pays nothing once and 60 from then on, the other one always 40.
    let counts = |range| {
        let arms = Arms::new(2, |arm, pull, _: &mut Stream| match (arm, pull) {
            (0, 0) => 0.0,
            (0, _) => 60.0,
            _ => 40.0,
        });
        arms.counts(2000, Config { c: 1.414, range, ..Config::default() }, 1)
    };
    let blind = counts(1.0);
    require(blind == [1, 1999], || format!("{blind:?} instead of 1 and 1999 pulls without the scale"))?;
    let seeing = counts(100.0);
    require(seeing[0] > 1500, || format!("{seeing:?} pulls with the scale"))?;
    Ok(0.0)
}

// ---------------------------------------------------------------------------------------------------------------- regret

fn regret_within_bound(seed: u64) -> Measured {
    const ROUNDS: u64 = 30_000;
    for means in [[0.7f64, 0.5], [0.5, 0.7], [0.6, 0.6]] {
        let best: f64 = f64::max(means[0], means[1]);
        let mut regret = 0.0;
        for run in 0..20 {
            let arms = Arms::new(2, |arm, _, rng: &mut Stream| f64::from(u8::from(rng.unit() < means[arm])));
            let counts = arms.counts(ROUNDS, Config::default(), 20 * seed + run);
            require(counts.iter().sum::<u32>() == ROUNDS as u32, || {
                format!("{counts:?}: a round is missing")
            })?;
            regret += counts.iter().zip(means).map(|(n, m)| f64::from(*n) * (best - m)).sum::<f64>() / 20.0;
        }
        let bound = ucb::regret_bound(&means, ROUNDS);
        let uniform = ROUNDS as f64 * (best - 0.5 * (means[0] + means[1]));
        require(regret <= bound, || format!("{means:?}: mean regret {regret} beyond {bound}"))?;
        require(uniform == 0.0 || bound < uniform / 5.0, || {
            format!("{means:?}: {bound} says nothing of {uniform}")
        })?;
    }
    Ok(0.0)
}

fn regret_closed() -> Measured {
    let mut worst = Worst::new();
    worst.printed(ucb::regret_bound(&[0.7, 0.5], 30_000), 413.2, 1);
    worst.printed(ucb::regret_bound(&[0.5, 0.7], 1000), 277.2, 1);
    // Three arms by the formula, one of them as good as the best.
    let terms = |gap: f64| 8.0 * 500f64.ln() / gap + (1.0 + std::f64::consts::PI.powi(2) / 3.0) * gap;
    worst.printed(ucb::regret_bound(&[0.1, 0.9, 0.65, 0.9], 500), terms(0.8) + terms(0.25), 9);
    worst.holds(ucb::regret_bound(&[0.4, 0.4], 10) == 0.0);
    worst.holds(panics(|| ucb::regret_bound(&[], 10)) && panics(|| ucb::regret_bound(&[1.5], 10)));
    // Arm 0 pays nothing once and 0.7 from then on, arm 1 always 0.5.
    let pay = |arm: usize, pull: u32, _: &mut Stream| match (arm, pull) {
        (0, 0) => 0.0,
        (0, _) => 0.7,
        _ => 0.5,
    };
    let counts = |c| Arms::new(2, pay).counts(1000, Config { c, ..Config::default() }, 1);
    let (explores, greedy) = (counts(std::f64::consts::SQRT_2), counts(0.0));
    require(explores == [869, 131], || format!("{explores:?} instead of 869 and 131 pulls"))?;
    require(greedy == [1, 999], || format!("{greedy:?} instead of 1 and 999 pulls"))?;
    worst.done()
}

// ---------------------------------------------------------------------------------------------------- trees and their logs

#[derive(Clone, Debug)]
struct LoggedCase {
    tree: GameTree,
    two: bool,
    c: f64,
    max_depth: u32,
    seed: u64,
}

fn logged() -> impl Strategy<Value = LoggedCase> + Clone + Send + Sync {
    let tree = prop_oneof![game_tree(3, false), game_tree(3, true)];
    let depth = prop_oneof![3 => Just(100u32), 1 => 1..=3u32];
    (tree, any::<bool>(), 0.0..=3.0f64, depth, 0..1000u64)
        .prop_map(|(tree, two, c, max_depth, seed)| LoggedCase { tree, two, c, max_depth, seed })
}

const SIMULATIONS: u32 = 200;

/// What is left of a search, by the states of the tree, and the steps of each simulation.
struct Run {
    paths: Vec<Vec<Step>>,
    /// Nodes after each simulation.
    sizes: Vec<usize>,
    /// Statistics by state: visits of the node, choices at it, and its actions.
    nodes: BTreeMap<usize, (u32, u32, Vec<Child>)>,
    value: f64,
}

impl LoggedCase {
    fn run(&self) -> Result<Run, String> {
        match (self.two, self.tree.nodes.iter().flatten().any(|branches| branches.len() > 1)) {
            (false, false) => self.run_as::<false, false>(),
            (true, false) => self.run_as::<true, false>(),
            (false, true) => self.run_as::<false, true>(),
            (true, true) => self.run_as::<true, true>(),
        }
    }

    fn run_as<const TWO: bool, const CHANCE: bool>(&self) -> Result<Run, String> {
        let game = Logged::<TWO, CHANCE>::new(&self.tree);
        let leaf = ValueLeaf::new(|state: &usize| self.tree.value[*state], 0.0).map_err(|e| e.to_string())?;
        let config =
            Config { c: self.c, gamma: self.tree.gamma, max_depth: self.max_depth, ..Config::default() };
        let mut search = Search::with_leaf(&game, leaf, config, self.seed).map_err(|e| e.to_string())?;
        search.restart(&0);
        let (mut paths, mut sizes) = (Vec::new(), Vec::new());
        for _ in 0..SIMULATIONS {
            search.run(1);
            paths.push(game.steps.take());
            sizes.push(search.tree().len());
        }
        // Which states each action met, the last new one first, as the tree strings them together.
        let mut met: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        for step in paths.iter().flatten() {
            let states = met.entry((step.state, step.action)).or_default();
            if !states.contains(&step.next) {
                states.insert(0, step.next);
            }
        }
        let tree = search.tree();
        let mut nodes = BTreeMap::new();
        let mut open = vec![(Tree::ROOT, 0)];
        while let Some((node, state)) = open.pop() {
            let children: Vec<Child> = tree.children(node).collect();
            for child in &children {
                let mut next: Option<NodeId> = tree.child(node, child.action);
                for &state in met.get(&(state, child.action)).into_iter().flatten() {
                    let here = next.ok_or_else(|| format!("state {state} was met but has no node"))?;
                    open.push((here, state));
                    next = tree.sibling(here);
                }
                require(next.is_none(), || {
                    format!("action {} at {state} has a node too many", child.action)
                })?;
            }
            nodes.insert(state, (tree.visits(node), tree.chosen(node), children));
        }
        require(nodes.len() == tree.len(), || {
            format!("{} of {} nodes are reached", nodes.len(), tree.len())
        })?;
        Ok(Run { paths, sizes, nodes, value: search.value() })
    }
}

fn backup_definition(case: LoggedCase) -> Measured {
    let run = case.run()?;
    let (mut visits, mut totals) = (BTreeMap::new(), BTreeMap::new());
    let mut ends: BTreeMap<usize, u32> = BTreeMap::new();
    let (mut mean, gamma) = (0.0, case.tree.gamma);
    for path in &run.paths {
        let last = path.last().map_or(0, |step| step.next);
        let over = case.tree.nodes[last].is_empty() || path.len() == case.max_depth as usize;
        let leaf = if over { 0.0 } else { case.tree.value[last] };
        *ends.entry(last).or_default() += 1;
        for (i, step) in path.iter().enumerate() {
            // Whoever acts at step i gains at every second step and loses in between.
            let sign = |k: usize| if case.two && (k - i) % 2 == 1 { -1.0 } else { 1.0 };
            let rewards = path.iter().enumerate().skip(i);
            let return_: f64 = rewards.map(|(k, s)| sign(k) * gamma.powi((k - i) as i32) * s.reward).sum();
            let worth = return_ + sign(path.len()) * gamma.powi((path.len() - i) as i32) * leaf;
            *visits.entry((step.state, step.action)).or_insert(0u32) += 1;
            *totals.entry((step.state, step.action)).or_insert(0.0) += worth;
            mean += if i == 0 { worth / f64::from(SIMULATIONS) } else { 0.0 };
        }
    }
    let mut worst = Worst::new();
    for (&state, (seen, chosen, children)) in &run.nodes {
        let mut below = 0;
        for child in children {
            let key = (state, child.action);
            let n = visits.get(&key).copied().unwrap_or(0);
            let total = totals.get(&key).copied().unwrap_or(0.0);
            require(child.visits == n, || format!("{key:?} has {} visits instead of {n}", child.visits))?;
            worst.scaled(child.total, total, f64::from(n)).same(child.mean, total / f64::from(n.max(1)));
            below += n;
        }
        let own = ends.get(&state).copied().unwrap_or(0);
        require((*chosen, *seen) == (below, below + own), || {
            format!("state {state}: {seen} visits, {chosen} choices; {own} ended there and {below} went on")
        })?;
    }
    worst.same(run.value, mean);
    worst.done()
}

#[derive(Clone, Debug)]
struct PathCase {
    rewards: Vec<f64>,
    leaf: f64,
    gamma: f64,
    two: bool,
}

fn path() -> impl Strategy<Value = PathCase> + Clone + Send + Sync {
    (vec(-2.0..=2.0f64, 1..=12), -2.0..=2.0f64, gamma(1.0), any::<bool>())
        .prop_map(|(rewards, leaf, gamma, two)| PathCase { rewards, leaf, gamma, two })
}

/// One long path: the value at depth d is `r_d + gamma v_{d+1}`, with the other sign between opponents.
fn backup_path(case: PathCase) -> Measured {
    let mut tree = Tree::new(1, 1.0);
    let mut nodes = vec![Tree::ROOT];
    for &reward in &case.rewards {
        let node = nodes[nodes.len() - 1];
        let action = tree.select(node);
        tree.descend(node, action, reward);
        nodes.push(tree.add(node, action, 1));
    }
    let sign = if case.two { -1.0 } else { 1.0 };
    tree.backup(case.leaf, sign * case.gamma);
    let mut worst = Worst::new();
    for (i, node) in nodes[..case.rewards.len()].iter().enumerate() {
        let mut expected = 0.0;
        let (mut weight, mut side) = (1.0, 1.0);
        for reward in &case.rewards[i..] {
            expected += side * weight * reward;
            weight *= case.gamma;
            side *= sign;
        }
        expected += side * weight * case.leaf;
        let child = tree.children(*node).next().ok_or("the action is missing")?;
        worst.same(child.mean, expected).holds(child.visits == 1 && tree.chosen(*node) == 1);
    }
    worst.done()
}

fn backup_closed() -> Measured {
    // Reward 1, then 2, then a leaf worth 4; gamma 1/2. Alone: 1 + (2 + 4/2) / 2 = 3. Against each other: 1 - (2 - 4/2) / 2 = 1.
    for (two, expected) in [(false, 3.0), (true, 1.0)] {
        let case = PathCase { rewards: vec![1.0, 2.0], leaf: 4.0, gamma: 0.5, two };
        backup_path(case)?;
        let mut tree = Tree::new(1, 1.0);
        let action = tree.select(Tree::ROOT);
        tree.descend(Tree::ROOT, action, 1.0);
        let next = tree.add(Tree::ROOT, action, 1);
        let action = tree.select(next);
        tree.descend(next, action, 2.0);
        tree.backup(4.0, if two { -0.5 } else { 0.5 });
        let mean = tree.children(Tree::ROOT).next().map(|child| child.mean);
        require(mean == Some(expected), || format!("{mean:?} instead of {expected}"))?;
        // A second simulation that brings 2 at once: the mean of both.
        let action = tree.select(Tree::ROOT);
        tree.descend(Tree::ROOT, action, 2.0);
        tree.backup(0.0, 1.0);
        let child = tree.children(Tree::ROOT).next().ok_or("the action is missing")?;
        require(child.visits == 2 && child.mean == (expected + 2.0) / 2.0, || format!("{child:?}"))?;
    }
    Ok(0.0)
}

fn expansion_definition(case: LoggedCase) -> Measured {
    let run = case.run()?;
    let mut states = vec![0];
    for (simulation, (path, &size)) in run.paths.iter().zip(&run.sizes).enumerate() {
        // All states but the last of a simulation were in the tree; the last one is new, or there is nothing to do in it.
        for (i, step) in path.iter().enumerate() {
            if !states.contains(&step.next) {
                require(i + 1 == path.len(), || {
                    format!("simulation {simulation} went on from a new state: {path:?}")
                })?;
                states.push(step.next);
            } else if i + 1 == path.len() {
                let over = case.tree.nodes[step.next].is_empty() || path.len() == case.max_depth as usize;
                require(over, || format!("simulation {simulation} stopped early: {path:?}"))?;
            }
        }
        require(size == states.len(), || format!("{size} nodes instead of {} states met", states.len()))?;
        require(size <= simulation + 2, || format!("{size} nodes after {} simulations", simulation + 1))?;
    }
    // Untried actions: while there are any, each choice took the next one, and it was the only one so far.
    for (state, (_, chosen, children)) in &run.nodes {
        let untried = children.iter().filter(|child| child.visits == 0).count();
        if untried > 0 {
            let in_turn =
                children.iter().all(|child| child.visits == u32::from(child.action < *chosen as usize));
            require(in_turn, || {
                format!("state {state} took an action twice before all were tried: {children:?}")
            })?;
        }
    }
    Ok(0.0)
}

fn expansion_ends() -> Measured {
    let run = |nodes: Vec<Vec<Vec<crate::generators::Branch>>>| {
        let value = vec![0.5; nodes.len()];
        let tree = GameTree { nodes, value, gamma: 1.0 };
        LoggedCase { tree, two: false, c: 1.0, max_depth: 100, seed: 1 }.run()
    };
    // A root where nothing can be done is visited again and again, and nothing is added.
    let over = run(vec![vec![]])?;
    require(over.sizes.iter().all(|size| *size == 1), || format!("{:?} nodes", over.sizes))?;
    require(over.nodes[&0].0 == SIMULATIONS && over.value == 0.0, || format!("{:?}", over.nodes))?;
    // A chain of three single actions: one node per simulation until it ends.
    let to = |next| vec![crate::generators::Branch { prob: 1.0, reward: 0.0, next }];
    let chain = run(vec![vec![to(1)], vec![to(2)], vec![to(3)], vec![]])?;
    require(chain.sizes[..5] == [2, 3, 4, 4, 4], || format!("{:?} nodes", &chain.sizes[..5]))?;
    Ok(0.0)
}

// --------------------------------------------------------------------------------------------------------------- playouts

#[derive(Clone, Debug)]
struct BareTree {
    tree: GameTree,
    two: bool,
    left: u32,
}

fn bare_tree() -> impl Strategy<Value = BareTree> + Clone + Send + Sync {
    (game_tree(3, false), any::<bool>(), prop_oneof![3 => Just(100u32), 1 => 0..=3u32])
        .prop_map(|(tree, two, left)| BareTree { tree, two, left })
}

/// The mean of all playouts by listing their choices.
fn mean_playout<M: Model<State = usize>>(game: &M, gamma: f64, left: u32) -> f64 {
    let mut rng = Stream::new(0, "none", 0);
    let (mut mean, mut digits) = (0.0, Vec::new());
    loop {
        let (mut used, mut weight) = (0, 1.0);
        let z = playout(game, &0, gamma, left, &mut rng, |n, _| {
            if used == digits.len() {
                digits.push((0, n));
            }
            used += 1;
            weight /= n as f64;
            digits[used - 1].0
        });
        mean += weight * z;
        // The next list of choices, counting from the last one.
        while digits.last().is_some_and(|&(digit, n)| digit + 1 == n) {
            digits.pop();
        }
        match digits.last_mut() {
            Some((digit, _)) => *digit += 1,
            None => return mean,
        }
    }
}

fn playout_definition(case: BareTree) -> Measured {
    let BareTree { tree, two, left } = &case;
    let mean = if *two {
        mean_playout(&Logged::<true, false>::new(tree), tree.gamma, *left)
    } else {
        mean_playout(&Logged::<false, false>::new(tree), tree.gamma, *left)
    };
    let mut worst = Worst::new();
    worst.same(mean, value(tree, 0, *two, false, *left as usize));
    if !two {
        worst.at_most(mean, value(tree, 0, false, true, *left as usize));
    }
    if tree.nodes.iter().all(|actions| actions.len() <= 1) {
        worst.same(mean, value(tree, 0, *two, true, *left as usize));
    }
    worst.done()
}

/// Move 0 leads to ten actions of one's own, one worth 1 and nine worth nothing; move 1 is worth 0.5.
fn misleading() -> GameTree {
    let leaf = |reward, next| vec![crate::generators::Branch { prob: 1.0, reward, next }];
    let mut nodes =
        vec![vec![leaf(0.0, 1), leaf(0.5, 2)], (3..13).map(|n| leaf(0.0, n)).collect(), Vec::new()];
    nodes[1][6] = leaf(1.0, 9);
    nodes.resize(13, Vec::new());
    GameTree { nodes, value: vec![0.0; 13], gamma: 1.0 }
}

fn playout_closed() -> Measured {
    let tree = misleading();
    let game = Logged::<false, false>::new(&tree);
    let mut worst = Worst::new();
    worst.same(value(&tree, 1, false, false, DEEP), 0.1).same(value(&tree, 1, false, true, DEEP), 1.0);
    // (0.1 + 0.5) / 2 by playouts from the root; the optimum is 1.
    worst.same(mean_playout(&game, 1.0, 100), 0.3).same(value(&tree, 0, false, true, DEEP), 1.0);
    // Ranked by playouts alone, the second move looks better; the search comes to see the first.
    let mut search = Search::new(&game, Config::default(), 1).map_err(|e| e.to_string())?;
    search.restart(&0);
    search.run(20_000);
    worst.holds(search.best() == 0);
    worst.done()
}

/// The playout that models inherit draws every action with the same chance.
fn playout_sampled(seed: u64) -> Measured {
    const N: u32 = 20_000;
    let tree = misleading();
    let game = Logged::<false, false>::new(&tree);
    let mut rng = Stream::new(seed, "playout", 0);
    let mut worst = Worst::new();
    for (state, mean, variance) in [(0, 0.3, 0.5 * 0.1 + 0.5 * 0.25 - 0.09), (1, 0.1, 0.09), (2, 0.0, 0.0)] {
        let sum: f64 = (0..N).map(|_| Model::playout(&game, &state, 1.0, 100, &mut rng)).sum();
        game.steps.take();
        worst.within_five_se(sum / f64::from(N), mean, (variance / f64::from(N)).sqrt());
    }
    // Every action of a node, by frequency.
    let mut counts = [0u32; 10];
    for _ in 0..N {
        Model::playout(&game, &1, 1.0, 100, &mut rng);
        counts[game.steps.take()[0].action] += 1;
    }
    for count in counts {
        worst.within_five_se(f64::from(count) / f64::from(N), 0.1, (0.09 / f64::from(N)).sqrt());
    }
    worst.done()
}

// ------------------------------------------------------------------------------------------------------------- leaf values

/// The statistics of the root after each of its actions was tried once, with `leaf` as the value function.
fn one_look<const TWO: bool>(
    tree: &GameTree,
    outcome: Option<&[f64]>,
    lambda: f64,
    leaf: impl FnMut(&usize) -> f64,
) -> Result<Vec<f64>, String> {
    let game = Logged::<TWO, false> { outcome, ..Logged::new(tree) };
    let leaf = ValueLeaf::new(leaf, lambda).map_err(|e| e.to_string())?;
    let config = Config { gamma: tree.gamma, ..Config::default() };
    let mut search = Search::with_leaf(&game, leaf, config, 1).map_err(|e| e.to_string())?;
    search.restart(&0);
    search.run(tree.nodes[0].len() as u64);
    require(search.children().all(|child| child.visits == 1), || "an action was tried twice".to_owned())?;
    Ok(search.children().map(|child| child.mean).collect())
}

fn look(case: &BareTree, leaf: impl FnMut(&usize) -> f64) -> Result<Vec<f64>, String> {
    if case.two {
        one_look::<true>(&case.tree, None, 0.0, leaf)
    } else {
        one_look::<false>(&case.tree, None, 0.0, leaf)
    }
}

/// With exact values one look at each action gives `Q*`, and so an optimal action.
fn leaf_exact(case: BareTree) -> Measured {
    let BareTree { tree, two, .. } = &case;
    let found = look(&case, |node| value(tree, *node, *two, true, DEEP))?;
    let exact: Vec<f64> = (0..found.len()).map(|a| action_value(tree, 0, a, *two, true, DEEP)).collect();
    let first = |q: &[f64]| (0..q.len()).fold(0, |best, a| if q[a] > q[best] + 1e-9 { a } else { best });
    require(first(&found) == first(&exact), || format!("{found:?} against {exact:?}"))?;
    let mut worst = Worst::new();
    worst.all(&found, &exact);
    worst.done()
}

/// The error of a value function passes to `Q`, discounted; where the game is over it is never asked.
fn leaf_bias((case, bias): (BareTree, f64)) -> Measured {
    let BareTree { tree, two, .. } = &case;
    let found = look(&case, |node| value(tree, *node, *two, true, DEEP) + bias)?;
    let mut worst = Worst::new();
    for (action, found) in found.iter().enumerate() {
        let exact = action_value(tree, 0, action, *two, true, DEEP);
        let over = tree.nodes[tree.nodes[0][action][0].next].is_empty();
        let shift = tree.gamma * if *two { -bias } else { bias };
        worst.same(*found, if over { exact } else { exact + shift });
    }
    worst.done()
}

fn leaf_mixture((case, lambda): (BareTree, f64)) -> Measured {
    let BareTree { tree, two, .. } = &case;
    // Playouts bring a number of their own, twice the value less one.
    let outcome: Vec<f64> = tree.value.iter().map(|v| 2.0 * v - 1.0).collect();
    let leaf = |node: &usize| tree.value[*node];
    let found = if *two {
        one_look::<true>(tree, Some(&outcome), lambda, leaf)?
    } else {
        one_look::<false>(tree, Some(&outcome), lambda, leaf)?
    };
    let mut worst = Worst::new();
    for (action, found) in found.iter().enumerate() {
        let branch = &tree.nodes[0][action][0];
        let over = tree.nodes[branch.next].is_empty();
        let mixed = tree.value[branch.next] + lambda * (tree.value[branch.next] - 1.0);
        let value = if over { 0.0 } else { tree.gamma * mixed };
        worst.same(*found, branch.reward + if *two { -value } else { value });
    }
    worst.same(mix(3.0, 1.0, 0.25), 2.5).same(mix(3.0, 1.0, 0.0), 3.0).same(mix(3.0, 1.0, 1.0), 1.0);
    worst.holds(ValueLeaf::new(leaf, -0.1).is_err() && ValueLeaf::new(leaf, f64::NAN).is_err());
    worst.done()
}

// ------------------------------------------------------------------------------------------------------------- consistency

/// Visits of two moves, of which A has eight leaves worth 0, 0, 0, 0, 0, 0, 0, 1 and B eight worth 0.5; every simulation goes
/// from the root to a move to a leaf.
fn two_moves(c: f64, stops: &[u32]) -> Vec<[u32; 2]> {
    let mut tree = Tree::new(2, c);
    let mut moves = Vec::new();
    let mut counts = Vec::new();
    for simulation in 1..=*stops.last().unwrap_or(&0) {
        let action = tree.select(Tree::ROOT);
        tree.descend(Tree::ROOT, action, 0.0);
        if action == moves.len() {
            moves.push(tree.add(Tree::ROOT, action, 8));
        }
        let leaf = tree.select(moves[action]);
        let worth = [f64::from(u8::from(leaf == 7)), 0.5][action];
        tree.descend(moves[action], leaf, worth);
        tree.backup(0.0, 1.0);
        if stops.contains(&simulation) {
            let mut visits = tree.children(Tree::ROOT).map(|child| child.visits);
            counts.push([visits.next().unwrap_or(0), visits.next().unwrap_or(0)]);
        }
    }
    counts
}

fn consistency_closed() -> Measured {
    let stops = [10, 50, 500, 5000];
    let counts = two_moves(1.414, &stops);
    let expected = [[3, 7], [16, 34], [435, 65], [4935, 65]];
    require(counts == expected, || format!("{counts:?} instead of {expected:?}"))?;
    // Without exploration the first disappointment is the last.
    let greedy = two_moves(0.0, &stops);
    require(greedy.iter().all(|[a, _]| *a == 1), || format!("{greedy:?} without exploration"))?;
    Ok(0.0)
}

/// On random trees, with chance and with opponents: the most visited move has the largest exact value, no move is given up, and
/// the root's mean is near the exact value.
fn consistency_limit(mut tree: GameTree) -> Measured {
    tree.gamma = 0.5 + 0.5 * tree.gamma;
    for two in [false, true] {
        let mut tree = tree.clone();
        let q = |tree: &GameTree| -> Vec<f64> {
            (0..tree.nodes[0].len()).map(|a| action_value(tree, 0, a, two, true, DEEP)).collect()
        };
        // The best move leads by a half.
        let before = q(&tree);
        let best = (0..before.len()).fold(0, |best, a| if before[a] > before[best] { a } else { best });
        tree.nodes[0][best].iter_mut().for_each(|branch| branch.reward += 0.5);
        let exact = q(&tree)[best];
        let config = Config { gamma: tree.gamma, ..Config::default() };
        let c = config.c;
        let (found, value, children) = if two {
            searched(&Logged::<true, true>::new(&tree), config)?
        } else {
            searched(&Logged::<false, true>::new(&tree), config)?
        };
        require(found == best, || format!("move {found} instead of {best}, two players: {two}"))?;
        require((value - exact).abs() <= 0.1, || format!("{value} instead of {exact}, two players: {two}"))?;
        // When the best move was chosen last, no other move had a larger score: that bounds the visits of each from below.
        let leader = &children[best];
        let log = f64::from(LONG / 2).ln();
        for child in &children {
            let gap = leader.mean - child.mean + c * (log / f64::from(leader.visits)).sqrt();
            let least = 0.8 * c * c * log / (gap * gap);
            require(f64::from(child.visits) >= least.min(f64::from(leader.visits)), || {
                format!("move {} has {} visits, fewer than {least}", child.action, child.visits)
            })?;
        }
    }
    Ok(0.0)
}

const LONG: u32 = 20_000;

/// The most visited move, the mean at the root and the statistics of its moves after many simulations.
fn searched<const TWO: bool>(
    game: &Logged<'_, TWO, true>,
    config: Config,
) -> Result<(usize, f64, Vec<Child>), String> {
    let mut search = Search::new(game, config, 1).map_err(|e| e.to_string())?;
    search.restart(&0);
    for _ in 0..20 {
        search.run(u64::from(LONG) / 20);
        game.steps.take();
    }
    Ok((search.best(), search.value(), search.children().collect()))
}
