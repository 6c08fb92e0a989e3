//! One body, compiled for several instruction sets, chosen at run time.

/// What the CPU that runs this program can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// AVX-512 F, VL and DQ.
    Avx512,
    /// AVX2 with FMA.
    Avx2,
    /// The target's baseline.
    Baseline,
}

/// The best level of this CPU. The standard library caches the detection.
#[inline]
pub fn level() -> Level {
    #[cfg(test)]
    if let Some(level) = FORCED.get() {
        return level;
    }
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
        {
            return Level::Avx512;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Level::Avx2;
        }
    }
    Level::Baseline
}

#[cfg(test)]
thread_local!(static FORCED: std::cell::Cell<Option<Level>> = const { std::cell::Cell::new(None) });

/// What `f` returns at every level that this CPU has, best first.
#[cfg(test)]
pub(crate) fn at_every_level<T>(mut f: impl FnMut() -> T) -> Vec<T> {
    let levels: &[Level] = match level() {
        Level::Avx512 => &[Level::Avx512, Level::Avx2, Level::Baseline],
        Level::Avx2 => &[Level::Avx2, Level::Baseline],
        Level::Baseline => &[Level::Baseline],
    };
    let results = levels.iter().map(|&level| {
        FORCED.set(Some(level));
        f()
    });
    let results = results.collect();
    FORCED.set(None);
    results
}

/// Compiles the body of a function for every [`Level`] and dispatches to the best one at run time, so that a binary built
/// for the baseline x86-64 runs its loops over slices on the widest registers there are.
///
/// The compiler vectorises, it does not reassociate: all versions give the same bits as long as the body says
/// `mul_add` where it means a fused product. The body may call `#[inline(always)]` functions. A function may be generic over
/// one parameter `F: Real`.
#[macro_export]
macro_rules! multiversion {
    ($(#[$attribute:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$attribute])*
        #[inline]
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx2,fma")]
            fn avx512($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
            match $crate::dispatch::level() {
                // SAFETY: the level says that this CPU has the features.
                #[cfg(target_arch = "x86_64")]
                $crate::dispatch::Level::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::dispatch::Level::Avx2 => unsafe { avx2($($arg),*) },
                _ => body($($arg),*),
            }
        }
    };
    ($(#[$attribute:meta])* $vis:vis fn $name:ident<F: Real>($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$attribute])*
        #[inline]
        #[allow(clippy::too_many_arguments)]
        $vis fn $name<F: $crate::Real>($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body<F: $crate::Real>($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx2,fma")]
            fn avx512<F: $crate::Real>($($arg: $ty),*) $(-> $ret)? { body::<F>($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2<F: $crate::Real>($($arg: $ty),*) $(-> $ret)? { body::<F>($($arg),*) }
            match $crate::dispatch::level() {
                // SAFETY: the level says that this CPU has the features.
                #[cfg(target_arch = "x86_64")]
                $crate::dispatch::Level::Avx512 => unsafe { avx512::<F>($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::dispatch::Level::Avx2 => unsafe { avx2::<F>($($arg),*) },
                _ => body::<F>($($arg),*),
            }
        }
    };
}
