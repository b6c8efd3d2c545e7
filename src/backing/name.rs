//! One component of a path, validated.

use std::ffi::CStr;

/// A name in a directory: 1 to 255 bytes without `/` and NUL, and neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// The bytes, and a NUL behind them.
    bytes: [u8; 256],
    length: u8,
}

/// Why something is no name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a name: 1 to 255 bytes without '/' and NUL, and neither '.' nor '..'")]
pub struct NameError;

impl Name {
    /// Validates a component.
    ///
    /// # Errors
    /// If it is none.
    pub fn new(name: impl AsRef<[u8]>) -> Result<Self, NameError> {
        let name = name.as_ref();
        let length = u8::try_from(name.len()).map_err(|_| NameError)?;
        if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') || name.contains(&0) {
            return Err(NameError);
        }
        let mut bytes = [0; 256];
        bytes[..name.len()].copy_from_slice(name);
        Ok(Self { bytes, length })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    pub(super) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes[..=usize::from(self.length)]).unwrap_or_default()
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_lead_elsewhere_is_no_name() {
        for name in ["", ".", "..", "a/b", "/", "a\0b"] {
            assert_eq!(Name::new(name).map(|_| ()), Err(NameError), "{name:?}");
        }
        assert!(Name::new([b'x'; 256]).is_err());
        for name in [&[0xff; 255][..], b"...", b"-", b" "] {
            assert_eq!(Name::new(name).unwrap().as_bytes(), name);
            assert_eq!(Name::new(name).unwrap().as_c_str().to_bytes(), name);
        }
    }
}
