//! Figures as people read them.

/// A number of bytes: `64 B`, `4 KiB`, `1 MiB`.
#[must_use]
pub fn bytes(count: usize) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..0x10_0000 => format!("{} KiB", shortest(count as f64 / 1024.0)),
        _ => format!("{} MiB", shortest(count as f64 / 1_048_576.0)),
    }
}

/// A rate in bytes a second, in decimal units: `9.81 GB/s`.
#[must_use]
pub fn rate(bytes_per_second: f64) -> String {
    match bytes_per_second {
        rate if rate >= 0.9995e9 => format!("{} GB/s", three(rate / 1e9)),
        rate if rate >= 0.9995e6 => format!("{} MB/s", three(rate / 1e6)),
        rate => format!("{} kB/s", three(rate / 1e3)),
    }
}

/// A time in nanoseconds: `104 ns`, `41.2 µs`.
#[must_use]
pub fn nanos(nanos: f64) -> String {
    match nanos {
        nanos if nanos >= 0.9995e9 => format!("{} s", three(nanos / 1e9)),
        nanos if nanos >= 0.9995e6 => format!("{} ms", three(nanos / 1e6)),
        nanos if nanos >= 0.9995e3 => format!("{} µs", three(nanos / 1e3)),
        nanos => format!("{} ns", three(nanos)),
    }
}

/// Three significant digits of a number below a thousand.
fn three(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

fn shortest(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_for_people() {
        assert_eq!([bytes(8), bytes(4096), bytes(1536), bytes(1 << 20)], ["8 B", "4 KiB", "1.50 KiB", "1 MiB"]);
        assert_eq!([rate(9.8123e9), rate(999.9e6), rate(0.0)], ["9.81 GB/s", "1.00 GB/s", "0.00 kB/s"]);
        assert_eq!([nanos(104.4), nanos(41234.0), nanos(5.0)], ["104 ns", "41.2 µs", "5.00 ns"]);
    }
}
