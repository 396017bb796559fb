//! When a direction copies and when it splices; pure.

/// Bytes in one go from which copying costs more than splicing (`harness bench relay`).
pub(super) const BUSY_BYTES: usize = 16 * 1024;
/// So many busy reads in a row, and the direction splices.
pub(super) const BUSY_READS: u8 = 4;
/// So many splices in a row that move less than [`BUSY_BYTES`], and it copies again.
pub(super) const COOL_SPLICES: u8 = 16;
/// So many busy reads before a pipe is asked for again where there was none to be had.
pub(super) const REFUSED_READS: u8 = 250;

/// How one direction moves its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gear {
    splices: bool,
    /// Reads to go until splicing, or splices to go until copying.
    left: u8,
}

impl Default for Gear {
    fn default() -> Self {
        Self {
            splices: false,
            left: BUSY_READS,
        }
    }
}

impl Gear {
    /// Whether the next bytes are to be spliced.
    #[must_use]
    pub(super) fn splices(self) -> bool {
        self.splices
    }

    /// Takes note of a read of `bytes`.
    pub(super) fn copied(&mut self, bytes: usize) {
        if bytes < BUSY_BYTES {
            // Begins anew, but for a direction that was refused a pipe: that one has far to go.
            self.left = self.left.max(BUSY_READS);
            return;
        }
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            *self = Self {
                splices: true,
                left: COOL_SPLICES,
            };
        }
    }

    /// Takes note of a splice of `bytes`.
    pub(super) fn spliced(&mut self, bytes: usize) {
        if bytes >= BUSY_BYTES {
            self.left = COOL_SPLICES;
            return;
        }
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            *self = Self::default();
        }
    }

    /// Takes note that there is no pipe to be had.
    pub(super) fn refused(&mut self) {
        *self = Self {
            splices: false,
            left: REFUSED_READS,
        };
    }
}
