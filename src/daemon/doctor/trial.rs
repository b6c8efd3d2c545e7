//! What a trial mount tells of the kernel.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::backing;
use crate::control::answers::{Finding, Grade};
use crate::vfs::trial;

/// A scratch directory; removed when dropped, if it is empty as it should be.
struct Scratch(PathBuf);

impl Scratch {
    /// Another doctor may be at work at the same time.
    fn new(parent: &Path) -> std::io::Result<Self> {
        use std::hash::{BuildHasher, RandomState};
        let random = RandomState::new().hash_one(0);
        let path = parent.join(format!(".doctor-{random:016x}"));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the scratch directory of a trial is left");
        }
    }
}

/// Tries it below a directory.
pub(super) fn findings(parent: &Path) -> Vec<Finding> {
    let tried = Scratch::new(parent).and_then(|scratch| trial::run(&scratch.0));
    let tried = match tried {
        Ok(tried) => tried,
        Err(error) => {
            // Where others mount for the daemon, it need not see what they do.
            let elsewhere = backing::mountinfo() != "/proc/self/mountinfo";
            return vec![Finding::new(
                if elsewhere { Grade::Warning } else { Grade::Error },
                "mounting",
                format!("a trial mount below {} fails: {error}", parent.display()),
                "the daemon needs CAP_SYS_ADMIN in the first user namespace of the machine, and room on the disk",
            )];
        }
    };
    let mut findings = vec![Finding::ok("mounting", "a trial mount works")];
    let Some(offer) = tried.offer else {
        return findings;
    };
    let (major, minor) = offer.abi;
    findings.push(Finding::ok(
        "fuse",
        format!("the kernel speaks FUSE {major}.{minor}"),
    ));
    let mut offers_passthrough = false;
    for feature in trial::features(offer) {
        offers_passthrough |= feature.name == "passthrough" && feature.offered;
        findings.push(if feature.offered {
            Finding::ok("fuse", format!("the kernel offers {}", feature.name))
        } else {
            Finding::new(
                Grade::Note,
                "fuse",
                format!("the kernel does not offer {}", feature.name),
                format!("a newer kernel helps: without it {}", feature.without),
            )
        });
    }
    if offers_passthrough {
        let what = if tried.bypassed {
            "data goes past the daemon in a trial mount"
        } else {
            "data goes through the daemon in a trial mount, although the kernel offers passthrough"
        };
        findings.push(Finding::that(
            tried.bypassed,
            Grade::Warning,
            "passthrough",
            what,
            "keep folders on ext4, xfs, btrfs or tmpfs, not on overlayfs, and give the daemon CAP_SYS_ADMIN",
        ));
    }
    findings
}
