//! Convolution without writing the windows down: for `f32` and whole registers of output channels.
//!
//! A register holds one output pixel's channels. The forward pass keeps the sums of up to 8 x 2 neighbouring pixels in registers and
//! multiplies each number of their windows, read where it lies in the image, with a row of the weights; the weight gradient
//! keeps up to 24 rows of the weights in registers and runs over the pixels of all images. One load per product and one more
//! for all of them.

use super::Conv;
use crate::product::Start;
use rederive_math::Real;

/// `y = P w` from `start`, for padded images `x`; false, and nothing done, where this CPU or the shape does not fit.
pub(super) fn forward<F: Real>(
    conv: &Conv,
    images: usize,
    w: &[F],
    x: &[F],
    start: Start<'_, F>,
    y: &mut [F],
) -> bool {
    #[cfg(target_arch = "x86_64")]
    if let Some(run) = kernels::chosen::<F>(conv) {
        let bias = match start {
            Start::Bias(b) => Some(b.as_ptr().cast()),
            Start::Accumulate => None,
            Start::Zero => return false,
        };
        let shape = kernels::Shape::new(conv, images);
        assert!(x.len() >= images * shape.image, "x against the padded images");
        // SAFETY: F is f32 and the CPU has the level, as `chosen` checked; the caller checked w, the bias and y against the
        // layer, and x holds the padded images.
        unsafe { (run.forward)(&shape, w.as_ptr().cast(), x.as_ptr().cast(), bias, y.as_mut_ptr().cast()) };
        return true;
    }
    false
}

/// `d_w += P^T d_y` for padded images `x`; false, and nothing done, where this CPU or the shape does not fit.
pub(super) fn weight_gradient<F: Real>(
    conv: &Conv,
    images: usize,
    x: &[F],
    d_y: &[F],
    d_w: &mut [F],
) -> bool {
    #[cfg(target_arch = "x86_64")]
    if let Some(run) = kernels::chosen::<F>(conv) {
        let shape = kernels::Shape::new(conv, images);
        assert!(x.len() >= images * shape.image, "x against the padded images");
        // SAFETY: as above.
        unsafe {
            (run.weight_gradient)(&shape, x.as_ptr().cast(), d_y.as_ptr().cast(), d_w.as_mut_ptr().cast())
        };
        return true;
    }
    false
}

#[cfg(target_arch = "x86_64")]
mod kernels {
    use super::Conv;
    use rederive_math::Real;
    use rederive_math::dispatch::{Level, level};
    use rederive_math::simd::{Avx2, Avx512, Simd};
    use std::any::TypeId;

    /// Sizes and distances, in numbers, of a layer on padded images.
    pub(super) struct Shape {
        pub images: usize,
        /// Numbers per padded image.
        pub image: usize,
        /// Numbers per line of a padded image.
        line: usize,
        /// From one window to the next in a line.
        step: usize,
        /// From one row of windows to the next.
        down: usize,
        kernel: usize,
        /// Numbers of one line of a window.
        run: usize,
        height: usize,
        width: usize,
        channels: usize,
    }

    impl Shape {
        pub(super) fn new(conv: &Conv, images: usize) -> Self {
            let line = conv.padded_row();
            let [height, width, channels] = conv.output;
            Shape {
                images,
                image: conv.padded_image(),
                line,
                step: conv.spec.stride * conv.input[2],
                down: conv.spec.stride * line,
                kernel: conv.spec.kernel,
                run: conv.run(),
                height,
                width,
                channels,
            }
        }
    }

    /// The two passes for one instruction set.
    pub(super) struct Kernels {
        pub forward: unsafe fn(&Shape, *const f32, *const f32, Option<*const f32>, *mut f32),
        pub weight_gradient: unsafe fn(&Shape, *const f32, *const f32, *mut f32),
    }

    /// The kernels that fit this scalar, this CPU and these channels.
    pub(super) fn chosen<F: Real>(conv: &Conv) -> Option<Kernels> {
        if TypeId::of::<F>() != TypeId::of::<f32>() {
            return None;
        }
        match level() {
            Level::Avx512 if conv.spec.channels.is_multiple_of(Avx512::LANES) => {
                Some(Kernels { forward: forward_avx512, weight_gradient: weight_gradient_avx512 })
            }
            Level::Avx2 if conv.spec.channels.is_multiple_of(Avx2::LANES) => {
                Some(Kernels { forward: forward_avx2, weight_gradient: weight_gradient_avx2 })
            }
            _ => None,
        }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn forward_avx512(s: &Shape, w: *const f32, x: *const f32, bias: Option<*const f32>, y: *mut f32) {
        // SAFETY: passed on; this function has the features that Avx512 needs.
        unsafe { forward::<Avx512, 2>(s, w, x, bias, y) }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn forward_avx2(s: &Shape, w: *const f32, x: *const f32, bias: Option<*const f32>, y: *mut f32) {
        // SAFETY: passed on; this function has the features that Avx2 needs.
        unsafe { forward::<Avx2, 1>(s, w, x, bias, y) }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn weight_gradient_avx512(s: &Shape, x: *const f32, d_y: *const f32, d_w: *mut f32) {
        // SAFETY: passed on; this function has the features that Avx512 needs.
        unsafe { weight_gradient::<Avx512, 24>(s, x, d_y, d_w) }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn weight_gradient_avx2(s: &Shape, x: *const f32, d_y: *const f32, d_w: *mut f32) {
        // SAFETY: passed on; this function has the features that Avx2 needs.
        unsafe { weight_gradient::<Avx2, 12>(s, x, d_y, d_w) }
    }

    /// All images, all channels; tiles of `ROWS` rows of 8 pixels, and what is left in smaller ones.
    #[inline(always)]
    unsafe fn forward<S: Simd, const ROWS: usize>(
        s: &Shape,
        w: *const f32,
        x: *const f32,
        bias: Option<*const f32>,
        y: *mut f32,
    ) {
        for image in 0..s.images {
            for o in (0..s.channels).step_by(S::LANES) {
                let mut i = 0;
                while i < s.height {
                    let rows = if s.height - i >= ROWS { ROWS } else { 1 };
                    // SAFETY: rows i..i + rows of windows of this image exist, and so do channels o..o + LANES.
                    unsafe {
                        let x = x.add(image * s.image + i * s.down);
                        let y = y.add((image * s.height + i) * s.width * s.channels + o);
                        let (w, bias) = (w.add(o), bias.map(|b| b.add(o)));
                        if rows == ROWS {
                            line::<S, ROWS>(s, w, x, bias, y);
                        } else {
                            line::<S, 1>(s, w, x, bias, y);
                        }
                    }
                    i += rows;
                }
            }
        }
    }

    /// `ROWS` rows of windows from left to right.
    #[inline(always)]
    unsafe fn line<S: Simd, const ROWS: usize>(
        s: &Shape,
        w: *const f32,
        x: *const f32,
        bias: Option<*const f32>,
        y: *mut f32,
    ) {
        let mut j = 0;
        while j < s.width {
            // SAFETY: windows j.. of these rows exist, as many as the tile is wide.
            unsafe {
                let (x, y) = (x.add(j * s.step), y.add(j * s.channels));
                j += match s.width - j {
                    8.. => tile::<S, ROWS, 8>(s, w, x, bias, y),
                    4.. => tile::<S, ROWS, 4>(s, w, x, bias, y),
                    2.. => tile::<S, ROWS, 2>(s, w, x, bias, y),
                    _ => tile::<S, ROWS, 1>(s, w, x, bias, y),
                };
            }
        }
    }

    /// `ROWS` x `COLS` pixels of one register of channels; returns `COLS`.
    #[inline(always)]
    unsafe fn tile<S: Simd, const ROWS: usize, const COLS: usize>(
        s: &Shape,
        w: *const f32,
        x: *const f32,
        bias: Option<*const f32>,
        y: *mut f32,
    ) -> usize {
        // SAFETY: the caller guarantees that the pixels, their windows and LANES channels exist.
        unsafe {
            let out = |r: usize, c: usize| y.add((r * s.width + c) * s.channels);
            let mut sum = [[S::splat(0.0); COLS]; ROWS];
            for (r, row) in sum.iter_mut().enumerate() {
                for (c, sum) in row.iter_mut().enumerate() {
                    *sum = S::load(bias.unwrap_or(out(r, c)));
                }
            }
            let mut w = w;
            for u in 0..s.kernel {
                let mut x = x.add(u * s.line);
                for _ in 0..s.run {
                    let weights = S::load(w);
                    for (r, row) in sum.iter_mut().enumerate() {
                        for (c, sum) in row.iter_mut().enumerate() {
                            *sum = S::fma(S::splat(*x.add(r * s.down + c * s.step)), weights, *sum);
                        }
                    }
                    w = w.add(s.channels);
                    x = x.add(1);
                }
            }
            for (r, row) in sum.iter().enumerate() {
                for (c, &sum) in row.iter().enumerate() {
                    S::store(out(r, c), sum);
                }
            }
        }
        COLS
    }

    /// All rows of the weights in groups of nearly equal size, at most `MOST`.
    #[inline(always)]
    unsafe fn weight_gradient<S: Simd, const MOST: usize>(
        s: &Shape,
        x: *const f32,
        d_y: *const f32,
        d_w: *mut f32,
    ) {
        let groups = s.run.div_ceil(MOST);
        for u in 0..s.kernel {
            for group in 0..groups {
                let (from, to) = (s.run * group / groups, s.run * (group + 1) / groups);
                for o in (0..s.channels).step_by(S::LANES) {
                    // SAFETY: rows from..to of line u of the weights exist, and so do channels o..o + LANES.
                    unsafe {
                        let x = x.add(u * s.line + from);
                        let d_w = d_w.add((u * s.run + from) * s.channels + o);
                        rows_of_weights::<S>(s, to - from, x, d_y.add(o), d_w);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn rows_of_weights<S: Simd>(
        s: &Shape,
        rows: usize,
        x: *const f32,
        d_y: *const f32,
        d_w: *mut f32,
    ) {
        macro_rules! pick {
            ($($n:literal)*) => {
                match rows {
                    // SAFETY: passed on.
                    $($n => unsafe { gradient_tile::<S, $n>(s, x, d_y, d_w) },)*
                    _ => unreachable!("groups have between 1 and 24 rows"),
                }
            };
        }
        pick!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24)
    }

    /// `N` rows of the weight gradient, whose inputs are neighbours in the image.
    #[inline(always)]
    unsafe fn gradient_tile<S: Simd, const N: usize>(
        s: &Shape,
        x: *const f32,
        d_y: *const f32,
        d_w: *mut f32,
    ) {
        // SAFETY: the caller guarantees that the rows and LANES channels exist.
        unsafe {
            let mut sum = [S::splat(0.0); N];
            for (l, sum) in sum.iter_mut().enumerate() {
                *sum = S::load(d_w.add(l * s.channels));
            }
            let mut d_y = d_y;
            for image in 0..s.images {
                for i in 0..s.height {
                    let mut x = x.add(image * s.image + i * s.down);
                    for _ in 0..s.width {
                        let d = S::load(d_y);
                        for (l, sum) in sum.iter_mut().enumerate() {
                            *sum = S::fma(S::splat(*x.add(l)), d, *sum);
                        }
                        x = x.add(s.step);
                        d_y = d_y.add(s.channels);
                    }
                }
            }
            for (l, &sum) in sum.iter().enumerate() {
                S::store(d_w.add(l * s.channels), sum);
            }
        }
    }
}
