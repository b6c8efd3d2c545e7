//! The capabilities that the daemon keeps, and why.

use std::io;

use nix::errno::Errno;

use crate::backing::sys::confine as sys;
use crate::backing::sys::identity;

const CHOWN: u32 = 0;
const DAC_OVERRIDE: u32 = 1;
const DAC_READ_SEARCH: u32 = 2;
const FOWNER: u32 = 3;
const KILL: u32 = 5;
const SETGID: u32 = 6;
const SETUID: u32 = 7;
const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;
const MKNOD: u32 = 27;

/// The capabilities that are kept, by their numbers in `capabilities(7)`.
///
/// Not among them are, of what a thoughtless hand might add:
///
/// - CAP_FSETID. Without it the backing file system itself takes setuid and setgid bits and file capabilities from what
///   is written, and the kernel does not ask for `security.capability` before each write (FUSE_HANDLE_KILLPRIV_V2).
///   With it, they stay. It is the credential of the thread that opens a file for passthrough that counts. The live
///   tests of writes (`tests/live/writes.rs`) compare each kind of write with a native one, on ext4, xfs and tmpfs. It
///   is dropped from the permitted set too, for coming back from another uid brings into force what is permitted; so
///   setgid can be set on files of the caller's own groups alone.
/// - CAP_SYS_RESOURCE. With it, what is written for others would go past their quotas and into the blocks that a file
///   system reserves for root (`capabilities(7)`).
pub const KEPT: [u32; 10] = [
    // What is made belongs to its maker, whoever makes it.
    CHOWN,
    // Only the daemon reaches the tree of a managed folder, and its users through it.
    DAC_OVERRIDE,
    // open_by_handle_at(2).
    DAC_READ_SEARCH,
    // Modes, times and attributes of others' files.
    FOWNER,
    // --kill.
    KILL,
    // Acting as a user: setfsgid(2), setgroups(2).
    SETGID,
    // setfsuid(2).
    SETUID,
    // Of others' processes: their namespaces, what they have mapped and open.
    SYS_PTRACE,
    // Mounts, passthrough, fanotify(7), attributes in trusted.
    SYS_ADMIN,
    // Devices in root's own folders.
    MKNOD,
];

/// Gives up all others, in every set of the calling thread.
pub(super) fn give_up() -> io::Result<()> {
    let kept = KEPT.iter().fold(0_u64, |kept, capability| kept | 1 << capability);
    for capability in 0.. {
        let Some(has) = sys::is_in_bounding_set(capability) else {
            break;
        };
        if has && !KEPT.contains(&capability) {
            match sys::drop_from_bounding_set(capability)
                .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
            {
                // Without CAP_SETPCAP, as in some containers. Nothing can be gained from there, for no program is run.
                Err(Errno::EPERM) => break,
                done => done?,
            }
        }
    }
    sys::clear_ambient_set()?;
    let mut capabilities = identity::capabilities()?;
    capabilities.permitted &= kept;
    capabilities.effective = capabilities.permitted;
    capabilities.inheritable = 0;
    identity::set_capabilities(&capabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of `capabilities(7)` for [`KEPT`].
    const NAMES: [(&str, u32); 10] = [
        ("CAP_CHOWN", CHOWN),
        ("CAP_DAC_OVERRIDE", DAC_OVERRIDE),
        ("CAP_DAC_READ_SEARCH", DAC_READ_SEARCH),
        ("CAP_FOWNER", FOWNER),
        ("CAP_KILL", KILL),
        ("CAP_SETGID", SETGID),
        ("CAP_SETUID", SETUID),
        ("CAP_SYS_PTRACE", SYS_PTRACE),
        ("CAP_SYS_ADMIN", SYS_ADMIN),
        ("CAP_MKNOD", MKNOD),
    ];

    #[test]
    fn the_unit_leaves_the_daemon_what_it_keeps_and_no_more() {
        let unit = include_str!("../../../systemd/lendfs.service");
        let lines = unit
            .lines()
            .filter_map(|line| line.strip_prefix("CapabilityBoundingSet="));
        let mut left: Vec<_> = lines.flat_map(str::split_whitespace).collect();
        let mut kept: Vec<_> = KEPT
            .iter()
            .map(|capability| NAMES.iter().find(|(_, number)| number == capability).unwrap().0)
            .collect();
        left.sort_unstable();
        kept.sort_unstable();
        assert_eq!(left, kept);
    }
}
