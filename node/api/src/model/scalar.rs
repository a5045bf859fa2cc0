//! Amounts and times as JSON carries them.

use floe_types::{BlockTime, Frost};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The largest integer that every JSON reader keeps exactly: 2^53.
const EXACT_MAX: u64 = 1 << 53;

/// An amount in FROST: a JSON integer up to 2^53, a string of digits above it. Both are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(pub Frost);

impl From<Frost> for Amount {
    fn from(amount: Frost) -> Amount {
        Amount(amount)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.0 {
            exact @ 0..=EXACT_MAX => serializer.serialize_u64(exact),
            large => serializer.collect_str(&large),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u64),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(frost) => Ok(Amount(Frost(frost))),
            Form::Text(digits) => digits.parse().map(|frost| Amount(Frost(frost))).map_err(serde::de::Error::custom),
        }
    }
}

/// A point in time: milliseconds since 1970-01-01 UTC, in JSON as RFC 3339 with `Z`, milliseconds only when there are any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

/// A text that is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time of the form 2026-11-20T14:02:45Z: {found:?}")]
pub struct TimeError {
    /// The refused text.
    pub found: String,
}

impl From<BlockTime> for Time {
    fn from(time: BlockTime) -> Time {
        Time(time.0)
    }
}

impl Time {
    /// Now, by the system clock. For screens; nothing is decided by it.
    #[must_use]
    pub fn now() -> Time {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Whole milliseconds from `earlier` to this time, zero when it is not earlier.
    #[must_use]
    pub fn millis_since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time as the calendar library has it, clamped to what it can name.
    #[must_use]
    pub fn timestamp(self) -> jiff::Timestamp {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timestamp().fmt(f)
    }
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Time, TimeError> {
        let refused = || TimeError { found: text.chars().take(40).collect() };
        let stamp: jiff::Timestamp = text.parse().map_err(|_| refused())?;
        u64::try_from(stamp.as_millisecond()).map(Time).map_err(|_| refused())
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_integers_until_readers_would_round_them() {
        let text = |frost| serde_json::to_string(&Amount(Frost(frost))).unwrap();
        assert_eq!(text(688_000), "688000");
        assert_eq!(text(EXACT_MAX), "9007199254740992");
        assert_eq!(text(EXACT_MAX + 1), "\"9007199254740993\"");
        for frost in [0, 1, EXACT_MAX, EXACT_MAX + 1, u64::MAX] {
            assert_eq!(serde_json::from_str::<Amount>(&text(frost)).unwrap(), Amount(Frost(frost)));
        }
        for refused in ["-1", "1.5", "\"\"", "\"12a\"", "\"18446744073709551616\"", "null"] {
            assert!(serde_json::from_str::<Amount>(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn times_are_rfc_3339_in_utc() {
        let text = |millis| serde_json::to_string(&Time(millis)).unwrap();
        assert_eq!(text(0), "\"1970-01-01T00:00:00Z\"");
        assert_eq!(text(1_795_183_365_000), "\"2026-11-20T14:02:45Z\"");
        assert_eq!(text(1_795_183_365_250), "\"2026-11-20T14:02:45.25Z\"");
        assert_eq!("2026-11-20T15:02:45+01:00".parse(), Ok(Time(1_795_183_365_000)));
        assert!("yesterday".parse::<Time>().is_err());
        assert!("1969-12-31T23:59:59Z".parse::<Time>().is_err());
        assert_eq!(Time(u64::MAX).timestamp(), jiff::Timestamp::MAX);
    }
}
