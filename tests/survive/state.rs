//! Whether a daemon that has taken mounts over has kept more than it needs.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::{BOB, ROOT, World};

/// When all work is done and the kernel has let go of what it knew, no more is left than after a fresh mount.
pub fn is_flat(world: &World, mount: &Path) {
    BOB.run(|| {
        for entry in std::fs::read_dir(mount.join("tests")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        }
    });
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        std::fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
        let known = world.json(ROOT, "status")["nodes"].as_u64().unwrap();
        if known <= 2 {
            break;
        }
        assert!(Instant::now() < deadline, "{known} nodes are left");
        std::thread::sleep(Duration::from_millis(200));
    }
    let daemon = world.kept_daemon(None);
    let files = std::fs::read_dir(format!("/proc/{daemon}/fd")).unwrap().count();
    assert!(files < 80, "{files} descriptors are open");
}
