//! Sizes, times, amounts and ids for people. Times are local; what lies in the future is "about".

use floe_api::model::{Amount, Time};
use floe_types::BlobId;
use jiff::tz::TimeZone;

/// FROST in a micro-WAL.
const FROST_PER_MICRO: u64 = 1_000;

/// The first and last four characters of an id.
pub(super) fn short(id: &BlobId) -> String {
    let text = id.to_string();
    format!("{}…{}", text.get(..4).unwrap_or_default(), text.get(text.len().saturating_sub(4)..).unwrap_or_default())
}

/// A size: bytes below a KiB, else one decimal.
pub(super) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1 << 10 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    while unit + 1 < units.len() && bytes >> (10 * (unit + 2)) > 0 {
        unit += 1;
    }
    let tenths = (u128::from(bytes) * 10 + (1u128 << (10 * (unit + 1) - 1))) >> (10 * (unit + 1));
    format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
}

/// A whole number with a comma after every three digits.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 3 == first {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount: micro-WAL up to ten WAL, WAL above; no digit is dropped.
pub(super) fn amount(amount: Amount) -> String {
    let frost = amount.0.0;
    let (unit, per, digits) =
        if frost < 10_000_000_000 { ("µWAL", FROST_PER_MICRO, 3) } else { ("WAL", 1_000_000_000, 9) };
    let whole = count(frost / per);
    match frost % per {
        0 => format!("{whole} {unit}"),
        rest => format!("{whole}.{} {unit}", format!("{rest:0digits$}").trim_end_matches('0')),
    }
}

/// A length of time with its two largest units.
pub(super) fn span(millis: u64) -> String {
    let seconds = millis / 1_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let pair = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match (days, seconds / 3_600, seconds / 60) {
        (1.., _, _) => pair(days, "d", hours, "h"),
        (_, 1.., _) => pair(hours, "h", minutes, "min"),
        (_, _, 1..) => pair(minutes, "min", seconds % 60, "s"),
        _ => format!("{seconds} s"),
    }
}

/// A short measured time with one decimal.
pub(super) fn seconds(millis: u64) -> String {
    format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
}

/// A clock that knows the zone and the day, so that it names only what is needed.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    now: Time,
    zone: TimeZone,
}

impl Clock {
    /// The system's clock and zone, now.
    pub(super) fn now() -> Clock {
        Clock { now: Time::now(), zone: TimeZone::system() }
    }

    #[cfg(test)]
    pub(super) fn at(now: Time) -> Clock {
        Clock { now, zone: TimeZone::UTC }
    }

    /// `14:02:45`, with the date when it is not today's.
    pub(super) fn time(&self, time: Time) -> String {
        let (then, now) = (self.zoned(time), self.zoned(self.now));
        let form = if then.date() == now.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
        then.strftime(form).to_string()
    }

    /// `20 s ago`.
    pub(super) fn ago(&self, time: Time) -> String {
        format!("{} ago", span(self.now.millis_since(time)))
    }

    /// `14:02:45 (20 s ago)`.
    pub(super) fn past(&self, time: Time) -> String {
        format!("{} ({})", self.time(time), self.ago(time))
    }

    /// `about 14:06:30 (in 3 min 52 s)`; what was expected and has not come is overdue.
    pub(super) fn future(&self, time: Time) -> String {
        let ahead = time.millis_since(self.now);
        match ahead {
            0 => format!("about {} (overdue by {})", self.time(time), span(self.now.millis_since(time))),
            _ => format!("about {} (in {})", self.time(time), span(ahead)),
        }
    }

    /// What it takes for now.
    pub(super) fn instant(&self) -> Time {
        self.now
    }

    fn zoned(&self, time: Time) -> jiff::Zoned {
        time.timestamp().to_zoned(self.zone.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_types::Frost;

    #[test]
    fn sizes_are_iec() {
        let cases = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (10 << 20, "10.0 MiB"),
            (44_739_243, "42.7 MiB"),
            (1 << 40, "1.0 TiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn amounts_lose_no_digit() {
        let cases = [
            (0, "0 µWAL"),
            (1, "0.001 µWAL"),
            (688_000, "688 µWAL"),
            (999_312_000, "999,312 µWAL"),
            (1_000_000_000, "1,000,000 µWAL"),
            (10_000_000_000, "10 WAL"),
            (1_234_567_800_000_001, "1,234,567.800000001 WAL"),
        ];
        for (frost, text) in cases {
            assert_eq!(amount(Amount(Frost(frost))), text);
        }
    }

    #[test]
    fn spans_have_two_units() {
        let cases = [
            (999, "0 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (232_000, "3 min 52 s"),
            (3_600_000, "1 h"),
            (7_500_000, "2 h 5 min"),
            (93_600_000, "1 d 2 h"),
        ];
        for (millis, text) in cases {
            assert_eq!(span(millis), text);
        }
        assert_eq!(seconds(912), "0.9 s");
    }

    #[test]
    fn the_clock_says_about_for_what_is_ahead_and_overdue_for_what_did_not_come() {
        let clock = Clock::at(Time(1_795_183_365_000));
        let at = |text: &str| text.parse::<Time>().unwrap();
        assert_eq!(clock.past(at("2026-11-20T14:02:25Z")), "14:02:25 (20 s ago)");
        assert_eq!(clock.future(at("2026-11-20T14:06:37Z")), "about 14:06:37 (in 3 min 52 s)");
        assert_eq!(clock.future(at("2026-11-20T14:02:40Z")), "about 14:02:40 (overdue by 5 s)");
        assert_eq!(clock.time(at("2026-11-21T00:00:00Z")), "2026-11-21 00:00:00");
    }
}
