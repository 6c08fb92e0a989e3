//! Tree search, by equation. Throughput counts scores, levels of a path, playouts or simulations.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rederive_math::Stream;
use rederive_mcts::connect_four::{self, ConnectFour};
use rederive_mcts::tic_tac_toe::{self, TicTacToe};
use rederive_mcts::{Config, Model, Search, TableModel, Tree, playout, ucb};
use std::hint::black_box;

fn mcts_ucb(c: &mut Criterion) {
    let mut group = c.benchmark_group("mcts.ucb");
    let mut rng = Stream::new(1, "bench", 0);
    let counts: Vec<(f64, u32, u32)> = (0..1024)
        .map(|_| {
            let visits = 1 + rng.below(1000);
            (rng.uniform(-1.0, 1.0), visits, visits + rng.below(10_000))
        })
        .collect();
    group.throughput(Throughput::Elements(counts.len() as u64));
    group.bench_function("by the formula", |b| {
        b.iter(|| {
            let scores = black_box(&counts).iter().map(|&(mean, n, all)| ucb::score(mean, n, all, 1.4));
            scores.fold(f64::NEG_INFINITY, f64::max)
        });
    });
    // The factors of parent and child are in the tree already.
    let mut tree = Tree::new(7, 1.4);
    for &(mean, ..) in &counts {
        let action = tree.select(Tree::ROOT);
        tree.descend(Tree::ROOT, action, mean);
        tree.backup(0.0, 1.0);
    }
    group.throughput(Throughput::Elements(7));
    group.bench_function("choice of seven", |b| b.iter(|| black_box(&mut tree).select(Tree::ROOT)));
    group.finish();
}

fn mcts_backup(c: &mut Criterion) {
    let mut group = c.benchmark_group("mcts.backup");
    for depth in [4, 16] {
        let mut tree = Tree::new(1, 1.4);
        let mut nodes = vec![Tree::ROOT];
        for level in 0..depth {
            tree.select(nodes[level]);
            tree.descend(nodes[level], 0, 0.0);
            let next = tree.add(nodes[level], 0, 1);
            nodes.push(next);
        }
        tree.backup(0.0, -1.0);
        group.throughput(Throughput::Elements(depth as u64));
        group.bench_function(BenchmarkId::new("path", depth), |b| {
            b.iter(|| {
                for node in &nodes[..depth] {
                    tree.descend(*node, 0, 0.0);
                }
                black_box(&mut tree).backup(black_box(1.0), -1.0);
            });
        });
    }
    group.finish();
}

fn mcts_playout(c: &mut Criterion) {
    let mut group = c.benchmark_group("mcts.playout");
    group.throughput(Throughput::Elements(1));
    let mut rng = Stream::new(1, "bench", 0);
    let start = connect_four::Position::default();
    group.bench_function("Connect Four", |b| {
        b.iter(|| ConnectFour.playout(black_box(&start), 1.0, 100, &mut rng));
    });
    group.bench_function("Connect Four, move by move", |b| {
        let pick = |n: usize, rng: &mut Stream| rng.below(n as u32) as usize;
        b.iter(|| playout(&ConnectFour, black_box(&start), 1.0, 100, &mut rng, pick));
    });
    let start = tic_tac_toe::Position::default();
    group.bench_function("Tic-tac-toe", |b| {
        b.iter(|| TicTacToe.playout(black_box(&start), 1.0, 100, &mut rng));
    });
    group.finish();
}

/// Whole searches from the first position.
fn mcts_uct_consistency(c: &mut Criterion) {
    let mut group = c.benchmark_group("mcts.uct-consistency");
    group.sample_size(10);
    for simulations in [10_000u64, 100_000, 1_000_000] {
        let config = Config { simulations, range: 2.0, ..Config::default() };
        let mut search = Search::new(ConnectFour, config, 1).expect("a valid configuration");
        group.throughput(Throughput::Elements(simulations));
        group.bench_function(BenchmarkId::new("Connect Four", simulations), |b| {
            b.iter(|| search.plan(black_box(&connect_four::Position::default())));
        });
    }
    let config = Config { range: 2.0, ..Config::default() };
    group.throughput(Throughput::Elements(config.simulations));
    let mut search = Search::new(TicTacToe, config, 1).expect("a valid configuration");
    group.bench_function("Tic-tac-toe/10000", |b| {
        b.iter(|| search.plan(black_box(&tic_tac_toe::Position::default())));
    });
    let lake = rederive_env::finite_table("FrozenLake-v1").expect("a finite environment");
    let model = TableModel::new(&lake);
    let config = Config { gamma: 0.99, max_depth: 100, ..Config::default() };
    let mut search = Search::new(&model, config, 1).expect("a valid configuration");
    group.bench_function("FrozenLake-v1/10000", |b| b.iter(|| search.plan(black_box(&model.state(0)))));
    group.finish();
}

criterion_group!(benches, mcts_ucb, mcts_backup, mcts_playout, mcts_uct_consistency);
criterion_main!(benches);
