//! Figures of the chapter on planning.

use super::{Curve, Panel, Result2, Role};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use rederive_mcts::tic_tac_toe::{Position, TicTacToe};
use rederive_mcts::{Config, NodeId, Search, Tree};

/// The position that the tree starts from: the first player, to move, has cells 1 and 9, the second has 2 and 5.
const MOVES: &str = "1592";
const SIMULATIONS: u64 = 60;

/// A node as it is drawn.
struct Dot {
    level: usize,
    /// From the left, in units of leaves.
    x: f64,
    visits: u32,
    /// To the player to move at the root.
    mean: f64,
    /// The cell of the move that led here, from 1 on.
    cell: Option<usize>,
    parent: Option<usize>,
}

/// The nodes of a real search, each after its parent.
fn dots() -> Vec<Dot> {
    let root: Position = MOVES.parse().expect("moves of a game");
    // Less exploration than usual, so that so few simulations show where they go.
    let config = Config { simulations: SIMULATIONS, c: 0.5, range: 2.0, ..Config::default() };
    let mut search = Search::new(TicTacToe, config, 1).expect("a valid configuration");
    search.plan(&root);
    let mut dots = Vec::new();
    let mut leaves = 0.0;
    let visits = search.tree().visits(Tree::ROOT);
    let dot = Dot { level: 0, x: 0.0, visits, mean: search.value(), cell: None, parent: None };
    place(search.tree(), Tree::ROOT, root, dot, &mut leaves, &mut dots);
    dots
}

/// Adds a node and all below it; a parent stands over the middle of its children.
fn place(
    tree: &Tree,
    node: NodeId,
    position: Position,
    mut dot: Dot,
    leaves: &mut f64,
    dots: &mut Vec<Dot>,
) -> f64 {
    let (index, level) = (dots.len(), dot.level + 1);
    dot.x = *leaves;
    dots.push(dot);
    let mut under = Vec::new();
    for child in tree.children(node) {
        let Some(next) = tree.child(node, child.action) else { continue };
        let cell = position.cell(child.action);
        let mut after = position;
        let _ = after.play(cell);
        let sign = if level % 2 == 1 { 1.0 } else { -1.0 };
        let dot = Dot {
            level,
            x: 0.0,
            visits: child.visits,
            mean: sign * child.mean,
            cell: Some(cell + 1),
            parent: Some(index),
        };
        under.push(place(tree, next, after, dot, leaves, dots));
    }
    if let (Some(first), Some(last)) = (under.first(), under.last()) {
        dots[index].x = 0.5 * (first + last);
    } else {
        *leaves += 1.0;
    }
    dots[index].x
}

/// The tree of a search, node by node.
pub(super) fn tree() -> Result2<String> {
    const SIZE: (u32, u32) = (1500, 760);
    let dots = dots();
    let width = dots.iter().fold(0.0, |m: f64, d| m.max(d.x)).max(1.0);
    let levels = dots.iter().map(|d| d.level).max().unwrap_or(1).max(1);
    let at = |d: &Dot| {
        let x = 60.0 + d.x / width * f64::from(SIZE.0 - 120);
        let y = 70.0 + d.level as f64 / levels as f64 * f64::from(SIZE.1 - 150);
        (x.round() as i32, y.round() as i32)
    };
    let radius = |d: &Dot| (6.0 + 4.5 * f64::from(d.visits).sqrt()).round() as i32;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        for d in &dots {
            if let Some(parent) = d.parent {
                let width = (1.0 + 1.2 * f64::from(d.visits).sqrt()).round() as u32;
                let style = Role::Grid.colour().stroke_width(width);
                root.draw(&PathElement::new([at(&dots[parent]), at(d)], style))?;
            }
        }
        let middle = Pos::new(HPos::Center, VPos::Center);
        for d in &dots {
            let role = match d.mean {
                m if m > 0.05 => Role::First,
                m if m < -0.05 => Role::Second,
                _ => Role::Dashed,
            };
            let (x, y) = at(d);
            root.draw(&Circle::new((x, y), radius(d), role.colour().filled()))?;
            let text =
                |size: u32, role: Role| ("sans-serif", size).into_font().color(&role.colour()).pos(middle);
            if let Some(cell) = d.cell {
                // The move stands below the node, away from the line that leads to it.
                root.draw(&Text::new(cell.to_string(), (x, y + radius(d) + 16), text(24, Role::Ink)))?;
            }
            if d.level <= 1 {
                let label = format!("{} · Q {:+.2}", d.visits, d.mean).replace('-', "−");
                root.draw(&Text::new(label, (x + radius(d) + 70, y), text(22, Role::Ink)))?;
            }
        }
        root.present()?;
    }
    Ok(svg)
}

/// The share of simulations that take the better of two moves, and the mean at the root. The better move has eight replies
/// worth 0, 0, 0, 0, 0, 0, 0, 1; the other one eight worth 0.5.
pub(super) fn consistency() -> Vec<Panel> {
    let cases = [
        ("c = 1.414", 1.414, Role::First),
        ("c = 0.5", 0.5, Role::Second),
        ("c = 5", 5.0, Role::Third),
        ("c = 0", 0.0, Role::Dashed),
    ];
    let (mut shares, mut means) = (Vec::new(), Vec::new());
    for (label, c, role) in cases {
        let (share, mean) = two_moves(c);
        shares.push(Curve::new(label, role, share));
        means.push(Curve::new("", role, mean));
    }
    let panel = |title, y, legend, curves| Panel {
        title,
        x_label: "simulations",
        x: 0.3..5.0,
        y,
        log: (true, false),
        legend,
        curves,
    };
    vec![
        panel("share of the better move", 0.0..1.0, SeriesLabelPosition::UpperLeft, shares),
        panel("mean at the root", 0.0..1.0, SeriesLabelPosition::UpperLeft, means),
    ]
}

type Points = Vec<(f64, f64)>;

fn two_moves(c: f64) -> (Points, Points) {
    let mut tree = Tree::new(2, c);
    let (mut moves, mut shares, mut means) = (Vec::new(), Vec::new(), Vec::new());
    let mut next = 2.0;
    for simulation in 1..=100_000u32 {
        let action = tree.select(Tree::ROOT);
        tree.descend(Tree::ROOT, action, 0.0);
        if action == moves.len() {
            moves.push(tree.add(Tree::ROOT, action, 8));
        }
        let leaf = tree.select(moves[action]);
        tree.descend(moves[action], leaf, if action == 1 { 0.5 } else { f64::from(u8::from(leaf == 7)) });
        tree.backup(0.0, 1.0);
        let x = f64::from(simulation);
        if x >= next {
            next *= 1.03;
            let total: f64 = tree.children(Tree::ROOT).map(|child| child.total).sum();
            let better = tree.children(Tree::ROOT).next().map_or(0, |child| child.visits);
            shares.push((x.log10(), f64::from(better) / x));
            means.push((x.log10(), total / x));
        }
    }
    (shares, means)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_that_of_the_chapter() {
        let dots = dots();
        // One node per simulation, less those that ended in a node that was there.
        assert!(dots.len() as u64 <= SIMULATIONS + 1 && dots.len() > 40, "{} nodes", dots.len());
        assert_eq!(u64::from(dots[0].visits), SIMULATIONS);
        let below: u32 = dots.iter().filter(|d| d.level == 1).map(|d| d.visits).sum();
        assert_eq!(u64::from(below), SIMULATIONS);
        assert!(dots.iter().skip(1).all(|d| d.parent.is_some_and(|p| dots[p].level + 1 == d.level)));
    }

    #[test]
    fn the_better_move_is_behind_at_first_and_ahead_at_last() {
        let (share, mean) = two_moves(1.414);
        let at = |points: &Points, x: f64| points.iter().rfind(|p| p.0 <= x).map_or(f64::NAN, |p| p.1);
        assert!(at(&share, 1.7) < 0.4 && at(&share, 2.7) > 0.8 && at(&share, 5.0) > 0.99);
        assert!(at(&mean, 5.0) > 0.99);
        assert!(at(&two_moves(0.0).0, 5.0) < 1e-4);
    }
}
