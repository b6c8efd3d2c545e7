//! set: the properties of a folder.

use serde_json::json;

use super::core::{Caller, Core};
use super::error::{Refused, Result};
use super::folders::{parse_inheritance, said};
use super::server::Run;
use crate::control::{answers as answer, requests};
use crate::policy::{Inheritance, ScratchNames};
use crate::store::FolderRow;

const KEYS: &str = "the keys are: inherit=override|widen, revoke=default|strict, own-files=protected|removable, \
                    replace-by-unlink=off|on, scratch=PATTERN,..|default";

const REVOKE: [&str; 2] = ["default", "strict"];
const OWN_FILES: [&str; 2] = ["protected", "removable"];
const REPLACE: [&str; 2] = ["off", "on"];

impl Run for requests::Set {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        let Some(assignment) = self.assignment else {
            // Who works in it may know what his programs may do.
            return Ok(said(settings(&core.find_folder(caller, &self.folder)?)));
        };
        let folder = core.owned_folder(caller, &self.folder)?;
        let (key, value) = assignment.split_once('=').ok_or_else(|| {
            let assignment = assignment.escape_debug();
            Refused::invalid(format!("'{assignment}' is not KEY=VALUE; {KEYS}"))
        })?;
        let mut protection = folder.protection.clone();
        match key {
            "inherit" => core
                .store
                .set_inheritance(&caller.by(), &folder, parse_inheritance(value)?)?,
            "revoke" => {
                let strict = choose(key, value, REVOKE)?;
                core.store.set_strict(&caller.by(), &folder, strict)?;
            }
            "own-files" => protection.own_files_removable = choose(key, value, OWN_FILES)?,
            "replace-by-unlink" => protection.replace_by_unlink = choose(key, value, REPLACE)?,
            "scratch" => protection.scratch = parse_scratch(value)?,
            key => {
                return Err(Refused::invalid(format!(
                    "'{}' cannot be set; {KEYS}",
                    key.escape_debug()
                )));
            }
        }
        if protection != folder.protection {
            let what = json!({ key: value });
            core.store
                .set_protection(&caller.by(), &folder, &protection, what)?;
        }
        core.folder_changed(folder.id)?;
        let mut said = said(format!("{}: {key}={value}", folder.name));
        let strict = core.policy(&folder)?.strict;
        let mut mounts = core.mounts.iter();
        if strict && mounts.any(|mount| mount.filesystem().is_open_past_daemon(folder.id)) {
            said.warnings
                .push("what is open now still bypasses the daemon, until it is closed".into());
        }
        Ok(said)
    }
}

/// All properties, a line each, as they are set.
fn settings(folder: &FolderRow) -> String {
    let either = |second: bool, [one, other]: [&'static str; 2]| if second { other } else { one };
    let protection = &folder.protection;
    let inherit = match folder.inheritance {
        Inheritance::Override => "override",
        Inheritance::Widen => "widen",
    };
    let lines = [
        ("inherit", inherit.to_owned()),
        ("revoke", either(folder.strict, REVOKE).into()),
        (
            "own-files",
            either(protection.own_files_removable, OWN_FILES).into(),
        ),
        (
            "replace-by-unlink",
            either(protection.replace_by_unlink, REPLACE).into(),
        ),
        ("scratch", protection.scratch.list()),
    ];
    lines.map(|(key, value)| format!("{key}={value}")).join("\n")
}

/// Tells whether the second of two words was said, or where that is a choice of yes and no a word for yes.
fn choose(key: &str, word: &str, [first, second]: [&str; 2]) -> Result<bool> {
    let plain = key != "revoke";
    if word == second || plain && ["on", "yes", "true"].contains(&word) {
        Ok(true)
    } else if word == first || plain && ["off", "no", "false"].contains(&word) {
        Ok(false)
    } else {
        let word = word.escape_debug();
        Err(Refused::invalid(format!(
            "{key} cannot be '{word}': say {first} or {second}"
        )))
    }
}

fn parse_scratch(list: &str) -> Result<ScratchNames> {
    if list == "default" {
        return Ok(ScratchNames::default());
    }
    ScratchNames::parse(list).map_err(|error| {
        let default = ScratchNames::default().list();
        let list = list.escape_debug();
        Refused::invalid(format!("'{list}': {error}; the default is {default}"))
    })
}
