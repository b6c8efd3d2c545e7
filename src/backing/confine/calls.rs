//! The system calls that the daemon may make.
//!
//! Of the others, those that only an intruder makes end the daemon. The rest answer ENOSYS, and the kernel's log tells:
//! the C library and SQLite ask for what newer kernels have, and do without where it is not had.
//!
//! Users are asked for through unix sockets alone (nscd, sssd, systemd): a module of the name service switch that asks
//! the network by itself finds nobody.

use std::collections::BTreeMap;
use std::io;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// A list of system calls as the kernel takes it.
pub(super) struct Filter {
    pub(super) program: BpfProgram,
    /// Whether the kernel's log tells of what it refuses.
    pub(super) logs: bool,
}

/// Of several the kernel obeys the strictest. After the last one there can be no other.
pub(super) fn filters(mounts: bool) -> io::Result<[Filter; 3]> {
    let unknown = || SeccompAction::Errno(libc::ENOSYS as u32);
    let any = |calls: &[c_long]| -> BTreeMap<_, _> { calls.iter().map(|&call| (call, Vec::new())).collect() };
    let mut known = any(ALLOWED);
    if mounts {
        known.extend(any(&MOUNTING));
    }
    known.extend(with_arguments().map_err(io::Error::other)?);
    let filter =
        |rules, others, these, logs| program(rules, others, these).map(|program| Filter { program, logs });
    let allow = || SeccompAction::Allow;
    Ok([
        filter(any(&HOSTILE), allow(), SeccompAction::KillProcess, true)?,
        // Each new thread asks for it.
        filter(any(&[libc::SYS_clone3]), allow(), unknown(), false)?,
        filter(known, unknown(), allow(), true)?,
    ])
}

fn program(
    rules: BTreeMap<c_long, Vec<SeccompRule>>, others: SeccompAction, these: SeccompAction,
) -> io::Result<BpfProgram> {
    let machine = std::env::consts::ARCH.try_into();
    machine
        .and_then(|machine| SeccompFilter::new(rules, others, these, machine))
        .and_then(BpfProgram::try_from)
        .map_err(io::Error::other)
}

/// What nobody calls by mistake: programs are run, others' memory and descriptors taken, namespaces and roots changed,
/// the kernel and the clock turned to something else.
const HOSTILE: [c_long; 31] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
];

/// What it takes to mount, and to take mounts down.
const MOUNTING: [c_long; 6] = [
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_umount2,
];

/// What is allowed whatever the arguments.
#[rustfmt::skip]
const ALLOWED: &[c_long] = &[
    // Files, by descriptor.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2, libc::SYS_lseek, libc::SYS_close,
    libc::SYS_close_range, libc::SYS_dup, libc::SYS_dup3, libc::SYS_fcntl, libc::SYS_flock, libc::SYS_fsync,
    libc::SYS_fdatasync, libc::SYS_sync_file_range, libc::SYS_syncfs, libc::SYS_ftruncate, libc::SYS_fallocate,
    libc::SYS_copy_file_range, libc::SYS_sendfile, libc::SYS_splice, libc::SYS_fadvise64, libc::SYS_readahead,
    libc::SYS_fstat, libc::SYS_fstatfs, libc::SYS_fchmod, libc::SYS_fchown, libc::SYS_getdents64,
    libc::SYS_memfd_create, libc::SYS_pipe2,
    // Files, by name.
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_statfs,
    libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_readlinkat, libc::SYS_truncate, libc::SYS_fchmodat,
    libc::SYS_fchownat, libc::SYS_utimensat, libc::SYS_mkdirat, libc::SYS_mknodat, libc::SYS_unlinkat,
    libc::SYS_symlinkat, libc::SYS_linkat, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_umask, libc::SYS_getcwd,
    libc::SYS_setxattr, libc::SYS_lsetxattr, libc::SYS_fsetxattr, libc::SYS_getxattr, libc::SYS_lgetxattr,
    libc::SYS_fgetxattr, libc::SYS_listxattr, libc::SYS_llistxattr, libc::SYS_flistxattr, libc::SYS_removexattr,
    libc::SYS_lremovexattr, libc::SYS_fremovexattr,
    libc::SYS_name_to_handle_at, libc::SYS_open_by_handle_at, libc::SYS_fanotify_init, libc::SYS_fanotify_mark,
    // Memory.
    libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_brk, libc::SYS_msync, libc::SYS_mlock,
    libc::SYS_munlock,
    // Threads and signals.
    libc::SYS_exit, libc::SYS_exit_group, libc::SYS_futex, libc::SYS_set_robust_list, libc::SYS_rseq,
    libc::SYS_membarrier, libc::SYS_sched_yield, libc::SYS_sched_getaffinity, libc::SYS_gettid, libc::SYS_getpid,
    libc::SYS_getppid, libc::SYS_tgkill, libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack, libc::SYS_restart_syscall, libc::SYS_wait4, libc::SYS_waitid, libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal, libc::SYS_getcpu,
    // Time.
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_gettimeofday, libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep, libc::SYS_timerfd_create, libc::SYS_timerfd_settime, libc::SYS_timerfd_gettime,
    // Waiting.
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd2,
    libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_signalfd4,
    // Sockets that are there.
    libc::SYS_bind, libc::SYS_listen, libc::SYS_accept4, libc::SYS_accept, libc::SYS_connect, libc::SYS_sendto,
    libc::SYS_sendmsg, libc::SYS_sendmmsg, libc::SYS_recvfrom, libc::SYS_recvmsg, libc::SYS_recvmmsg,
    libc::SYS_shutdown, libc::SYS_getsockopt, libc::SYS_setsockopt, libc::SYS_getsockname, libc::SYS_getpeername,
    // Who one is.
    libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid, libc::SYS_getresuid,
    libc::SYS_getresgid, libc::SYS_getgroups, libc::SYS_setgroups, libc::SYS_setfsuid, libc::SYS_setfsgid,
    libc::SYS_setresuid, libc::SYS_setresgid, libc::SYS_capget, libc::SYS_capset,
    // The machine.
    libc::SYS_uname, libc::SYS_sysinfo, libc::SYS_getrandom, libc::SYS_getrusage, libc::SYS_times,
    // What other machines have newer forms of alone.
    #[cfg(target_arch = "x86_64")] libc::SYS_open,
    #[cfg(target_arch = "x86_64")] libc::SYS_stat,
    #[cfg(target_arch = "x86_64")] libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")] libc::SYS_access,
    #[cfg(target_arch = "x86_64")] libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")] libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")] libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")] libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")] libc::SYS_rename,
    #[cfg(target_arch = "x86_64")] libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")] libc::SYS_chown,
    #[cfg(target_arch = "x86_64")] libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")] libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")] libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")] libc::SYS_pipe,
    #[cfg(target_arch = "x86_64")] libc::SYS_poll,
    #[cfg(target_arch = "x86_64")] libc::SYS_select,
    #[cfg(target_arch = "x86_64")] libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")] libc::SYS_time,
    #[cfg(target_arch = "x86_64")] libc::SYS_getrlimit,
];

/// What is allowed with some arguments alone.
fn with_arguments() -> Result<BTreeMap<c_long, Vec<SeccompRule>>, BackendError> {
    // linux/fuse.h: CLONE, BACKING_OPEN, BACKING_CLOSE.
    const FUSE: [u32; 3] = [0x8004_E500, 0x4010_E501, 0x4004_E502];
    // What the library asks of a descriptor that it is about to write to, or makes non-blocking.
    const PLAIN: [u32; 4] = [
        libc::TCGETS as u32,
        libc::FIONBIO as u32,
        libc::FIONREAD as u32,
        libc::FIOCLEX as u32,
    ];
    // Names of threads and memory (PR_SET_VMA of linux/prctl.h), and what libcap asks when a module brings it in.
    const ASKING: [u32; 4] = [
        libc::PR_SET_NAME as u32,
        libc::PR_GET_NAME as u32,
        0x5356_4D41,
        libc::PR_CAPBSET_READ as u32,
    ];
    const NAMESPACES: u64 = (libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET) as u64;
    let (write, execute) = (libc::PROT_WRITE as u64, libc::PROT_EXEC as u64);
    let own = vec![when(0, SeccompCmpOp::Eq, 0)?];
    let unix = vec![when(0, SeccompCmpOp::Eq, libc::AF_UNIX as u64)?];
    Ok([
        (libc::SYS_ioctl, one_of(1, FUSE.iter().chain(&PLAIN))?),
        (libc::SYS_prctl, one_of(0, &ASKING)?),
        // clone3(2) hides its flags from a filter, and another one refuses it; the library falls back to this one.
        (libc::SYS_clone, vec![without(0, NAMESPACES)?]),
        (libc::SYS_clone3, Vec::new()),
        // What is written is not executed, so the library's modules can be loaded and nothing else.
        (libc::SYS_mmap, vec![without(2, write)?, without(2, execute)?]),
        (libc::SYS_mprotect, vec![without(2, execute)?]),
        (libc::SYS_socket, unix.clone()),
        (libc::SYS_socketpair, unix),
        // Of oneself, not of others.
        (libc::SYS_prlimit64, own),
    ]
    .into())
}

fn one_of<'a>(
    argument: u8, values: impl IntoIterator<Item = &'a u32>,
) -> Result<Vec<SeccompRule>, BackendError> {
    let rules = values.into_iter();
    rules
        .map(|&value| when(argument, SeccompCmpOp::Eq, value.into()))
        .collect()
}

fn without(argument: u8, bits: u64) -> Result<SeccompRule, BackendError> {
    when(argument, SeccompCmpOp::MaskedEq(bits), 0)
}

/// All of them are looked at by the kernel as 32 bits.
fn when(argument: u8, is: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        is,
        value,
    )?])
}
