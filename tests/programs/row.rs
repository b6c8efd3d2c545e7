//! A row of the table: a program, what it finds, and what it is told to do.

use std::path::Path;

/// Where scripts/test installs Jupyter's server.
pub const JUPYTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/jupyter");

/// Shell scripts, all run in a directory of the row's own, with `set -eu`.
#[derive(Clone)]
pub struct Row {
    /// As it stands in the table.
    pub name: &'static str,
    /// The programs that have to be installed.
    pub needs: &'static [&'static str],
    /// What is made once, outside of all folders, to be copied or read.
    pub once: &'static str,
    /// What the folder's owner makes before.
    pub by_owner: &'static str,
    /// What the user himself made before, while he had `full`.
    pub by_himself: &'static str,
    pub run: &'static str,
    /// Looks at what became of it; tells the same wherever it went well.
    pub look: &'static str,
    /// Ends of paths whose content is another in each run.
    pub varies: &'static [&'static str],
}

impl Row {
    pub const fn new(name: &'static str, needs: &'static [&'static str], run: &'static str) -> Self {
        Self {
            name,
            needs,
            once: "",
            by_owner: "",
            by_himself: "",
            run,
            look: "",
            varies: &[],
        }
    }

    pub const fn once(mut self, script: &'static str) -> Self {
        self.once = script;
        self
    }

    pub const fn by_owner(mut self, script: &'static str) -> Self {
        self.by_owner = script;
        self
    }

    pub const fn by_himself(mut self, script: &'static str) -> Self {
        self.by_himself = script;
        self
    }

    pub const fn look(mut self, script: &'static str) -> Self {
        self.look = script;
        self
    }

    pub const fn varies(mut self, ends: &'static [&'static str]) -> Self {
        self.varies = ends;
        self
    }

    /// What is not installed.
    pub fn missing(&self) -> Vec<&'static str> {
        let there = |program: &str| match program {
            JUPYTER => Path::new(JUPYTER).exists(),
            program => Path::new("/usr/bin").join(program).exists(),
        };
        self.needs
            .iter()
            .copied()
            .filter(|program| !there(program))
            .collect()
    }
}
