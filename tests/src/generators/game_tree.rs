use super::gamma;
use proptest::collection::vec;
use proptest::prelude::*;

/// One way in which an action can turn out.
#[derive(Clone, Debug)]
pub struct Branch {
    /// Its probability.
    pub prob: f64,
    /// The reward of whoever acted.
    pub reward: f64,
    /// The node that it leads to.
    pub next: usize,
}

/// TREE: a finite game tree. A node is the number of its entry; node 0 is the root, and no node has two ways in.
#[derive(Clone, Debug)]
pub struct GameTree {
    /// For each node its actions, for each action its branches; a node without actions is a leaf.
    pub nodes: Vec<Vec<Vec<Branch>>>,
    /// A number of each node, to be used as a value function.
    pub value: Vec<f64>,
    /// Discount.
    pub gamma: f64,
}

/// TREE of up to `depth` levels and 3 actions per node, with rewards and values in `[-1, 1]`; with `chance`, actions have up to 2
/// branches.
pub fn game_tree(depth: usize, chance: bool) -> impl Strategy<Value = GameTree> + Clone + Send + Sync {
    let shape = vec((0..=3usize, 1..=2usize, 0.1..0.9f64), 31);
    let numbers = vec((-1.0..=1.0f64, -1.0..=1.0f64), 37);
    (shape, numbers, gamma(1.0)).prop_map(move |(shape, numbers, gamma)| {
        let mut tree = GameTree { nodes: vec![Vec::new()], value: Vec::new(), gamma };
        let mut open = vec![(0, 0)];
        let mut drawn = 0;
        while let Some((node, level)) = open.pop() {
            let actions = match level {
                0 => shape[0].0.max(1),
                l if l < depth => shape[node % shape.len()].0,
                _ => 0,
            };
            for _ in 0..actions {
                drawn += 1;
                let (_, branches, p) = shape[drawn % shape.len()];
                let probs = if chance && branches == 2 { vec![p, 1.0 - p] } else { vec![1.0] };
                let mut row = Vec::new();
                for prob in probs {
                    let next = tree.nodes.len();
                    tree.nodes.push(Vec::new());
                    open.push((next, level + 1));
                    row.push(Branch { prob, reward: numbers[next % numbers.len()].0, next });
                }
                tree.nodes[node].push(row);
            }
        }
        tree.value = (0..tree.nodes.len()).map(|node| numbers[node % numbers.len()].1).collect();
        tree
    })
}
