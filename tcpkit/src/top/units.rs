//! Numbers for people, as the page writes them: three significant digits for times, sizes and rates, every digit for
//! counts.

const SECOND: f64 = 1e9;

/// A time in nanoseconds, such as `52.7 ms`.
pub fn time(nanoseconds: u64) -> String {
    let units = [(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (SECOND, "s")];
    scaled(nanoseconds, &units)
}

/// A size in bytes, such as `1.20 kB`.
pub fn bytes(count: u64) -> String {
    let units = [
        (1.0, "B"),
        (1e3, "kB"),
        (1e6, "MB"),
        (1e9, "GB"),
        (1e12, "TB"),
    ];
    scaled(count, &units)
}

/// A count with its thousands apart.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many in so many nanoseconds, such as `12.5/s`.
pub fn rate(count: u64, nanoseconds: u64) -> String {
    match nanoseconds {
        0 => "–".to_owned(),
        _ => format!("{}/s", round(count as f64 / (nanoseconds as f64 / SECOND))),
    }
}

/// A part of a whole in percent.
pub fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => "–".to_owned(),
        _ => format!("{} %", round(100.0 * part as f64 / whole as f64)),
    }
}

/// A bound of a latency bucket, in nanoseconds: all its digits.
pub fn bound(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    match nanoseconds {
        1_000_000_000.. => format!("{} s", value / 1e9),
        1_000_000.. => format!("{} ms", value / 1e6),
        _ => format!("{} µs", value / 1e3),
    }
}

/// A long time in nanoseconds, such as `2 min 5 s`.
pub fn long(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match (hours, minutes) {
        (48.., _) => format!("{} days", hours / 24),
        (1.., _) => format!("{hours} h {} min", minutes % 60),
        (0, 1..) => format!("{minutes} min {} s", seconds % 60),
        (0, 0) => time(nanoseconds),
    }
}

/// In the largest of the units, ascending, that it reaches.
fn scaled(value: u64, units: &[(f64, &str)]) -> String {
    let value = value as f64;
    let reached = |(size, _): &&(f64, &str)| value >= size * 0.9995;
    match units.iter().rev().find(reached) {
        Some((size, unit)) if *size > 1.0 => format!("{} {unit}", round(value / size)),
        _ => format!("{value} {}", units.first().map_or("", |(_, unit)| unit)),
    }
}

/// Three significant digits, ties away from zero.
fn round(value: f64) -> String {
    let at = |digits: usize| {
        let ten = 10_f64.powi(digits as i32);
        format!("{:.digits$}", (value * ten).round() / ten)
    };
    match value {
        ..9.995 => at(2),
        ..99.95 => at(1),
        _ => count(value.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_say_enough() {
        let times = [
            0,
            850,
            999,
            1000,
            28_250,
            99_960,
            999_700,
            52_723_711,
            121_498_000,
            75_000_000_000,
        ];
        let told = times.map(time);
        let expected = [
            "0 ns", "850 ns", "999 ns", "1.00 µs", "28.3 µs", "100 µs", "1.00 ms", "52.7 ms",
            "121 ms", "75.0 s",
        ];
        assert_eq!(told, expected);
        assert_eq!(
            [0, 613, 1_200, 12_345_678].map(bytes),
            ["0 B", "613 B", "1.20 kB", "12.3 MB"]
        );
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!([rate(5, 2_000_000_000), rate(1, 0)], ["2.50/s", "–"]);
        assert_eq!([share(1, 3), share(1, 0)], ["33.3 %", "–"]);
        assert_eq!(
            [100_000, 500_000_000, 20_000_000_000].map(bound),
            ["100 µs", "500 ms", "20 s"]
        );
        assert_eq!(
            [5_000_000_000, 125_000_000_000].map(long),
            ["5.00 s", "2 min 5 s"]
        );
        assert_eq!(
            [7_260_000_000_000, 200_000_000_000_000].map(long),
            ["2 h 1 min", "2 days"]
        );
    }
}
