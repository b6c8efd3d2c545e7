//! fuser's trait against the adapter: there is no request of the kernel's that passes by the question.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// Methods that are answered without a question, and why.
const UNASKED: &[(&str, &str)] = &[
    ("init", "agrees with the kernel on its abilities"),
    ("destroy", "the end of the mount"),
    ("forget", "the kernel lets nodes go"),
    ("batch_forget", "fuser passes each on to forget"),
    ("flush", "ends one's own locks; tells and takes nothing"),
    ("release", "closes"),
    ("releasedir", "closes"),
    ("bmap", "refused always"),
    ("ioctl", "refused always"),
    ("poll", "refused always"),
    ("setvolname", "macOS alone"),
    ("exchange", "macOS alone"),
    ("getxtimes", "macOS alone"),
];

/// Those of [`UNASKED`] that the adapter need not have: what fuser does by itself lets nobody in.
const LEFT_TO_FUSER: [&str; 5] = ["destroy", "batch_forget", "setvolname", "exchange", "getxtimes"];

/// Through what passes what must not be done twice when the kernel asks again: [`Adapter::once`](super::super::adapter)
/// and what is made of it.
const ONCE: [&str; 3] = ["self.once(", "self.make(", "self.remove("];

/// Those that may answer later, from another thread: the operation asks, and a test of its own counts that.
const ANSWERED_LATER: [&str; 1] = ["setlk"];

#[test]
fn every_request_that_the_kernel_can_make_is_judged() {
    let theirs = methods(&fusers_source(), "pub trait Filesystem");
    assert!(theirs.len() > 35, "fuser's trait was not found: {theirs:?}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/vfs/adapter.rs");
    let ours = methods(
        &std::fs::read_to_string(path).unwrap(),
        "impl Filesystem for Adapter",
    );
    let mut holes = Vec::new();
    for name in theirs.keys() {
        let unasked = UNASKED.iter().any(|(unasked, _)| unasked == name);
        match ours.get(name) {
            None if LEFT_TO_FUSER.contains(&&**name) => {}
            None => holes.push(format!("{name} is left to fuser")),
            Some(_) if unasked => {}
            Some(body) if ANSWERED_LATER.contains(&&**name) => {
                if !body.contains(&format!("self.0.{name}(")) {
                    holes.push(format!("{name} does not call its operation"));
                }
            }
            Some(body) => {
                let count = |runs: &[&str]| runs.iter().map(|run| body.matches(run).count()).sum::<usize>();
                if count(&["self.run(", "self.noted("]) + count(&ONCE) != 1 {
                    holes.push(format!("{name} does not pass through one of those that ask"));
                }
                if (count(&ONCE) == 1) != body.contains("self.begin_noted(") {
                    holes.push(format!(
                        "{name} is noted and not done once, or the other way round"
                    ));
                }
                if body.contains("self.0") {
                    holes.push(format!("{name} passes by `run`"));
                }
            }
        }
    }
    assert!(holes.is_empty(), "{}", holes.join("\n"));
}

#[test]
fn every_request_is_counted_as_what_it_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/vfs/adapter.rs");
    let ours = methods(
        &std::fs::read_to_string(path).unwrap(),
        "impl Filesystem for Adapter",
    );
    for (name, body) in ours.iter().filter(|(name, _)| *name != "init") {
        let opcode: String = name
            .split('_')
            .map(|word| word[..1].to_uppercase() + &word[1..])
            .collect();
        let first = [
            format!("(Opcode::{opcode});\n"),
            format!("_noted(Opcode::{opcode}, req);\n"),
        ]
        .map(|begin| format!("{{\n        let _request = self.begin{begin}"));
        assert!(
            first.iter().any(|first| body.contains(first)),
            "{name} does not begin with its opcode"
        );
    }
}

#[test]
fn what_is_refused_always_does_nothing_else() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/vfs/adapter.rs");
    let ours = methods(
        &std::fs::read_to_string(path).unwrap(),
        "impl Filesystem for Adapter",
    );
    for (name, _) in UNASKED.iter().filter(|(_, why)| *why == "refused always") {
        let body = &ours[*name];
        assert!(body.contains("reply.error("), "{name}: {body}");
        assert!(!body.contains("self.0"), "{name}: {body}");
    }
}

/// The methods of a block that begins with `header` and is formatted by rustfmt, each with its text.
fn methods(source: &str, header: &str) -> BTreeMap<String, String> {
    let block = source
        .lines()
        .skip_while(|line| !line.starts_with(header))
        .skip(1)
        .take_while(|line| *line != "}");
    let mut methods = BTreeMap::new();
    let mut current: Option<String> = None;
    for line in block {
        if let Some(signature) = line.strip_prefix("    fn ") {
            let end = signature.find(['(', '<']).unwrap();
            current = Some(signature[..end].to_owned());
        }
        if let Some(name) = &current {
            let text: &mut String = methods.entry(name.clone()).or_default();
            text.push_str(line);
            text.push('\n');
        }
        if line == "    }" {
            current = None;
        }
    }
    methods
}

/// The file with fuser's trait, of the very version that is built.
fn fusers_source() -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline"])
        .args(["--filter-platform", &platform])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let package = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|package| package["name"] == "fuser")
        .unwrap();
    let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
    std::fs::read_to_string(manifest.parent().unwrap().join("src/lib.rs")).unwrap()
}
