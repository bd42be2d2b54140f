//! The records of TLS in a stream of ciphertext, told apart by their headers (RFC 8446, 5.1).
//!
//! Python's `ssl` is given whole records, so that it need not be asked for plaintext that cannot be there yet: it would answer with
//! an exception. What does not begin like a record is passed on as it is: the session judges it.

/// The length of the header: a type, a version, and the length of what follows.
const HEADER: usize = 5;
/// The longest content of a record, that of TLS 1.2.
const LONGEST: usize = 16 * 1024 + 2048;

/// The kind of the first bytes of some ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// A record of this length, with its header.
    Whole(usize),
    /// The beginning of a record.
    Partial,
    /// Not a record.
    Unknown,
}

/// Returns what `bytes` begin with.
pub fn first_record(bytes: &[u8]) -> Record {
    // From `change_cipher_spec` to `heartbeat`; all versions of TLS have the major number 3.
    let is_known =
        bytes.first().is_none_or(|kind| (20..=24).contains(kind)) && bytes.get(1).is_none_or(|&major| major == 3);
    if !is_known {
        return Record::Unknown;
    }
    let Some(&[_, _, _, high, low]) = bytes.first_chunk::<HEADER>() else { return Record::Partial };
    let length = usize::from(u16::from_be_bytes([high, low]));
    match HEADER + length {
        _ if length > LONGEST => Record::Unknown,
        length if length <= bytes.len() => Record::Whole(length),
        _ => Record::Partial,
    }
}

/// The number of bytes that have arrived as whole records.
#[derive(Default)]
pub(super) struct Records {
    /// The length of the whole records at the beginning of the buffer.
    whole: usize,
    /// Something else than a record has arrived.
    has_ended: bool,
}

impl Records {
    /// Takes note of what has arrived. `buffer` has all bytes since the last call of [`Self::take`].
    pub(super) fn update(&mut self, buffer: &[u8]) {
        while !self.has_ended && self.whole < buffer.len() {
            match first_record(&buffer[self.whole..]) {
                Record::Whole(length) => self.whole += length,
                Record::Partial => return,
                Record::Unknown => self.has_ended = true,
            }
        }
        if self.has_ended {
            self.whole = buffer.len();
        }
    }

    /// Returns the number of bytes that can be processed.
    pub(super) fn whole(&self) -> usize {
        self.whole
    }

    /// Notes that these bytes were taken out of the buffer.
    pub(super) fn take(&mut self) {
        self.whole = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(length: u16) -> Vec<u8> {
        let [high, low] = length.to_be_bytes();
        let mut record = vec![23, 3, 3, high, low];
        record.resize(HEADER + usize::from(length), 7);
        record
    }

    #[test]
    fn a_record_is_whole_when_its_last_byte_is_there() {
        let record = record(300);
        for length in 0..record.len() {
            assert_eq!(first_record(&record[..length]), Record::Partial, "{length}");
        }
        assert_eq!(first_record(&record), Record::Whole(305));
        assert_eq!(first_record(&[&record[..], b"more"].concat()), Record::Whole(305));
    }

    #[test]
    fn what_no_session_sends_is_not_a_record() {
        for bytes in [&b"HTTP/1.1 400 "[..], b"\x13", b"\x19", b"\x16\x02", b"\x17\x03\x03\x48\x01"] {
            assert_eq!(first_record(bytes), Record::Unknown, "{bytes:?}");
        }
        assert_eq!(first_record(b"\x17\x03\x03\x48\x00"), Record::Partial, "the longest one");
    }

    #[test]
    fn records_are_counted_as_they_arrive() {
        let bytes = [record(10), record(0), record(20)].concat();
        let mut records = Records::default();
        for length in 0..=bytes.len() {
            records.update(&bytes[..length]);
            let expected = [45, 20, 15].into_iter().find(|end| *end <= length).unwrap_or(0);
            assert_eq!(records.whole(), expected, "{length}");
        }
        records.take();
        records.update(b"\x17\x03");
        assert_eq!(records.whole(), 0);
        records.update(b"\x17\x03\x03\xff\xff");
        assert_eq!(records.whole(), 5, "all of what is not a record");
        records.take();
        records.update(&record(1)[..3]);
        assert_eq!(records.whole(), 3, "and all that follows");
    }
}
