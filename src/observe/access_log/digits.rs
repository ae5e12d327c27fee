//! Numbers and bytes in digits, without the cost of `fmt`.

/// Adds a number.
#[inline]
pub(super) fn push_number(line: &mut Vec<u8>, number: u64) {
    match number {
        0..10 => line.push(b'0' + number as u8),
        10.. => push_long(line, number),
    }
}

#[inline(never)]
fn push_long(line: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; 20];
    let mut begin = digits.len();
    let mut rest = number;
    while rest > 0 {
        begin -= 2;
        digits[begin..begin + 2].copy_from_slice(&DECIMAL[(rest % 100) as usize]);
        rest /= 100;
    }
    begin += usize::from(digits[begin] == b'0');
    line.extend_from_slice(&digits[begin..]);
}

/// The last `N` digits of a number, with zeros in front. `N` is even.
#[inline]
pub(super) fn padded<const N: usize>(number: u32) -> [u8; N] {
    let mut digits = [b'0'; N];
    let mut rest = number;
    for pair in digits.rchunks_exact_mut(2) {
        pair.copy_from_slice(&DECIMAL[(rest % 100) as usize]);
        rest /= 100;
    }
    digits
}

/// Adds bytes in lower case hexadecimal digits.
#[inline]
pub(super) fn push_hex<const N: usize>(line: &mut Vec<u8>, bytes: [u8; N]) {
    let digits = bytes.map(|byte| HEXADECIMAL[usize::from(byte)]);
    line.extend_from_slice(digits.as_flattened());
}

/// The two digits of each number below 100.
static DECIMAL: [[u8; 2]; 100] = pairs(10);

/// The two digits of each byte.
static HEXADECIMAL: [[u8; 2]; 256] = pairs(16);

/// The two digits of each number below `N`, in a base of at most 16.
const fn pairs<const N: usize>(base: usize) -> [[u8; 2]; N] {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; N];
    let mut number = 0;
    while number < N {
        pairs[number] = [digits[number / base], digits[number % base]];
        number += 1;
    }
    pairs
}

/// Adds bytes in base64, with the alphabet of RFC 4648, section 4, and padding.
pub(super) fn push_base64(line: &mut Vec<u8>, bytes: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let mut digits = [b'='; 4];
        for (at, digit) in digits.iter_mut().enumerate().take(group.len() + 1) {
            *digit = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
        }
        line.extend_from_slice(&digits);
    }
}

#[cfg(test)]
mod tests {
    use super::{padded, push_base64, push_hex, push_number};

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut line = Vec::new();
        push(&mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn numbers_are_written_as_fmt_writes_them() {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        let around = powers.flat_map(|power| [power - 1, power, power + 1]);
        for number in around.chain([u64::MAX]) {
            assert_eq!(text(|line| push_number(line, number)), number.to_string());
        }
        assert_eq!(padded(42), *b"000042");
        let trace = 0x00f0_67aa_0ba9_02b7_u64;
        assert_eq!(
            text(|line| push_hex(line, trace.to_be_bytes())),
            "00f067aa0ba902b7"
        );
    }

    /// The examples of RFC 4648, section 10.
    #[test]
    fn bytes_are_written_in_base64() {
        for (bytes, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(text(|line| push_base64(line, bytes.as_bytes())), expected);
        }
        assert_eq!(text(|line| push_base64(line, &[0xfb, 0xff, 0xbf])), "+/+/");
    }
}
