//! Convolution (`nn.conv`).

use serde::{Deserialize, Serialize};

/// One layer of convolution over square windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvSpec {
    /// Channels of the output.
    pub channels: usize,
    /// Height and width of a window.
    pub kernel: usize,
    /// Distance between windows.
    #[serde(default = "one")]
    pub stride: usize,
    /// Rows and columns of zeros around the image.
    #[serde(default)]
    pub padding: usize,
}

fn one() -> usize {
    1
}

// ANCHOR: nn.conv
/// How many windows of `kernel` pixels, `stride` apart, fit into `n` pixels with `padding` zeros at both ends:
/// `floor((n + 2 padding - kernel) / stride) + 1`. None if not even one does, or if `kernel` or `stride` is 0.
pub fn windows(n: usize, kernel: usize, stride: usize, padding: usize) -> Option<usize> {
    let room = n.checked_add(padding.checked_mul(2)?)?.checked_sub(kernel)?;
    (kernel > 0 && stride > 0).then(|| room / stride + 1)
}
// ANCHOR_END: nn.conv
