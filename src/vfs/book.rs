//! The ledger of a folder, and where each of its entries is kept for the next daemon: in the journal of the mount through
//! which it came to be.

use std::collections::HashMap;
use std::sync::Arc;

use super::backing::Backing;
use super::edits::At;
use super::filesystem::FileSystem;
use super::journal::{Journal, LedgerSlot};
use crate::policy::{Known, Ledger, Spot};

/// See the module's doc.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) ledger: Ledger,
    kept: HashMap<Spot, Vec<LedgerSlot>>,
}

impl Book {
    /// Keeps what has changed. What is old is let go of first: what is not known is protected.
    fn keep(&mut self, journal: impl Fn(u64) -> Option<Arc<Journal>>) {
        for spot in self.ledger.take_changed() {
            self.kept.remove(&spot);
            let slots = self.ledger.known(&spot).into_iter();
            let slots = slots.filter_map(|known| Some(LedgerSlot::new(&journal(known.by.mount)?, &known)));
            let slots: Vec<_> = slots.collect();
            if !slots.is_empty() {
                self.kept.insert(spot, slots);
            }
        }
    }

    fn know(&mut self, journal: &Arc<Journal>, entries: Vec<(u32, Known)>) {
        let mut known = Vec::with_capacity(entries.len());
        for (slot, entry) in entries {
            let slots = self.kept.entry(entry.spot.clone()).or_default();
            slots.push(LedgerSlot::again(journal, slot));
            known.push(entry);
        }
        self.ledger.track();
        self.ledger.know(known);
    }
}

impl FileSystem {
    /// Tells the ledger of a folder what happened.
    pub(super) fn tell_ledger(&self, at: At<'_>, tell: impl FnOnce(&mut Ledger)) {
        let mut book = at.parent.folder.backing.book();
        let Some(own) = &self.journal else {
            return tell(&mut book.ledger);
        };
        book.ledger.track();
        tell(&mut book.ledger);
        book.keep(|mount| {
            if mount == self.id.0 {
                return Some(Arc::clone(own));
            }
            let mut mounts = self.shared.mounts();
            mounts.find(|other| other.id.0 == mount)?.journal.clone()
        });
    }

    /// Lets the ledgers know again what they knew of the processes of this mount.
    pub(super) fn know_again(&self, journal: &Arc<Journal>, entries: Vec<(u32, Known)>) {
        let mut folders: HashMap<_, Vec<_>> = HashMap::new();
        for (slot, entry) in entries {
            folders
                .entry(entry.spot.directory.folder)
                .or_default()
                .push((slot, entry));
        }
        let published = self.shared.published();
        for (folder, entries) in folders {
            match published.backings.get(&folder) {
                Some(backing) => Backing::book(backing).know(journal, entries),
                None => entries
                    .into_iter()
                    .for_each(|(slot, _)| drop(LedgerSlot::again(journal, slot))),
            }
        }
    }
}
