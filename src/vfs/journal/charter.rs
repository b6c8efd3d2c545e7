//! What a mount is: asked of whoever made it once, and to be known by who takes it over.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::{CHARTER, Journal, MAGIC, REQUESTS, WORDS, read_bytes, word, write_bytes};
use crate::backing::SharedMemory;

/// See the module's doc. Fields may be added that have a default: it is read by daemons of other versions as well, where
/// nothing else of a journal is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Charter {
    /// The kernel's number of the mount.
    pub mount: u64,
    /// The number of its file system.
    pub device: (u32, u32),
    /// The daemon's own number of it.
    pub number: u64,
    /// The account on whose behalf it acts.
    pub account: i64,
    /// Its login name, and its ids.
    pub login: String,
    /// Likewise.
    pub subject_ids: (u32, u32),
    /// The level that nothing in it exceeds.
    #[serde(default)]
    pub ceiling: Option<String>,
    /// Whether it is declared online.
    #[serde(default)]
    pub online: bool,
    /// Whether the kernel refuses every change.
    #[serde(default)]
    pub read_only: bool,
    /// Whether others than the subject are let in.
    #[serde(default)]
    pub admit_all: bool,
    /// Whether the kernel applies the shown modes and owners on top.
    #[serde(default)]
    pub default_permissions: bool,
    /// The ids that everything is shown to belong to.
    #[serde(default)]
    pub own: Option<(u32, u32)>,
    /// Whether no data may bypass the daemon.
    #[serde(default)]
    pub strict: bool,
    /// What was agreed with its kernel.
    #[serde(default)]
    pub passthrough: bool,
    /// Likewise.
    #[serde(default)]
    pub epoch: bool,
    /// Likewise.
    #[serde(default)]
    pub opens_itself: bool,
}

impl Journal {
    /// Writes down what the mount is, once.
    ///
    /// # Errors
    /// If it is longer than there is room for.
    pub(in crate::vfs) fn charter(&self, charter: &Charter) -> io::Result<()> {
        let text = serde_json::to_vec(charter)?;
        let room = &self.memory.words()[CHARTER..REQUESTS];
        if text.len() > 8 * room.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        write_bytes(room, &text);
        self.header(word::CHARTER)
            .store(text.len() as u64, Ordering::Release);
        Ok(())
    }
}

impl Charter {
    /// What the mount of a journal is, whatever form that has.
    ///
    /// # Errors
    /// InvalidData if it does not tell.
    pub fn of(file: &OwnedFd) -> io::Result<Self> {
        let memory = SharedMemory::open(file.try_clone()?, WORDS)?;
        let words = memory.words();
        let length = words[word::CHARTER].load(Ordering::Acquire) as usize;
        let room = &words[CHARTER..REQUESTS];
        if words[word::MAGIC].load(Ordering::Acquire) != MAGIC || length > 8 * room.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut text = Vec::new();
        read_bytes(room, length, &mut text);
        Ok(serde_json::from_slice(&text)?)
    }
}
