//! What a mount and its kernel agree on at the start (`FUSE_INIT`).

use fuser::{InitFlags, KernelConfig, Version};

use crate::vfs::filesystem::FileSystem;
use crate::vfs::kernel::{Features, Offer};

/// The largest write in one request, in bytes: what a worker's buffer is touched for at most.
const MAX_WRITE: u32 = 1 << 20;
/// The kernel's ABI that has `FUSE_NOTIFY_INC_EPOCH`.
const EPOCH: Version = Version(7, 44);

/// Asks the kernel for what it has and the mount makes use of.
pub(super) fn agree(fs: &FileSystem, config: &mut KernelConfig) {
    if fs.features.get().is_some() {
        // A former daemon did, and this one knows what.
        return;
    }
    // Without a word about opens and closes, nobody could take back the locks of who closed: those of a read-only
    // mount are its own.
    let opens_itself = fs.opens_itself(config.capabilities().contains(InitFlags::FUSE_NO_OPEN_SUPPORT));
    let locks = InitFlags::FUSE_POSIX_LOCKS | InitFlags::FUSE_FLOCK_LOCKS;
    let wanted = if opens_itself { InitFlags::empty() } else { locks }
        | InitFlags::FUSE_DO_READDIRPLUS
        | InitFlags::FUSE_READDIRPLUS_AUTO
        | InitFlags::FUSE_AUTO_INVAL_DATA
        | InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP
        | InitFlags::FUSE_PARALLEL_DIROPS
        | InitFlags::FUSE_CACHE_SYMLINKS
        // The backing clears setuid bits and capabilities by itself, for the daemon has no CAP_FSETID; the kernel
        // does not ask for them before each write.
        | InitFlags::FUSE_HANDLE_KILLPRIV_V2
        // Lets the kernel ask for what is to be cut.
        | InitFlags::FUSE_EXPORT_SUPPORT
        // Lets the next daemon be asked again what this one does not answer any more.
        | InitFlags::FUSE_HAS_RESEND;
    for flag in wanted.iter() {
        // What an older kernel does not have, it does without.
        let _ = config.add_capabilities(flag);
    }
    let _ = config.set_max_write(MAX_WRITE);
    let features = fs.allowed(Features {
        passthrough: config.capabilities().contains(InitFlags::FUSE_PASSTHROUGH),
        epoch: config.kernel_abi() >= EPOCH,
        opens_itself,
        resends: config.capabilities().contains(InitFlags::FUSE_HAS_RESEND),
    });
    if features.passthrough {
        let _ = config.add_capabilities(InitFlags::FUSE_PASSTHROUGH);
        let _ = config.set_max_stack_depth(1);
    }
    let _ = fs.offer.set(Offer {
        abi: (config.kernel_abi().0, config.kernel_abi().1),
        flags: config.capabilities().bits(),
    });
    // A further worker of the same mount is told the same.
    let _ = fs.features.set(features);
}
