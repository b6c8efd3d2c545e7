//! Bytes and names as they travel and as they are shown.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Serialize};

/// Bytes of a path or name: text where they are text, hexadecimal digits otherwise. Nothing is lost.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub struct Bytes(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Wire {
    Text(String),
    Hex { hex: String },
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

impl From<Wire> for Bytes {
    fn from(wire: Wire) -> Self {
        match wire {
            Wire::Text(text) => Self(text.into_bytes()),
            Wire::Hex { hex } => Self(
                hex.as_bytes()
                    .chunks(2)
                    .map(|pair| {
                        // What is no digit becomes a NUL, which no path has: it is refused as such.
                        std::str::from_utf8(pair)
                            .ok()
                            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                            .unwrap_or(0)
                    })
                    .collect(),
            ),
        }
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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

/// A name as it is shown: as it is where it is printable, else quoted as a shell reads it (`$'...'`).
pub fn quoted(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(text) if !text.chars().any(char::is_control) => text.into(),
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
    }
}
