//! The sessions in README.md, played as they stand there.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{BOB, CARA, OLGA, ROOT, User, World};

/// Who plays whom.
const PLAYERS: [(&str, User); 4] = [("alice", OLGA), ("bob", BOB), ("carol", CARA), ("root", ROOT)];

/// The `console` blocks of README.md, in one.
fn sessions() -> Vec<String> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let mut inside = false;
    let mut lines = Vec::new();
    for line in readme.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            line if inside => lines.push(line.to_owned()),
            _ => {}
        }
    }
    lines
}

/// The player and the command of a line with a prompt.
fn prompt(line: &str) -> Option<(User, &str)> {
    PLAYERS.iter().find_map(|(name, user)| {
        let rest = line.strip_prefix(name)?;
        let command = rest.strip_prefix("$ ").or_else(|| rest.strip_prefix("# "))?;
        Some((*user, command))
    })
}

/// The columns of a table are as wide as the names in it, which are others here.
fn collapsed(line: &str) -> String {
    line.split(' ')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn the_sessions_of_the_readme_go_as_they_are_written() {
    let Some(world) = World::new() else { return };
    let home = |user: User| -> PathBuf { world.dir.join("home").join(user.name) };
    for (_, user) in PLAYERS {
        user.directory(&home(user));
    }
    let path = format!(
        "{}:/usr/sbin:/usr/bin:/sbin:/bin",
        world.dir.join("bin").display()
    );
    let play = |user: User, command: &str| {
        let mut command = command.to_owned();
        for (name, player) in PLAYERS {
            command = command.replace(name, player.name);
        }
        let output = user
            .command("sh")
            .args(["-c", &format!("exec 2>&1; {command}")])
            .current_dir(home(user))
            .env_clear()
            .env("HOME", home(user))
            .env("PATH", &path)
            .env("LENDFS_SOCKET", world.socket())
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        let mut said = String::from_utf8(output.stdout).unwrap();
        for (name, player) in PLAYERS {
            said = said.replace(&*home(player).to_string_lossy(), &format!("/home/{name}"));
            said = said.replace(player.name, name);
        }
        said.lines().map(collapsed).collect::<Vec<_>>()
    };
    let written: Vec<_> = sessions().iter().map(|line| collapsed(line)).collect();
    let mut played = Vec::new();
    for line in &written {
        if let Some((user, command)) = prompt(line) {
            played.push(line.clone());
            played.extend(play(user, command));
        }
    }
    assert!(played.len() > 30, "the sessions of README.md were not found");
    assert_eq!(
        written.join("\n"),
        played.join("\n"),
        "as played:\n{}\n",
        played.join("\n")
    );
}

#[test]
fn the_demo_goes_through_and_leaves_nothing() {
    // The world keeps the operating system's users still meanwhile, and skips where nothing can be mounted.
    let Some(_world) = World::quiet() else { return };
    let _alone = crate::common::users::change_users();
    let output = demo().output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for shown in [
        "Operation not permitted",
        "Permission denied",
        "No such file or directory",
        "Cleaned up",
    ] {
        assert!(said.contains(shown), "{shown}: {said}");
    }
    nothing_is_left_of_the_demo();
}

/// It ended without cleaning up: a shell that dies of SIGPIPE does not run its EXIT trap.
#[test]
fn a_demo_whose_reader_goes_away_leaves_nothing() {
    let Some(_world) = World::quiet() else { return };
    let _alone = crate::common::users::change_users();
    let mut child = demo()
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("lendfs mount lent") {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "the demo ended early");
    }
    drop(reader);
    assert!(!child.wait().unwrap().success());
    nothing_is_left_of_the_demo();
}

fn demo() -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/demo"));
    command
        .env("LENDFS_BINARY", env!("CARGO_BIN_EXE_lendfs"))
        .stdin(Stdio::null());
    command
}

fn nothing_is_left_of_the_demo() {
    for (file, trace) in [
        ("/etc/passwd", "demo-"),
        ("/proc/self/mountinfo", "/lendfs-demo."),
    ] {
        let text = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
        assert!(!text.contains(trace), "{file}: {text}");
    }
    let scratch = crate::common::names(Path::new("/tmp"));
    assert!(
        !scratch.iter().any(|name| name.starts_with("lendfs-demo.")),
        "{scratch:?}"
    );
}
