//! Bytes and names as they travel and as they are shown.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Bytes of a path or name: text where they are text, hexadecimal digits otherwise. Nothing is lost.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "Wire", into = "Wire")]
#[schema(value_type = Wire)]
pub struct Bytes(pub Vec<u8>);

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(untagged, deny_unknown_fields)]
enum Wire {
    /// As it is.
    Text(String),
    /// What is no text.
    Hex {
        /// Two digits for each byte.
        #[schema(pattern = "^([0-9a-fA-F]{2})*$")]
        hex: String,
    },
}

impl From<Bytes> for Wire {
    fn from(bytes: Bytes) -> Self {
        match String::from_utf8(bytes.0) {
            Ok(text) => Self::Text(text),
            Err(bytes) => Self::Hex {
                hex: bytes
                    .as_bytes()
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
            },
        }
    }
}

/// Why something is no bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("hex is two hexadecimal digits for each byte")]
struct NotHex;

impl TryFrom<Wire> for Bytes {
    type Error = NotHex;

    fn try_from(wire: Wire) -> Result<Self, NotHex> {
        let hex = match wire {
            Wire::Text(text) => return Ok(Self(text.into_bytes())),
            Wire::Hex { hex } => hex,
        };
        let digit = |digit: &u8| char::from(*digit).to_digit(16);
        let pairs = hex.as_bytes().chunks(2);
        let bytes = pairs.map(|pair| match pair {
            [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
            _ => None,
        });
        bytes.collect::<Option<_>>().map(Self).ok_or(NotHex)
    }
}

impl From<OsString> for Bytes {
    fn from(text: OsString) -> Self {
        Self(text.into_vec())
    }
}

impl Bytes {
    /// As a path for the operating system.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }
}

/// A place as the user wrote it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum PlaceRef {
    /// `FOLDER` or `FOLDER/PATH`
    Named(Bytes),
    /// A path inside a mount, found by the client.
    Local {
        /// Where the mount is.
        mount: Bytes,
        /// The path below it.
        path: Bytes,
    },
}

/// A name as it is shown: as it is where it is printable, else quoted as a shell reads it (`$'...'`). So is one that looks
/// as if it were quoted: no two names are shown alike.
pub fn quoted(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(text) if !text.chars().any(char::is_control) && !text.starts_with("$'") => text.into(),
        _ => {
            let escaped: String = name
                .iter()
                .map(|&byte| match byte {
                    b'\\' | b'\'' => format!("\\{}", char::from(byte)),
                    b' '..=b'~' => char::from(byte).to_string(),
                    _ => format!("\\x{byte:02x}"),
                })
                .collect();
            format!("$'{escaped}'")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_travel_unchanged() {
        for bytes in [
            &b"plain"[..],
            "\u{fc}mlaut".as_bytes(),
            b"\xff\xfe/x",
            b"",
            b"{\"hex\"}",
        ] {
            let sent = serde_json::to_string(&Bytes(bytes.into())).unwrap();
            assert_eq!(serde_json::from_str::<Bytes>(&sent).unwrap().0, bytes, "{sent}");
        }
    }

    #[test]
    fn what_is_not_printable_is_quoted() {
        assert_eq!(quoted("\u{fc}mlaut x".as_bytes()), "\u{fc}mlaut x");
        assert_eq!(quoted(b"bell\x07"), r"$'bell\x07'");
        assert_eq!(quoted(b"\xff'\\\n"), r"$'\xff\'\\\x0a'");
        assert_eq!(quoted(br"$'\xff'"), r"$'$\'\\xff\''");
    }

    #[test]
    fn what_is_no_pair_of_digits_is_refused() {
        for wrong in ["f", "+f", "0g", "\u{fc}"] {
            let sent = format!(r#"{{"hex":"{wrong}"}}"#);
            assert!(serde_json::from_str::<Bytes>(&sent).is_err(), "{wrong}");
        }
    }
}
