//! A position in untrusted bytes; the only place that takes bytes out of them.

use super::GgufError;

#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub fn remaining(&self) -> usize {
        self.rest().len()
    }

    /// The next `n` bytes, or `None` and no movement.
    pub fn take(&mut self, n: u64) -> Option<&'a [u8]> {
        let taken = self.rest().get(..usize::try_from(n).ok()?)?;
        self.at += taken.len();
        Some(taken)
    }

    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufError> {
        let Some(&bytes) = self.rest().first_chunk() else {
            return Err(GgufError::Truncated { what, at: self.at });
        };
        self.at += N;
        Ok(bytes)
    }

    pub fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A length of 64 bits and as many bytes of UTF-8.
    pub fn string(&mut self, what: &'static str) -> Result<&'a str, GgufError> {
        let at = self.at;
        let len = self.u64(what)?;
        let remaining = self.remaining();
        let bytes = self.take(len).ok_or(GgufError::StringTooLong { what, at, len, remaining })?;
        core::str::from_utf8(bytes).map_err(|_| GgufError::InvalidUtf8 { what, at })
    }

    /// A [`Cursor::string`] that is not empty.
    pub fn name(&mut self, what: &'static str) -> Result<&'a str, GgufError> {
        let at = self.at;
        match self.string(what)? {
            "" => Err(GgufError::EmptyName { what, at }),
            name => Ok(name),
        }
    }

    /// A count of entries of at least `least` bytes each that lie in what remains, and no more than `limit`.
    pub fn check_count(
        &self,
        what: &'static str,
        count: u64,
        least: usize,
        before: usize,
        limit: usize,
    ) -> Result<usize, GgufError> {
        let remaining = self.remaining();
        let room = remaining.saturating_sub(before) / least;
        match usize::try_from(count) {
            Ok(n) if n <= room && n <= limit => Ok(n),
            Ok(n) if n <= room => Err(GgufError::TooMany { what, count, limit }),
            _ => Err(GgufError::CountExceedsFile { what, count, remaining }),
        }
    }
}
