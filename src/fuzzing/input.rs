//! Reading what a fuzzer made.

/// The bytes of one input.
pub struct FuzzInput<'a> {
    control: &'a [u8],
    raw: &'a [u8],
}

impl<'a> FuzzInput<'a> {
    /// Splits an input: the number of its control bytes, the control bytes, and the rest.
    pub fn new(data: &'a [u8]) -> Self {
        let (&length, rest) = data.split_first().unwrap_or((&0, &[]));
        let (control, raw) = rest.split_at(usize::from(length).min(rest.len()));
        Self { control, raw }
    }

    /// Returns the next control byte; 0 when there is none left.
    pub fn choice(&mut self) -> u8 {
        let (&choice, rest) = self.control.split_first().unwrap_or((&0, &[]));
        self.control = rest;
        choice
    }

    /// Returns what is no control.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Cuts bytes into pieces, whose lengths the remaining control bytes choose; the last piece has any length.
    pub fn cut<'b>(&mut self, bytes: &'b [u8]) -> Vec<&'b [u8]> {
        let (mut pieces, mut rest) = (Vec::new(), bytes);
        while let Some((&length, lengths)) = self.control.split_first()
            && !rest.is_empty()
        {
            self.control = lengths;
            let (piece, after) = rest.split_at(usize::from(length).clamp(1, rest.len()));
            pieces.push(piece);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(rest);
        }
        pieces
    }
}
