//! The starting weights of convolutions.

use rederive_math::Stream;
use rederive_nn::{Activation, ConvSpec, Input, Network, NetworkSpec};

fn network() -> Network {
    let conv = |channels| ConvSpec { channels, kernel: 3, stride: 1, padding: 0 };
    Network::new(&NetworkSpec {
        input: Input::Image([7, 7, 2]),
        conv: vec![conv(16), conv(8)],
        hidden: vec![5],
        outputs: 3,
        activation: Activation::Relu,
        dueling: false,
    })
    .unwrap()
}

/// Weights `[window, channels]` of each convolution, all biases being 0.
fn convolutions(network: &Network, params: &[f64]) -> Vec<ndarray::Array2<f64>> {
    let layout = network.layout();
    (0..2)
        .map(|l| {
            let bias = layout.get(&format!("conv{l}.b")).unwrap();
            assert!(params[bias.range.clone()].iter().all(|&b| b == 0.0));
            let view = layout.get(&format!("conv{l}.w")).unwrap();
            let numbers = params[view.range.clone()].to_vec();
            ndarray::Array2::from_shape_vec((view.shape[0], view.shape[1]), numbers).unwrap()
        })
        .collect()
}

#[test]
fn orthogonal_channels_have_the_gain_for_their_length() {
    let network = network();
    let mut params = vec![f64::NAN; network.num_params()];
    network.init_orthogonal(&mut params, 1.5, 0.1, &mut Stream::new(1, "init", 0));
    for (w, window) in convolutions(&network, &params).iter().zip([18, 144]) {
        assert_eq!(w.nrows(), window);
        for ((i, j), g) in w.t().dot(w).indexed_iter() {
            let want = if i == j { 1.5 * 1.5 } else { 0.0 };
            assert!((g - want).abs() < 1e-12, "({i}, {j}): {g}");
        }
    }
    assert!(params.iter().all(|p| p.is_finite()));
}

#[test]
fn uniform_weights_are_bounded_by_the_numbers_in_a_window() {
    let network = network();
    let mut params = vec![f64::NAN; network.num_params()];
    network.init_uniform(&mut params, &mut Stream::new(1, "init", 0));
    for (w, window) in convolutions(&network, &params).iter().zip([18.0f64, 144.0]) {
        let (bound, largest) = (window.sqrt().recip(), w.iter().fold(0.0f64, |most, x| most.max(x.abs())));
        assert!(largest <= bound && largest > 0.97 * bound, "{largest} of {bound}");
    }
    assert!(params.iter().all(|p| p.is_finite()));
}
