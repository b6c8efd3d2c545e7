//! One component of a path, validated.

use std::ffi::CStr;

/// A name in a directory: 1 to 255 bytes without `/` and NUL, and neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// The bytes, and a NUL behind them.
    bytes: [u8; 256],
    length: u8,
}

/// A name as it is kept for long: in place if it is short, as most are.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptName(Kept);

#[derive(Clone, PartialEq, Eq)]
enum Kept {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

/// What fits beside the length where a long name takes a pointer, its own length, and the choice between the two.
const SHORT: usize = 22;

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

impl From<&Name> for KeptName {
    fn from(name: &Name) -> Self {
        let name = name.as_bytes();
        let mut bytes = [0; SHORT];
        Self(match bytes.get_mut(..name.len()) {
            Some(start) => {
                start.copy_from_slice(name);
                Kept::Short {
                    length: name.len() as u8,
                    bytes,
                }
            }
            None => Kept::Long(name.into()),
        })
    }
}

impl KeptName {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Kept::Short { length, bytes } => &bytes[..usize::from(*length)],
            Kept::Long(bytes) => bytes,
        }
    }
}

impl From<&KeptName> for Name {
    fn from(name: &KeptName) -> Self {
        let name = name.as_bytes();
        let mut bytes = [0; 256];
        bytes[..name.len()].copy_from_slice(name);
        Self {
            bytes,
            length: name.len() as u8,
        }
    }
}

impl std::fmt::Debug for KeptName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Name::from(self).fmt(f)
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

    #[test]
    fn a_name_comes_out_as_it_was_kept_whatever_its_length() {
        for length in 1..256 {
            let name = Name::new(vec![b'x'; length]).unwrap();
            let kept = KeptName::from(&name);
            assert_eq!(kept.as_bytes(), name.as_bytes());
            assert_eq!(Name::from(&kept), name);
        }
        assert_eq!(size_of::<KeptName>(), 24);
    }
}
