//! Points in time as printed by databases and JSON: ISO 8601 with a space or a `T`, an optional fraction and an
//! optional offset.

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// Microseconds since 1970 of `2026-08-22 09:30:00.5+02`, of the same with `T` and `Z`, or of a date alone; without an
/// offset the time is in UTC. `None` for anything else.
pub fn microseconds(text: &str) -> Option<i64> {
    let text = text.trim();
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00:00:00"));
    let days = days(date)?;
    let (clock, offset) = split_offset(time);
    days.checked_mul(DAY)?.checked_add(time_of_day(clock)?)?.checked_sub(offset_minutes(offset)? * MINUTE)
}

/// Days since 1970 of `YYYY-MM-DD` (Howard Hinnant's `days_from_civil`).
fn days(date: &str) -> Option<i64> {
    let mut parts = date.split('-');
    let (year, month, day) = (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let is_date = parts.next().is_none() && (1..=12).contains(&month) && (1..=31).contains(&day);
    let shifted = if month > 2 { year } else { year - 1 };
    let (era, year_of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    is_date.then_some(era * 146_097 + day_of_era - 719_468)
}

/// The time of day, and the offset with its sign: `+02`, `-03:30`, `+0530`, `Z`, or nothing.
fn split_offset(time: &str) -> (&str, &str) {
    match time.find(['+', '-', 'Z', 'z']) {
        Some(place) => time.split_at_checked(place).unwrap_or((time, "")),
        None => (time, ""),
    }
}

fn time_of_day(clock: &str) -> Option<i64> {
    let mut parts = clock.trim_end().split(':');
    let (hours, minutes) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let (seconds, fraction) =
        parts.next().map_or(("00", ""), |seconds| seconds.split_once('.').unwrap_or((seconds, "")));
    let seconds = number(seconds, 2)?;
    let is_time = parts.next().is_none() && hours <= 24 && minutes < 60 && seconds <= 60;
    is_time.then_some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + microseconds_of(fraction)?)
}

/// A fraction of a second, truncated to microseconds.
fn microseconds_of(fraction: &str) -> Option<i64> {
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(6).collect();
    digits.parse().ok()
}

fn offset_minutes(offset: &str) -> Option<i64> {
    let (sign, digits) = match offset.split_at_checked(1) {
        None | Some(("Z" | "z", "")) => return Some(0),
        Some(("+", digits)) => (1, digits),
        Some(("-", digits)) => (-1, digits),
        Some(_) => return None,
    };
    let digits = digits.replace(':', "");
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes = if minutes.is_empty() { 0 } else { number(minutes, 2)? };
    Some(sign * (number(hours, 2)? * 60 + minutes))
}

/// A number of exactly `digits` digits.
fn number(text: &str, digits: usize) -> Option<i64> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_instant_in_every_spelling() {
        let expected = Some(1_787_391_000_000_000);
        for text in [
            "2026-08-22T09:30:00Z",
            "2026-08-22 09:30:00",
            "2026-08-22T09:30:00.000Z",
            "2026-08-22 11:30:00+02",
            "2026-08-22T15:00:00+05:30",
            "2026-08-22 06:00:00.000000-0330",
            "2026-08-22T09:30Z",
        ] {
            assert_eq!(microseconds(text), expected, "{text}");
        }
        assert_eq!(microseconds("1970-01-01"), Some(0));
        assert_eq!(microseconds("1969-12-31 23:59:59.999999"), Some(-1));
        assert_eq!(microseconds("2000-02-29T00:00:00.123Z"), Some(951_782_400_123_000));
    }

    #[test]
    fn what_is_no_instant_is_none() {
        for text in [
            "",
            "now",
            "2026",
            "2026-13-01",
            "2026-1-1",
            "2026-08-22T25:00:00",
            "2026-08-22T09:30:00.x",
            "infinity",
            "2026-08-22 09:30:00+2",
            "2026-08-22T",
        ] {
            assert_eq!(microseconds(text), None, "{text}");
        }
    }
}
