//! The configuration file (TOML).

use std::path::Path;

use serde::Deserialize;

/// Where it is looked for if nobody names one.
pub const DEFAULT_CONFIG: &str = "/etc/lendfs/lendfs.toml";

/// What an administrator may set.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Config {
    /// Login names that may mount like root does: for others, online, with other owners, open to all.
    pub launchers: Vec<String>,
    /// Login names that may make and change groups, besides root.
    pub group_admins: Vec<String>,
    /// Login names that may end others' processes with `--kill` where they take something back, besides root.
    pub may_kill: Vec<String>,
    /// Whether peers in another user or pid namespace are answered.
    pub allow_foreign_namespaces: bool,
    /// What is done for the speed of single requests.
    pub latency: Latency,
    /// What the kernel is asked to do by itself.
    pub kernel: Kernel,
    /// Login names that may read the metrics, besides root.
    pub metrics_readers: Vec<String>,
    /// How much of the daemon one user may take.
    pub limits: Limits,
    /// How much of what happened is kept.
    pub audit: Audit,
}

/// The section `[limits]`. Root is held to [`Limits::connections`] and [`Limits::seconds`] alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Limits {
    /// How many connections to the control socket there may be in all.
    pub connections: usize,
    /// How many of them one user may have.
    pub connections_of_one: usize,
    /// How many commands one user may give in a second, in the long run.
    pub commands_per_second: u32,
    /// How many he may give at once after a pause.
    pub commands_at_once: u32,
    /// How many seconds a client may take to send the head of a request, likewise its body, and to think in between.
    pub seconds: u32,
    /// How many mounts one account may have.
    pub mounts_of_one: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            connections_of_one: 32,
            commands_per_second: 100,
            commands_at_once: 500,
            seconds: 10,
            mounts_of_one: 64,
        }
    }
}

impl Limits {
    /// The same, with no more connections than fit beside all else of so many open files.
    pub fn of_files(self, files: usize) -> Self {
        Self {
            connections: self.connections.min((files / 4).max(1)),
            ..self
        }
    }
}

/// The section `[audit]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Audit {
    /// How many changes are kept.
    pub changes: u32,
    /// How many refusals are kept.
    pub refusals: u32,
    /// For how many days both are kept; 0 is for ever.
    pub days: u32,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            changes: 100_000,
            refusals: 20_000,
            days: 400,
        }
    }
}

/// The section `[kernel]`: to do without what a kernel gets wrong. Nothing else depends on it than speed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Kernel {
    /// Whether data bypasses the daemon (FUSE passthrough, Linux 6.9).
    pub passthrough: Use,
    /// Whether names are kept (Linux 6.16).
    pub names: Use,
}

/// Whether something is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// Where the kernel has it.
    #[default]
    Auto,
    /// Never.
    Off,
}

/// The section `[latency]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Latency {
    /// Whether the processors are kept awake.
    pub hold: Hold,
}

/// Whether the processors are kept awake while requests follow each other closely.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// Where the machine allows it.
    #[default]
    Auto,
    /// Never.
    Off,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// One line that names the file and what is wrong in it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| {
            error
                .to_string()
                .lines()
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" ")
        })?;
        let Limits {
            connections,
            connections_of_one,
            commands_per_second,
            commands_at_once,
            seconds,
            mounts_of_one: _,
        } = config.limits;
        let nothing = [connections, connections_of_one].contains(&0)
            || [commands_per_second, commands_at_once, seconds].contains(&0);
        if nothing {
            return Err("in [limits] only mounts-of-one may be 0: with another nobody could command".into());
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_nobody_knows_is_refused_with_those_that_are_known() {
        let error = Config::parse("launcher = []").unwrap_err();
        assert!(
            error.contains("launcher") && error.contains("launchers") && error.contains("group-admins"),
            "{error}"
        );
        assert!(!error.contains('\n'));
    }

    #[test]
    fn what_is_not_set_is_off() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
        let config =
            Config::parse("group-admins = ['alice']\nmay-kill = ['bob']\nallow-foreign-namespaces = true")
                .unwrap();
        assert_eq!(config.group_admins, ["alice"]);
        assert_eq!(config.may_kill, ["bob"]);
        assert!(config.allow_foreign_namespaces);
        assert_eq!(config.latency.hold, Hold::Auto);
        assert_eq!(
            (config.limits, config.audit),
            (Limits::default(), Audit::default())
        );
        let config = Config::parse("[latency]\nhold = 'off'").unwrap();
        assert_eq!(config.latency.hold, Hold::Off);
        let config = Config::parse("kernel.names = 'off'").unwrap();
        assert_eq!(
            (config.kernel.passthrough, config.kernel.names),
            (Use::Auto, Use::Off)
        );
    }

    #[test]
    fn limits_that_let_nobody_in_are_refused() {
        let config = Config::parse("limits.mounts-of-one = 0\naudit.days = 0").unwrap();
        assert_eq!((config.limits.mounts_of_one, config.audit.days), (0, 0));
        for key in [
            "connections",
            "connections-of-one",
            "commands-per-second",
            "commands-at-once",
            "seconds",
        ] {
            Config::parse(&format!("limits.{key} = 0")).unwrap_err();
        }
    }

    #[test]
    fn the_readme_tells_the_defaults_and_all_of_them() {
        let readme = include_str!("../../README.md");
        let (_, block) = readme.split_once("```toml\n").unwrap();
        let (block, _) = block.split_once("```").unwrap();
        assert_eq!(Config::parse(block).unwrap(), Config::default());
        let keys: Vec<_> = block
            .lines()
            .filter_map(|line| Some(line.split_once(" = ")?.0))
            .collect();
        assert_eq!(keys.len(), 10, "{keys:?}");
    }
}
