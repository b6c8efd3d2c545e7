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
        toml::from_str(text).map_err(|error| {
            error
                .to_string()
                .lines()
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" ")
        })
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
        let config = Config::parse("[latency]\nhold = 'off'").unwrap();
        assert_eq!(config.latency.hold, Hold::Off);
        let config = Config::parse("kernel.names = 'off'").unwrap();
        assert_eq!(
            (config.kernel.passthrough, config.kernel.names),
            (Use::Auto, Use::Off)
        );
    }
}
