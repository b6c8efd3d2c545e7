//! Memory that can be handed on: what a process writes there is there for the next one, however the first ended.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::ftruncate;

use super::sys::memory::{self, Mapping};

/// A file without a name (`memfd_create(2)`), of which memory is taken only where something was written.
#[derive(Debug)]
pub struct SharedMemory {
    mapping: Mapping,
    file: OwnedFd,
}

impl SharedMemory {
    /// So many words, all zero.
    ///
    /// # Errors
    /// Those of `memfd_create(2)`, `ftruncate(2)`, `mmap(2)`.
    pub fn new(words: usize) -> io::Result<Self> {
        let file = memory::memfd()?;
        ftruncate(&file, (words * size_of::<u64>()) as i64)?;
        memory::seal_size(file.as_fd())?;
        Ok(Self {
            mapping: Mapping::new(file.as_fd(), words)?,
            file,
        })
    }

    /// What another process made with that many words.
    ///
    /// # Errors
    /// InvalidData if it is none such; those of `mmap(2)`.
    pub fn open(file: OwnedFd, words: usize) -> io::Result<Self> {
        let size = super::stat(&file)?.size;
        if size != (words * size_of::<u64>()) as u64 || !memory::is_size_sealed(file.as_fd()).unwrap_or(false)
        {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self {
            mapping: Mapping::new(file.as_fd(), words)?,
            file,
        })
    }

    /// The words.
    pub fn words(&self) -> &[AtomicU64] {
        self.mapping.words()
    }

    /// Gives the memory of some words back: they are zero from now on. Only entire pages are.
    ///
    /// # Errors
    /// Those of `fallocate(2)`.
    pub fn give_back(&self, from: usize, words: usize) -> io::Result<()> {
        let size = size_of::<u64>();
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        Ok(fallocate(
            &self.file,
            flags,
            (from * size) as i64,
            (words * size) as i64,
        )?)
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn what_one_writes_the_next_one_reads() {
        let first = SharedMemory::new(1 << 20).unwrap();
        first.words()[77].store(7, Ordering::Release);
        let handed_on = first.as_fd().try_clone_to_owned().unwrap();
        drop(first);
        let second = SharedMemory::open(handed_on, 1 << 20).unwrap();
        assert_eq!(second.words()[77].load(Ordering::Acquire), 7);
        second.give_back(0, 512).unwrap();
        assert_eq!(second.words()[77].load(Ordering::Acquire), 0);
    }

    #[test]
    fn another_file_is_not_taken_for_it() {
        let memory = SharedMemory::new(1 << 10).unwrap();
        let handed_on = memory.as_fd().try_clone_to_owned().unwrap();
        assert!(SharedMemory::open(handed_on, 1 << 11).is_err());
        let file = tempfile::tempfile().unwrap();
        file.set_len(8 << 10).unwrap();
        assert!(
            SharedMemory::open(file.into(), 1 << 10).is_err(),
            "it could become shorter"
        );
    }
}
