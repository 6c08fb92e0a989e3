//! Convolution over images (`nn.conv`), with handwritten forward, backward and jvp passes.
//!
//! Images are `[height, width, channels]`, channels innermost, and weights `[kernel * kernel * channels, out]`: the window of
//! an output is `kernel` runs of `kernel * channels` numbers, each of which lies in one piece. Written one below the other the
//! windows are a matrix `P` (*im2col*), and the layer is the product `Y = P W + b`, so that `dW = P^T dY`, `db = 1^T dY`, and
//! `dX` adds every row of `dY W^T` back to the pixels of its window (*col2im*).
//!
//! For `f32` with whole registers of output channels `P` is never written: the module `direct` reads the windows where they lie.

mod direct;

use crate::product::{Matrix, Start, product};
use rederive_math::Real;
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

/// A layer of convolution for images of one shape. Its parameters are slices that the caller owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    spec: ConvSpec,
    input: [usize; 3],
    output: [usize; 3],
}

/// Room for a pass over some images; nothing is allocated in one.
#[derive(Clone, Debug)]
pub struct ConvWorkspace<F> {
    images: usize,
    /// The images with zeros around them; empty without padding.
    padded: Vec<F>,
    /// Some rows of windows, one window per row of the matrix.
    patches: Vec<F>,
    /// The transposed weights `[out, kernel * kernel * channels]`.
    transposed: Vec<F>,
}

/// So many numbers of the matrix of windows at a time, so that they stay in the L1 cache.
const PATCHES: usize = 6144;

impl Conv {
    /// The layer that `spec` describes, for images `[height, width, channels]`.
    ///
    /// # Errors
    /// If a size is 0, or no window fits.
    pub fn new(input: [usize; 3], spec: ConvSpec) -> Result<Self, String> {
        let ConvSpec { channels, kernel, stride, padding } = spec;
        let [height, width, depth] = input;
        if height == 0 || width == 0 || depth == 0 {
            return Err(format!("an image of {height} x {width} x {depth} is empty"));
        }
        if channels == 0 || kernel == 0 || stride == 0 {
            return Err(format!(
                "a convolution with {channels} channels, kernel {kernel} and stride {stride}: each must be at least 1"
            ));
        }
        if padding >= kernel {
            return Err(format!(
                "padding {padding} with kernel {kernel}: windows of nothing but padding; it must be below the kernel"
            ));
        }
        match (windows(height, kernel, stride, padding), windows(width, kernel, stride, padding)) {
            (Some(h), Some(w)) => Ok(Conv { spec, input, output: [h, w, channels] }),
            _ => Err(format!(
                "a window of {kernel} x {kernel} does not fit into an image of {height} x {width} with padding {padding}"
            )),
        }
    }

    /// What was asked for.
    pub fn spec(&self) -> ConvSpec {
        self.spec
    }

    /// Height, width and channels of an input.
    pub fn input(&self) -> [usize; 3] {
        self.input
    }

    /// Height, width and channels of an output.
    pub fn output(&self) -> [usize; 3] {
        self.output
    }

    /// Numbers in a window: rows of the weights.
    pub fn window(&self) -> usize {
        self.spec.kernel * self.run()
    }

    /// Numbers per input image.
    pub fn inputs(&self) -> usize {
        self.input.iter().product()
    }

    /// Numbers per output image.
    pub fn outputs(&self) -> usize {
        self.output.iter().product()
    }

    /// Room for up to `images` at a time.
    pub fn workspace<F: Real>(&self, images: usize) -> ConvWorkspace<F> {
        let padded = if self.spec.padding > 0 { images * self.padded_image() } else { 0 };
        ConvWorkspace {
            images,
            padded: vec![F::zero(); padded],
            patches: vec![
                F::zero();
                self.rows_at_once().min(images * self.output[0]) * self.output[1] * self.window()
            ],
            transposed: vec![F::zero(); self.window() * self.spec.channels],
        }
    }

    /// Numbers of one row of a window.
    fn run(&self) -> usize {
        self.spec.kernel * self.input[2]
    }

    /// Numbers per row of a padded image.
    fn padded_row(&self) -> usize {
        (self.input[1] + 2 * self.spec.padding) * self.input[2]
    }

    fn padded_image(&self) -> usize {
        (self.input[0] + 2 * self.spec.padding) * self.padded_row()
    }

    /// Rows of windows that are unrolled at once.
    fn rows_at_once(&self) -> usize {
        (PATCHES / (self.output[1] * self.window())).max(1)
    }

    /// Where the first window of row `row` of all images lies in the padded images.
    fn corner(&self, row: usize) -> usize {
        row / self.output[0] * self.padded_image()
            + row % self.output[0] * self.spec.stride * self.padded_row()
    }

    /// `x`, or a copy of it with zeros around every image.
    fn pad<'a, F: Real>(&self, x: &'a [F], padded: &'a mut [F]) -> &'a [F] {
        let p = self.spec.padding;
        if p == 0 {
            return x;
        }
        // What lies around the images was zero from the start, and nobody writes there.
        let line = self.input[1] * self.input[2];
        for (i, from) in x.chunks_exact(line).enumerate() {
            let (image, y) = (i / self.input[0], i % self.input[0]);
            let at = image * self.padded_image() + (y + p) * self.padded_row() + p * self.input[2];
            padded[at..at + line].copy_from_slice(from);
        }
        padded
    }

    // ANCHOR: nn.conv
    /// `y` `[images, height', width', out]` from `x` `[images, height, width, channels]`: with `p` the padded image,
    /// `y[i, j, o] = b[o] + sum over u, v, c of p[i stride + u, j stride + v, c] w[(u, v, c), o]`.
    /// The order of every sum is the same for any number of images.
    ///
    /// # Panics
    /// If a length does not fit, or there are more images than the workspace is for.
    pub fn forward<F: Real>(&self, w: &[F], b: &[F], x: &[F], ws: &mut ConvWorkspace<F>, y: &mut [F]) {
        let images = self.check(w, b, x, y, ws);
        let x = self.pad(x, &mut ws.padded);
        self.products(images, w, x, Start::Bias(b), &mut ws.patches, y);
    }

    /// Adds to `d_w` and `d_b` the gradient of a loss, given `d_y`, its gradient at the output for `x`, and writes the gradient
    /// at `x` to `d_x`, if that is wanted.
    ///
    /// # Panics
    /// If a length does not fit, or there are more images than the workspace is for.
    #[allow(clippy::too_many_arguments)] // weights, input and output, each with its gradient
    pub fn backward<F: Real>(
        &self,
        w: &[F],
        x: &[F],
        d_y: &[F],
        ws: &mut ConvWorkspace<F>,
        d_w: &mut [F],
        d_b: &mut [F],
        d_x: Option<&mut [F]>,
    ) {
        let images = self.check(d_w, d_b, x, d_y, ws);
        assert_eq!(w.len(), d_w.len(), "w against d_w");
        let padded = self.pad(x, &mut ws.padded);
        crate::mlp::add_column_sums(d_y, d_b);
        if !direct::weight_gradient(self, images, padded, d_y, d_w) {
            let (window, channels) = (self.window(), self.spec.channels);
            for (from, to) in self.row_blocks(images) {
                let d_y = &d_y[from * self.output[1] * channels..to * self.output[1] * channels];
                let patches = self.unroll(padded, from, to, &mut ws.patches);
                let (patches, rows) = (Matrix::rows(patches, window).t(), d_y.len() / channels);
                product(window, rows, channels, patches, d_y, Start::Accumulate, d_w);
            }
        }
        if let Some(d_x) = d_x {
            assert_eq!(d_x.len(), x.len(), "d_x against x");
            self.input_gradient(images, w, d_y, ws, d_x);
        }
    }

    /// Adds every row of `d_y W^T` to the pixels of its window.
    fn input_gradient<F: Real>(
        &self,
        images: usize,
        w: &[F],
        d_y: &[F],
        ws: &mut ConvWorkspace<F>,
        d_x: &mut [F],
    ) {
        let (window, channels, p) = (self.window(), self.spec.channels, self.spec.padding);
        crate::transpose::transpose(w, window, channels, &mut ws.transposed);
        d_x.fill(F::zero());
        for (from, to) in self.row_blocks(images) {
            let d_y = &d_y[from * self.output[1] * channels..to * self.output[1] * channels];
            let rows = d_y.len() / channels;
            let patches = &mut ws.patches[..rows * window];
            product(
                rows,
                channels,
                window,
                Matrix::rows(d_y, channels),
                &ws.transposed,
                Start::Zero,
                patches,
            );
            for (i, patch) in patches.chunks_exact(window).enumerate() {
                let (row, left) = (from + i / self.output[1], i % self.output[1] * self.spec.stride);
                let (image, top) = (row / self.output[0], row % self.output[0] * self.spec.stride);
                // The part of the window that lies on the image, not on the padding: `left..` of the padded line starts at
                // pixel `left - p` of the line.
                let (first, last) = (left.max(p), (left + self.spec.kernel).min(self.input[1] + p));
                let depth = self.input[2];
                for (u, run) in patch.chunks_exact(self.run()).enumerate() {
                    let line = top + u;
                    if last > first && (p..self.input[0] + p).contains(&line) {
                        let at = ((image * self.input[0] + line - p) * self.input[1] + first - p) * depth;
                        let run = &run[(first - left) * depth..(last - left) * depth];
                        d_x[at..at + run.len()].iter_mut().zip(run).for_each(|(d, &r)| *d += r);
                    }
                }
            }
        }
    }
    // ANCHOR_END: nn.conv

    /// The derivative of the output along `d_w`, `d_b` and, unless it is None (a constant input), `d_x`, at the input `x`; written to
    /// `d_y`.
    ///
    /// # Panics
    /// If a length does not fit, or there are more images than the workspace is for.
    #[allow(clippy::too_many_arguments)] // weights, input and output, each with its tangent
    pub fn jvp<F: Real>(
        &self,
        w: &[F],
        x: &[F],
        d_w: &[F],
        d_b: &[F],
        d_x: Option<&[F]>,
        ws: &mut ConvWorkspace<F>,
        d_y: &mut [F],
    ) {
        self.forward(d_w, d_b, x, ws, d_y);
        if let Some(d_x) = d_x {
            let images = self.check(w, d_b, d_x, d_y, ws);
            let d_x = self.pad(d_x, &mut ws.padded);
            self.products(images, w, d_x, Start::Accumulate, &mut ws.patches, d_y);
        }
    }

    /// `y = P w`, starting from `start`, for padded images `x`.
    fn products<F: Real>(
        &self,
        images: usize,
        w: &[F],
        x: &[F],
        start: Start<'_, F>,
        patches: &mut [F],
        y: &mut [F],
    ) {
        if direct::forward(self, images, w, x, start, y) {
            return;
        }
        let (window, channels) = (self.window(), self.spec.channels);
        for (from, to) in self.row_blocks(images) {
            let y = &mut y[from * self.output[1] * channels..to * self.output[1] * channels];
            let patches = self.unroll(x, from, to, patches);
            product(y.len() / channels, window, channels, Matrix::rows(patches, window), w, start, y);
        }
    }

    /// The windows of the rows `from..to` of all images as a matrix `[(to - from) * width', window]`.
    fn unroll<'a, F: Real>(&self, x: &[F], from: usize, to: usize, patches: &'a mut [F]) -> &'a [F] {
        let (run, step) = (self.run(), self.spec.stride * self.input[2]);
        let patches = &mut patches[..(to - from) * self.output[1] * self.window()];
        let mut patch = patches.chunks_exact_mut(run);
        for row in from..to {
            let corner = self.corner(row);
            for left in 0..self.output[1] {
                for u in 0..self.spec.kernel {
                    let at = corner + u * self.padded_row() + left * step;
                    patch.next().expect("a run per window and line").copy_from_slice(&x[at..at + run]);
                }
            }
        }
        patches
    }

    /// The rows of windows of all images in blocks `from..to`.
    fn row_blocks(&self, images: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (rows, block) = (images * self.output[0], self.rows_at_once());
        (0..rows).step_by(block).map(move |from| (from, (from + block).min(rows)))
    }

    /// The number of images.
    fn check<F>(&self, w: &[F], b: &[F], x: &[F], y: &[F], ws: &ConvWorkspace<F>) -> usize {
        let images = x.len() / self.inputs();
        assert_eq!(w.len(), self.window() * self.spec.channels, "weights against window x channels");
        assert_eq!(b.len(), self.spec.channels, "bias against channels");
        assert_eq!(x.len(), images * self.inputs(), "x against whole images of {:?}", self.input);
        assert_eq!(y.len(), images * self.outputs(), "y against {images} images of {:?}", self.output);
        assert!(images <= ws.images, "{images} images in a workspace for {}", ws.images);
        images
    }
}

/// How many windows of `kernel` pixels, `stride` apart, fit into `n` pixels with `padding` zeros at both ends:
/// `floor((n + 2 padding - kernel) / stride) + 1`. None if not even one does, or if `kernel` or `stride` is 0.
pub fn windows(n: usize, kernel: usize, stride: usize, padding: usize) -> Option<usize> {
    let room = n.checked_add(padding.checked_mul(2)?)?.checked_sub(kernel)?;
    (kernel > 0 && stride > 0).then(|| room / stride + 1)
}
