//! Numbers as text, fast: metrics are written some thousand times a second.

/// Appends an integer.
#[inline]
pub(super) fn push_int(out: &mut Vec<u8>, x: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(x).as_bytes());
}

/// Appends a finite number in the fewest digits that give it back: as an integer where it is one, as an `f32` where it is
/// one (metrics computed in `f32` would otherwise show the noise of their widening), as an `f64` otherwise.
#[inline]
pub(super) fn push_finite(out: &mut Vec<u8>, x: f64) {
    // Up to 2^53 every integer is exact; -0 is not one.
    let integer = x as i64;
    if integer as f64 == x && integer.unsigned_abs() <= 1 << 53 && (integer != 0 || x.is_sign_positive()) {
        out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
    } else if f64::from(x as f32) == x {
        out.extend_from_slice(zmij::Buffer::new().format_finite(x as f32).as_bytes());
    } else {
        out.extend_from_slice(zmij::Buffer::new().format_finite(x).as_bytes());
    }
}

/// Appends seconds with six decimals.
#[inline]
pub(super) fn push_seconds(out: &mut Vec<u8>, seconds: f64) {
    let micros = (seconds * 1e6).round() as u64;
    push_int(out, micros / 1_000_000);
    let mut rest = (micros % 1_000_000) as u32;
    let mut digits = *b".000000";
    for digit in digits[1..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_short_and_come_back() {
        for (x, expected) in [
            (0.0, "0"),
            (-0.0, "-0.0"),
            (500.0, "500"),
            (-200.0, "-200"),
            (0.1f32.into(), "0.1"),
            (0.1, "0.1"),
            (499.95, "499.95"),
            (1.0 / 3.0, "0.3333333333333333"),
            (1e300, "1e+300"),
            (9007199254740992.0, "9007199254740992"),
            (f64::from(f32::MIN_POSITIVE), "1.1754944e-38"),
        ] {
            let written = text(|out| push_finite(out, x));
            assert_eq!(written, expected);
            let back: f64 = written.parse().unwrap();
            assert!(back == x || f64::from(back as f32) == x, "{x}");
            assert_eq!(back.is_sign_negative(), x.is_sign_negative());
        }
    }

    #[test]
    fn seconds_have_six_decimals() {
        for (x, expected) in
            [(0.0, "0.000000"), (1.5, "1.500000"), (0.0000014, "0.000001"), (3599.9999999, "3600.000000")]
        {
            assert_eq!(text(|out| push_seconds(out, x)), expected);
        }
    }
}
