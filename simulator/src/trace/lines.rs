//! Lines of a file with their numbers, one at a time. The longest line is bounded, so that no
//! file, whatever it is, takes more memory than that.

use std::io::{self, BufRead};

/// Bytes that are read at once.
pub(super) const BUFFER: usize = 1 << 16;

/// The longest line, in bytes. Rows of traces have a few hundred.
const LONGEST: usize = 1 << 16;

/// Reads lines one by one.
pub(super) struct Lines<'a> {
    input: &'a mut dyn BufRead,
    bytes: Vec<u8>,
    number: u64,
}

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) number: u64,
    /// What stands there, or why that cannot be said.
    pub(super) text: Result<&'a str, &'static str>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(input: &'a mut dyn BufRead) -> Self {
        let (bytes, number) = (Vec::new(), 0);
        Self {
            input,
            bytes,
            number,
        }
    }

    /// The next line that is not blank.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        while self.advance()? {
            if !self.bytes.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(self.line()));
            }
        }
        Ok(None)
    }

    /// Reads a line; `false` at the end of the file.
    fn advance(&mut self) -> io::Result<bool> {
        self.bytes.clear();
        self.number += 1;
        loop {
            let chunk = self.input.fill_buf()?;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let length = end.unwrap_or(chunk.len());
            // One byte more than the longest tells a longer line, the rest of it is passed over.
            let room = (LONGEST + 1).saturating_sub(self.bytes.len());
            self.bytes.extend_from_slice(&chunk[..length.min(room)]);
            let at_end = chunk.is_empty();
            self.input.consume(length + usize::from(end.is_some()));
            if end.is_some() || at_end {
                return Ok(end.is_some() || !self.bytes.is_empty());
            }
        }
    }

    fn line(&self) -> Line<'_> {
        let number = self.number;
        let text = match str::from_utf8(&self.bytes) {
            _ if self.bytes.len() > LONGEST => Err("is longer than 65,536 bytes"),
            Err(_) => Err("is not UTF-8 text"),
            Ok(text) if number == 1 => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
            Ok(text) => Ok(text),
        };
        Line { number, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = (u64, Result<String, &'static str>);

    fn lines(bytes: &[u8]) -> Vec<Read> {
        // A small buffer, so that lines span several.
        let mut input = io::BufReader::with_capacity(3, bytes);
        let mut lines = Lines::new(&mut input);
        let mut read = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            read.push((line.number, line.text.map(str::to_owned)));
            assert!(lines.bytes.len() <= LONGEST + 1);
        }
        read
    }

    fn good(number: u64, text: &str) -> Read {
        (number, Ok(text.to_owned()))
    }

    #[test]
    fn numbers_count_blank_lines_too() {
        assert_eq!(
            lines(b"first\n\n \t\r\nfourth line\nfifth"),
            [good(1, "first"), good(4, "fourth line"), good(5, "fifth")]
        );
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"\n\n"), []);
    }

    #[test]
    fn a_byte_order_mark_is_no_text() {
        assert_eq!(lines("\u{feff}name\n".as_bytes()), [good(1, "name")]);
    }

    #[test]
    fn what_is_no_text_or_too_long_keeps_its_number() {
        let long = "x".repeat(LONGEST);
        let text = format!("{long}\n{long}{long}\nend\n");
        let read = lines(text.as_bytes());
        assert_eq!(read[0], good(1, &long));
        assert_eq!(read[1], (2, Err("is longer than 65,536 bytes")));
        assert_eq!(read[2], good(3, "end"));
        let read = lines(b"\xff\xfe\nend");
        assert_eq!(read, [(1, Err("is not UTF-8 text")), good(2, "end")]);
    }
}
