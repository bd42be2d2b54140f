//! A reader of the DER that certificates consist of: elements in order, each with a tag of one byte.
//!
//! The result is `None` for anything that is not DER: lengths that are too long or not the shortest, tags of several bytes.

pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const OBJECT_IDENTIFIER: u8 = 0x06;
pub const UTF8_STRING: u8 = 0x0c;
pub const PRINTABLE_STRING: u8 = 0x13;
pub const T61_STRING: u8 = 0x14;
pub const IA5_STRING: u8 = 0x16;
pub const UTC_TIME: u8 = 0x17;
pub const GENERALIZED_TIME: u8 = 0x18;
pub const VISIBLE_STRING: u8 = 0x1a;
pub const BMP_STRING: u8 = 0x1e;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;

/// Returns a tag of the context: `[number]`, primitive.
pub const fn primitive(number: u8) -> u8 {
    0x80 | number
}

/// Returns a tag of the context: `[number]`, with elements inside.
pub const fn constructed(number: u8) -> u8 {
    0xa0 | number
}

/// The bytes that are still to be read.
#[derive(Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Returns the next element: its tag and its contents.
    pub fn element(&mut self) -> Option<(u8, &'a [u8])> {
        const LONG_FORM: u8 = 0x80;
        const TAG_OF_SEVERAL_BYTES: u8 = 0x1f;

        let (&tag, rest) = self.0.split_first()?;
        if tag & TAG_OF_SEVERAL_BYTES == TAG_OF_SEVERAL_BYTES {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = if first < LONG_FORM {
            (usize::from(first), rest)
        } else {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & !LONG_FORM))?;
            let length = match *bytes {
                [low @ LONG_FORM..=0xff] => usize::from(low),
                [high @ 1..=0xff, low] => usize::from(u16::from_be_bytes([high, low])),
                _ => return None,
            };
            (length, rest)
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, contents))
    }

    /// Returns the contents of the next element, which has this tag.
    pub fn read(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, contents) = self.element()?;
        (found == tag).then_some(contents)
    }

    /// Returns the contents of the next element if it has this tag. A malformed element is left for the next read, which fails on it.
    pub fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&tag) { self.element().map(|(_, contents)| contents) } else { None }
    }
}

/// Returns the contents of the only element in these bytes.
pub fn only(tag: u8, bytes: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(bytes);
    let contents = reader.read(tag)?;
    reader.is_empty().then_some(contents)
}

/// Appends an element. `None` if it is longer than a [`Reader`] reads.
pub fn write(bytes: &mut Vec<u8>, tag: u8, contents: &[u8]) -> Option<()> {
    let [high, low] = u16::try_from(contents.len()).ok()?.to_be_bytes();
    match (high, low) {
        (0, 0..0x80) => bytes.extend([tag, low]),
        (0, _) => bytes.extend([tag, 0x81, low]),
        _ => bytes.extend([tag, 0x82, high, low]),
    }
    bytes.extend_from_slice(contents);
    Some(())
}

/// Parses a point in time (RFC 5280, 4.1.2.5). Returns seconds since 1970.
pub fn time(reader: &mut Reader<'_>) -> Option<i64> {
    let (tag, text) = reader.element()?;
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(&digits[..2]);
            (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let field = |at: usize| number(&rest[at..at + 2]);
    let (month, day, hour, minute, second) = (field(0), field(2), field(4), field(6), field(8));
    let is_time = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    is_time.then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Returns the days from 1970-01-01 to a date. Years begin in March here, so that the leap day is a year's last day.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

/// Formats seconds since 1970: `2026-11-26 14:30:00 UTC`.
pub fn date(seconds: i64) -> String {
    let day = seconds.div_euclid(86_400);
    let second = seconds.rem_euclid(86_400);
    // A year that has begun by then, for no year has more than 366 days; the true one is a few years on.
    let mut year = (day + 719_528).div_euclid(366).max(0);
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| days(year, *month, 1) <= day).unwrap_or(1);
    let date = day - days(year, month, 1) + 1;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{date:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_their_shortest_form() {
        let element = |bytes: &[u8]| Reader::new(bytes).element().map(|(tag, contents)| (tag, contents.len()));
        assert_eq!(element(b"\x04\x02ab"), Some((0x04, 2)));
        assert_eq!(element(&[&b"\x04\x81\x80"[..], &[0; 128]].concat()), Some((0x04, 128)));
        assert_eq!(element(&[&b"\x04\x82\x01\x00"[..], &[0; 256]].concat()), Some((0x04, 256)));
        for wrong in [
            &b""[..],
            b"\x04",
            b"\x04\x02a",
            b"\x04\x80",
            b"\x04\x81\x01a",
            b"\x04\x82\x00\x01a",
            b"\x04\x83\x00\x00\x01a",
            b"\x04\xff",
            b"\x1f\x01a",
        ] {
            assert_eq!(element(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff] {
            let mut bytes = Vec::new();
            assert!(write(&mut bytes, SEQUENCE, &vec![7; length]).is_some());
            assert_eq!(only(SEQUENCE, &bytes).map(<[u8]>::len), Some(length));
        }
        assert!(write(&mut Vec::new(), SEQUENCE, &vec![0; 0x1_0000]).is_none());
    }

    #[test]
    fn times_and_dates() {
        let read = |tag: u8, text: &str| {
            let length = u8::try_from(text.len()).unwrap();
            time(&mut Reader::new(&[&[tag, length][..], text.as_bytes()].concat()))
        };
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", "1970-01-01 00:00:00 UTC"),
            (UTC_TIME, "491231235959Z", "2049-12-31 23:59:59 UTC"),
            (UTC_TIME, "500101000000Z", "1950-01-01 00:00:00 UTC"),
            (UTC_TIME, "000229120000Z", "2000-02-29 12:00:00 UTC"),
            (GENERALIZED_TIME, "20240301000000Z", "2024-03-01 00:00:00 UTC"),
            (GENERALIZED_TIME, "20231231235959Z", "2023-12-31 23:59:59 UTC"),
            (GENERALIZED_TIME, "99991231235959Z", "9999-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(read(tag, text).map(date).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(read(UTC_TIME, "700102000001Z"), Some(86_401));
        for (tag, wrong) in [
            (UTC_TIME, "7001010000Z"),
            (UTC_TIME, "700101000000+0000"),
            (UTC_TIME, "701301000000Z"),
            (GENERALIZED_TIME, "700101000000Z"),
            (GENERALIZED_TIME, "20240101000000.5Z"),
            (INTEGER, "700101000000Z"),
        ] {
            assert_eq!(read(tag, wrong), None, "{wrong}");
        }
    }
}
