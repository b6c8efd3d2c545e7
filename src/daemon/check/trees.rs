//! The directories of managed folders and of the trash against what the store knows of them.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::queue::Abandoned;
use super::work::Work;
use crate::backing::users;
use crate::control::answers::{Finding, Grade};
use crate::control::wire::quoted;
use crate::daemon::core::Core;
use crate::policy::FolderId;

/// Orphans, and the trash.
pub(super) fn check(work: &Work) -> Result<(), Abandoned> {
    for (place, name) in ["folders", "trash"].into_iter().flat_map(|place| {
        let names = names(&work.state.join(place));
        names.into_iter().map(move |name| (place, name))
    }) {
        let shown = quoted(work.state.join(place).join(&name).as_os_str().as_bytes());
        let Some(id) = name.to_str().and_then(parse) else {
            work.tell(Finding::new(
                Grade::Note,
                "orphans",
                format!("{shown} is none of lendfs"),
                "nothing is done with it: look who put it there",
            ))?;
            continue;
        };
        let known = work.with_core(|core| is_known(core, place, id));
        if known == Some(false) {
            work.tell(orphan(work, place, id, &shown))?;
        }
    }
    let trash = work.with_core(|core| core.store.trash().unwrap_or_default());
    for (id, owner, name) in trash.into_iter().flatten() {
        work.tell(trashed(work, id, &owner, &name))?;
    }
    Ok(())
}

fn names(directory: &Path) -> Vec<std::ffi::OsString> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.flatten().map(|entry| entry.file_name()).collect()
}

/// A folder's number, as it is written.
fn parse(name: &str) -> Option<FolderId> {
    let id = FolderId(name.parse().ok()?);
    (id.to_string() == name).then_some(id)
}

fn is_known(core: &Core, place: &str, id: FolderId) -> bool {
    let found = if place == "folders" {
        core.store
            .folder(id)
            .map(|folder| folder.is_some_and(|folder| folder.adopted.is_none()))
    } else {
        core.store
            .trash()
            .map(|trash| trash.iter().any(|(trashed, ..)| *trashed == id))
    };
    // Where the store does not say, nothing is touched.
    found.unwrap_or(true)
}

/// A tree that the store does not know is taken into the trash, with all that is in it.
fn orphan(work: &Work, place: &str, id: FolderId, shown: &str) -> Finding {
    let finding = Finding::new(
        Grade::Warning,
        "orphans",
        format!("{shown} belongs to no folder"),
        "lendfs check --repair keeps it in the trash",
    );
    let mut finding = finding.mended_by("it is kept in the trash");
    if work.repair {
        match work.with_core(|core| adopt(core, place, id)) {
            Some(Ok(done)) => finding.repaired = done,
            Some(Err(error)) => tracing::warn!(%error, shown, "an orphan cannot be taken into the trash"),
            None => {}
        }
    }
    finding
}

/// Under the core's lock, that no folder comes or goes meanwhile.
fn adopt(core: &mut Core, place: &str, id: FolderId) -> std::io::Result<bool> {
    let (from, to) = (
        core.state.join(place).join(id.to_string()),
        core.state.join("trash").join(id.to_string()),
    );
    if is_known(core, place, id) {
        return Ok(false);
    }
    let owner = users::by_uid(std::fs::symlink_metadata(&from)?.uid())?;
    let owner = owner.map_or_else(|| "root".into(), |owner| owner.name);
    if from != to {
        if to.symlink_metadata().is_ok() {
            return Err(std::io::Error::other(
                "there is one of that number in the trash already",
            ));
        }
        std::fs::rename(&from, &to)?;
    }
    let kept = core.store.adopt_into_trash(id, &owner, &format!("orphan-{id}"));
    if kept.is_err() && from != to {
        std::fs::rename(&to, &from)?;
    }
    kept.map_err(std::io::Error::other)?;
    Ok(true)
}

fn trashed(work: &Work, id: FolderId, owner: &str, name: &str) -> Finding {
    let tree = work.state.join("trash").join(id.to_string());
    let what = format!("in the trash: {owner}:{name}");
    // What cannot be looked at may be there.
    let gone = matches!(tree.symlink_metadata(), Err(error) if error.kind() == std::io::ErrorKind::NotFound);
    if !gone {
        return Finding::ok("trash", what);
    }
    let finding = Finding::new(
        Grade::Warning,
        "trash",
        format!("{what}: its tree is missing"),
        "bring it back, or lendfs check --repair forgets it",
    );
    let mut finding = finding.mended_by("it is forgotten");
    if work.repair {
        match work.with_core(|core| core.store.forget_trash(id)) {
            Some(Ok(())) => finding.repaired = true,
            Some(Err(error)) => {
                tracing::warn!(%error, %id, "what is gone from the trash cannot be forgotten")
            }
            None => {}
        }
    }
    finding
}
