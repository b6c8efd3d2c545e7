//! set: the properties of a folder.

use super::core::{Caller, Core};
use super::error::{Refused, Result};
use super::folders::{parse_inheritance, said};
use super::server::Run;
use crate::control::{answers as answer, requests};

impl Run for requests::Set {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        let folder = core.owned_folder(caller, &self.folder)?;
        let known = "the keys are: inherit=override|widen, revoke=strict|default";
        let (key, value) = self
            .assignment
            .split_once('=')
            .ok_or_else(|| Refused::invalid(format!("'{}' is not KEY=VALUE; {known}", self.assignment)))?;
        match key {
            "inherit" => core
                .store
                .set_inheritance(&caller.by(), &folder, parse_inheritance(value)?)?,
            "revoke" => core
                .store
                .set_strict(&caller.by(), &folder, parse_strict(value)?)?,
            key => {
                return Err(Refused::invalid(format!(
                    "'{}' cannot be set; {known}",
                    key.escape_debug()
                )));
            }
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

fn parse_strict(word: &str) -> Result<bool> {
    match word {
        "strict" => Ok(true),
        "default" => Ok(false),
        word => Err(Refused::invalid(format!(
            "'{}' is no way to take back what is open: say strict or default",
            word.escape_debug()
        ))),
    }
}
