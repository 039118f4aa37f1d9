//! Sizes as people write and read them.

use std::fmt;

/// The largest capacity of a lane: cursors count modulo 2³¹, so *full* needs half a GiB at most.
pub const MAX_CAPACITY: u64 = 512 << 20;

/// How sizes are written, for the help texts.
pub const SYNTAX: &str =
    "a whole number and a suffix: k, M, G, T (or KiB, MiB, ...) count in 1024, kB, MB, GB, TB in 1000";

/// Why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SizeError {
    /// No digit at the start.
    NoNumber,
    /// Something follows the number that is no known suffix.
    Suffix(String),
    /// More than 64 bits hold.
    TooLarge,
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNumber => write!(f, "a size starts with a digit: write {SYNTAX}"),
            Self::Suffix(suffix) => write!(f, "unknown suffix '{suffix}': write {SYNTAX}"),
            Self::TooLarge => write!(f, "more than 2^64 - 1 bytes"),
        }
    }
}

impl std::error::Error for SizeError {}

/// Reads a size such as `4096`, `64k`, `4MiB` or `1GB`; case does not matter.
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    if number.is_empty() {
        return Err(SizeError::NoNumber);
    }
    let number: u64 = number.parse().map_err(|_| SizeError::TooLarge)?;
    let unit = unit(suffix.trim_start()).ok_or_else(|| SizeError::Suffix(suffix.trim_start().to_owned()))?;
    number.checked_mul(unit).ok_or(SizeError::TooLarge)
}

/// What a suffix multiplies with.
fn unit(suffix: &str) -> Option<u64> {
    let suffix = suffix.to_ascii_lowercase();
    if suffix.is_empty() || suffix == "b" {
        return Some(1);
    }
    let (letter, rest) = suffix.split_at_checked(1)?;
    let power = match letter {
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    match rest {
        "" | "i" | "ib" => Some(1024_u64.pow(power)),
        "b" => Some(1000_u64.pow(power)),
        _ => None,
    }
}

/// A lane's capacity, as asked for and as it will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    asked: u64,
    bytes: u64,
}

impl Capacity {
    /// A capacity that is known to be good.
    pub const fn of(bytes: u64) -> Self {
        Self { asked: bytes, bytes }
    }

    /// The power of two that is used.
    pub fn bytes(self) -> u64 {
        self.bytes
    }

    /// What to tell a user whose figure was rounded up.
    pub fn note(self) -> Option<String> {
        (self.asked != self.bytes).then(|| {
            let (asked, bytes) = (self.asked, self.bytes);
            format!("a capacity is a power of two: {bytes} bytes ({}) are used instead of {asked}", Bytes(bytes))
        })
    }
}

/// Reads a capacity: a size from 1 byte to [`MAX_CAPACITY`], rounded up to a power of two.
pub fn parse_capacity(text: &str) -> Result<Capacity, String> {
    let asked = parse(text).map_err(|error| error.to_string())?;
    if asked == 0 {
        return Err("a lane of no bytes carries nothing: give at least 1".to_owned());
    }
    if asked > MAX_CAPACITY {
        return Err(format!("a lane holds at most {} ({MAX_CAPACITY} bytes)", Bytes(MAX_CAPACITY)));
    }
    Ok(Capacity { asked, bytes: asked.next_power_of_two() })
}

/// Shows a number of bytes in the largest binary unit that keeps it above one: `4 MiB`, `1.50 GiB`, `17 bytes`.
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (power, name) = match self.0 {
            0..1024 => {
                return f.pad(&if self.0 == 1 { "1 byte".to_owned() } else { format!("{} bytes", self.0) });
            }
            1024..0x10_0000 => (10, "KiB"),
            0x10_0000..0x4000_0000 => (20, "MiB"),
            0x4000_0000..0x100_0000_0000 => (30, "GiB"),
            _ => (40, "TiB"),
        };
        let unit = 1_u64 << power;
        if self.0.is_multiple_of(unit) {
            f.pad(&format!("{} {name}", self.0 / unit))
        } else {
            f.pad(&format!("{:.2} {name}", self.0 as f64 / unit as f64))
        }
    }
}

/// Shows a rate in decimal units, three significant digits: `9.81 GB/s`, `120 MB/s`.
pub struct Rate(pub f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, name) = match self.0 {
            rate if rate >= 0.9995e9 => (rate / 1e9, "GB/s"),
            rate if rate >= 0.9995e6 => (rate / 1e6, "MB/s"),
            rate if rate >= 0.9995e3 => (rate / 1e3, "kB/s"),
            rate => return f.pad(&format!("{rate:.0} B/s")),
        };
        f.pad(&format!("{} {name}", three_digits(value)))
    }
}

/// Shows a rate in the units of [`Bytes`], three significant digits: `9.14 GiB/s`, `17 bytes/s`.
pub struct BinaryRate(pub f64);

impl fmt::Display for BinaryRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("GiB/s", 30), ("MiB/s", 20), ("KiB/s", 10)];
        let found = units.into_iter().find(|(_, power)| self.0 >= f64::from(1_u32 << power) * 0.9995);
        match found {
            Some((name, power)) => f.pad(&format!("{} {name}", three_digits(self.0 / f64::from(1_u32 << power)))),
            None => f.pad(&format!("{:.0} bytes/s", self.0)),
        }
    }
}

/// Shows a time given in nanoseconds, three significant digits: `104 ns`, `41.2 µs`.
pub struct Nanos(pub f64);

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, name) = match self.0 {
            nanos if nanos >= 0.9995e9 => (nanos / 1e9, "s"),
            nanos if nanos >= 0.9995e6 => (nanos / 1e6, "ms"),
            nanos if nanos >= 0.9995e3 => (nanos / 1e3, "µs"),
            nanos => (nanos, "ns"),
        };
        f.pad(&format!("{} {name}", three_digits(value)))
    }
}

/// Three significant digits of a number below a thousand.
fn three_digits(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_every_suffix() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("512B", 512),
            ("64k", 65536),
            ("64K", 65536),
            ("64KiB", 65536),
            ("64ki", 65536),
            ("64kB", 64000),
            ("4MiB", 4 << 20),
            ("4 MiB", 4 << 20),
            ("1GB", 1_000_000_000),
            ("1g", 1 << 30),
            ("2TiB", 2 << 40),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn junk_and_overflow_are_errors() {
        for text in ["", " ", "k", "-1", "+1", "MiB", "é", "0x10"] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in ["1x", "1kk", "1.5M", "1MiBs", "1 é", "1kié", "0b1", "4,096"] {
            assert!(matches!(parse(text), Err(SizeError::Suffix(_))), "{text}");
        }
        for text in ["18446744073709551616", "16777216T", "99999999999999999999999k"] {
            assert_eq!(parse(text), Err(SizeError::TooLarge), "{text}");
        }
    }

    #[test]
    fn capacities_are_rounded_up_and_say_so() {
        let rounded = parse_capacity("3MB").expect("a capacity");
        assert_eq!(rounded.bytes(), 4 << 20);
        assert!(rounded.note().is_some_and(|note| note.contains("4194304") && note.contains("3000000")));
        let exact = parse_capacity("4MiB").expect("a capacity");
        assert_eq!((exact.bytes(), exact.note()), (4 << 20, None));
        assert_eq!(parse_capacity("512MiB").map(Capacity::bytes), Ok(MAX_CAPACITY));
        assert_eq!(parse_capacity("1").map(Capacity::bytes), Ok(1));
    }

    #[test]
    fn impossible_capacities_are_refused() {
        for text in ["0", "0k", "536870913", "513MiB", "1GiB", "16777216T"] {
            assert!(parse_capacity(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shown_for_people() {
        assert_eq!(Bytes(1).to_string(), "1 byte");
        assert_eq!(Bytes(1023).to_string(), "1023 bytes");
        assert_eq!(Bytes(1 << 20).to_string(), "1 MiB");
        assert_eq!(Bytes(3 << 29).to_string(), "1.50 GiB");
        assert_eq!(Rate(9.8123e9).to_string(), "9.81 GB/s");
        assert_eq!(Rate(999.9e6).to_string(), "1.00 GB/s");
        assert_eq!(Rate(0.0).to_string(), "0 B/s");
        assert_eq!(BinaryRate(1.5 * 1048576.0).to_string(), "1.50 MiB/s");
        assert_eq!(BinaryRate(0.0).to_string(), "0 bytes/s");
        assert_eq!(Nanos(104.4).to_string(), "104 ns");
        assert_eq!(Nanos(41234.0).to_string(), "41.2 µs");
        assert_eq!(format!("{:>9}", Nanos(5.0)), "  5.00 ns");
    }
}
