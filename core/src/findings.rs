//! All that is wrong with a segment, or with a pair of them, for those who have room to keep it.

use core::fmt;

use heapless::Vec;

use crate::identity::{Finding, Problem};

/// Findings, in the order in which they came.
///
/// ```
/// use smstream_core::findings::Findings;
/// use smstream_core::geometry;
///
/// let memory = [0u8; 8];
/// // SAFETY: the memory is as long as it says, and not shared.
/// let described = Findings::collect(|report| unsafe {
///     geometry::inspect_reporting(memory.as_ptr(), memory.len(), report)
/// });
/// assert_eq!(described.unwrap_err().to_string(), "peer's segment has 8 bytes and needs 768");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Findings(Vec<Finding, 16>);

impl Findings {
    /// Calls `look` with a function that keeps what is reported to it.
    ///
    /// # Errors
    /// What was reported, if `look` returned nothing.
    // By value, because there is no allocator: the caller has asked for the room.
    #[allow(clippy::result_large_err)]
    pub fn collect<T>(look: impl FnOnce(&mut dyn FnMut(Finding)) -> Option<T>) -> Result<T, Findings> {
        let mut findings = Findings::default();
        look(&mut |finding| findings.push(finding)).ok_or(findings)
    }

    /// Adds one.
    pub fn push(&mut self, finding: Finding) {
        // Six at most for each segment alone, or eight if they do not fit together: there is always room.
        let _ = self.0.push(finding);
    }

    /// The findings.
    pub fn as_slice(&self) -> &[Finding] {
        &self.0
    }

    /// Whether it is a segment, but of another version or byte order, or with features this program does not know.
    pub fn is_foreign(&self) -> bool {
        self.0
            .iter()
            .any(|f| matches!(f.problem, Problem::Version(_) | Problem::ByteOrder(_) | Problem::UnknownFeatures(_)))
    }
}

impl From<Finding> for Findings {
    fn from(finding: Finding) -> Self {
        let mut findings = Findings::default();
        findings.push(finding);
        findings
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

impl core::error::Error for Findings {}
