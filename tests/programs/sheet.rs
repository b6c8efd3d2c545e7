//! Runs rows of the table in all its columns, and in a bare directory beside them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::common::{BOB, OLGA, User, World};
use crate::judge::{Run, Verdict, judge};
use crate::row::{JUPYTER, Row};
use crate::snapshot::Snapshot;
use crate::{snapshot, table};

/// A column of the table: a folder with a level and a setting.
struct Column {
    name: &'static str,
    level: &'static str,
    setting: Option<&'static str>,
}

const COLUMNS: [Column; 5] = [
    column("view", "view", None),
    column("edit", "edit", None),
    column("edit-own", "edit", Some("own-files=removable")),
    column("edit-replace", "edit", Some("replace-by-unlink=on")),
    column("full", "full", None),
];

const fn column(name: &'static str, level: &'static str, setting: Option<&'static str>) -> Column {
    Column { name, level, setting }
}

/// How many seconds a row has in a folder.
const PATIENCE: &str = "60";

/// Where a row is run.
struct Place {
    /// As the programs see it: the owner's and the user's.
    owners: PathBuf,
    users: PathBuf,
    /// As the disk has it.
    disk: PathBuf,
    /// Outside of the folder, for what else a row needs.
    aside: PathBuf,
    /// Likewise, the same for all.
    once: PathBuf,
}

impl Place {
    /// By which programs know it.
    fn paths(&self) -> [&Path; 4] {
        [&self.owners, &self.users, &self.aside, &self.once]
    }
}

/// Runs rows and compares them with README.md, or writes them there.
pub fn check(rows: &[Row]) {
    // Jupyter comes from elsewhere, which may be out of reach.
    let required = std::env::var("LENDFS_TEST_PROGRAMS").is_ok_and(|value| value == "require");
    for row in rows {
        let missing = row.missing();
        assert!(
            !required || missing.iter().all(|program| *program == JUPYTER),
            "{}: not installed: {missing:?}",
            row.name
        );
        if !missing.is_empty() {
            println!("SKIP: {}: not installed: {missing:?}", row.name);
        }
    }
    let rows: Vec<_> = rows.iter().filter(|row| row.missing().is_empty()).collect();
    let Some(sheet) = Sheet::new() else { return };
    if rows.iter().any(|row| row.needs.contains(&JUPYTER)) {
        // Where the project lies, other users may have no way to.
        crate::common::users::must(
            "cp",
            &["-r", JUPYTER, &sheet.world.dir.join("jupyter").to_string_lossy()],
        );
    }
    let found = sheet.fill(&rows);
    if table::is_written() {
        let cells =
            |verdicts: &[(Verdict, Run)]| verdicts.iter().map(|(verdict, _)| verdict.to_string()).collect();
        let new: Vec<_> = found
            .iter()
            .map(|(row, verdicts)| (row.name, cells(verdicts)))
            .collect();
        table::write(&new);
    }
    let written = table::read();
    let mut wrong = Vec::new();
    for (row, verdicts) in &found {
        let said = written.get(row.name).cloned().unwrap_or_default();
        for (index, ((verdict, run), column)) in verdicts.iter().zip(&COLUMNS).enumerate() {
            let said = said.get(index).map_or("nothing", String::as_str);
            if let Verdict::Broken(why) = verdict {
                wrong.push(format!(
                    "{} in {}: broken: {why}\n{}",
                    row.name, column.name, run.said
                ));
            } else if verdict.to_string() != said {
                wrong.push(format!(
                    "{} in {}: README.md says {said}, and it was: {verdict}\n{}",
                    row.name, column.name, run.said
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

struct Sheet {
    world: World,
    bare: PathBuf,
    /// For each column: the backing, and the folder in the owner's and the user's mount.
    folders: Vec<(PathBuf, PathBuf, PathBuf)>,
}

impl Sheet {
    fn new() -> Option<Self> {
        let world = World::new()?;
        let bare = world.dir.join("bare");
        BOB.directory(&bare);
        for (name, user) in [("home", BOB), ("home-of-owner", OLGA)] {
            user.directory(&world.dir.join(name));
        }
        let scripts = world.dir.join("scripts");
        std::fs::create_dir(&scripts).unwrap();
        for (name, text) in SCRIPTS {
            std::fs::write(scripts.join(name), text).unwrap();
        }
        std::fs::write(world.dir.join("gitconfig"), GIT_CONFIG).unwrap();
        let backings: Vec<_> = COLUMNS
            .iter()
            .map(|column| {
                let backing = world.folder(column.name);
                if let Some(setting) = column.setting {
                    world.ok(OLGA, &format!("set {} {setting}", column.name));
                }
                world.share(column.name, BOB, "full");
                backing
            })
            .collect();
        let (owners, users) = (world.mount(OLGA), world.mount(BOB));
        let folders = backings
            .into_iter()
            .zip(&COLUMNS)
            .map(|(backing, column)| (backing, owners.join(column.name), users.join(column.name)))
            .collect();
        Some(Self { world, bare, folders })
    }

    /// Runs all rows: what was there before is made in all columns first, while the user may do everything.
    fn fill<'a>(&self, rows: &[&'a Row]) -> Vec<(&'a Row, Vec<(Verdict, Run)>)> {
        for (index, row) in rows.iter().enumerate() {
            self.make_once(row);
            self.prepare(row, &self.bare_place(row, index), BOB);
            for place in self.places(row, index) {
                self.prepare(row, &place, OLGA);
            }
        }
        for column in &COLUMNS {
            let line = format!("share {} --with {} --as {}", column.name, BOB.name, column.level);
            self.world.ok(OLGA, &line);
        }
        rows.iter()
            .enumerate()
            .map(|(index, row)| (*row, self.cells(row, index)))
            .collect()
    }

    fn cells(&self, row: &Row, index: usize) -> Vec<(Verdict, Run)> {
        let bare = self.run(row, &self.bare_place(row, index));
        assert!(
            bare.succeeded,
            "{} does not work in a bare directory: {}",
            row.name, bare.said
        );
        self.places(row, index)
            .zip(&COLUMNS)
            .map(|(place, column)| {
                let run = self.run(row, &place);
                (judge(&run, &bare, column.level != "view"), run)
            })
            .collect()
    }

    /// Rows that need the same have it together.
    fn once(&self, row: &Row) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        row.once.hash(&mut hasher);
        self.world.dir.join(format!("once-{:x}", hasher.finish()))
    }

    fn make_once(&self, row: &Row) {
        let at = self.once(row);
        if at.exists() {
            return;
        }
        OLGA.directory(&at);
        let place = Place {
            owners: at.clone(),
            users: at.clone(),
            disk: at.clone(),
            aside: at.clone(),
            once: at.clone(),
        };
        let (succeeded, said) = self.script(OLGA, &at, &place, row.once);
        assert!(succeeded, "{}: what it needs cannot be made: {said}", row.name);
    }

    fn bare_place(&self, row: &Row, index: usize) -> Place {
        let at = self.bare.join(index.to_string());
        Place {
            owners: at.clone(),
            users: at.clone(),
            disk: at,
            aside: self.world.dir.join(format!("aside-bare-{index}")),
            once: self.once(row),
        }
    }

    fn places(&self, row: &Row, index: usize) -> impl Iterator<Item = Place> {
        let once = self.once(row);
        self.folders
            .iter()
            .zip(&COLUMNS)
            .map(move |((backing, owners, users), column)| Place {
                owners: owners.join(index.to_string()),
                users: users.join(index.to_string()),
                disk: backing.join(index.to_string()),
                aside: self.world.dir.join(format!("aside-{}-{index}", column.name)),
                once: once.clone(),
            })
    }

    fn prepare(&self, row: &Row, place: &Place, owner: User) {
        std::fs::create_dir(&place.aside).unwrap();
        std::fs::set_permissions(&place.aside, PermissionsExt::from_mode(0o777)).unwrap();
        owner.run(|| std::fs::create_dir(&place.owners).unwrap());
        for (user, at, script) in [
            (owner, &place.owners, row.by_owner),
            (BOB, &place.users, row.by_himself),
        ] {
            let (succeeded, said) = self.script(user, at, place, script);
            assert!(
                succeeded,
                "{}: what is needed at {} cannot be made: {said}",
                row.name,
                at.display()
            );
        }
    }

    fn run(&self, row: &Row, place: &Place) -> Run {
        let snapshot = || snapshot::take(&place.disk, &place.paths(), row.varies);
        let before = snapshot();
        let (succeeded, said) = self.script(BOB, &place.users, place, row.run);
        let after = snapshot();
        let unlike = self.shows_otherwise(place, &after);
        let (_, look) = self.script(BOB, &place.users, place, row.look);
        Run {
            succeeded,
            said,
            look,
            unlike,
            before,
            after,
        }
    }

    /// What a mount shows that is not on the disk, or the other way round.
    fn shows_otherwise(&self, place: &Place, disk: &Snapshot) -> Option<String> {
        let owner = if place.owners == place.users { BOB } else { OLGA };
        [(BOB, &place.users), (owner, &place.owners)]
            .into_iter()
            .find_map(|(user, at)| {
                let mut found = Vec::new();
                user.run(|| names_below(at, "", &mut found));
                found.sort();
                let same = found.iter().eq(disk.keys());
                (!same).then(|| format!("{} sees {found:?}, and there are {:?}", user.name, disk.keys()))
            })
    }

    /// Runs a script as a user would type it in; tells whether it succeeded and what it said.
    fn script(&self, user: User, at: &Path, place: &Place, script: &str) -> (bool, String) {
        let home = self
            .world
            .dir
            .join(if user == BOB { "home" } else { "home-of-owner" });
        let script = format!("exec 2>&1; set -eu; umask 022; cd \"$AT\"; {script}");
        let output = user
            .command("/usr/bin/timeout")
            .args([PATIENCE, "/bin/sh", "-c", &script])
            .current_dir("/")
            .env_clear()
            .envs([
                ("PATH", "/usr/bin:/bin"),
                ("LC_ALL", "C.UTF-8"),
                ("TERM", "xterm"),
                ("SHELL", "/bin/sh"),
            ])
            .envs([("GIT_AUTHOR_DATE", DAY), ("GIT_COMMITTER_DATE", DAY)])
            .env("USER", user.name)
            .env("HOME", &home)
            .env("TMPDIR", &place.aside)
            .env("AT", at)
            .env("ASIDE", &place.aside)
            .env("ONCE", &place.once)
            .env("GIT_CONFIG_GLOBAL", self.world.dir.join("gitconfig"))
            .env("SCRIPTS", self.world.dir.join("scripts"))
            .env("JUPYTER", self.world.dir.join("jupyter"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let late = output.status.code() == Some(124);
        assert!(
            !late,
            "{script}: not done in {PATIENCE} s: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        let said = snapshot::without(&output.stdout, &place.paths());
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }
}

fn names_below(directory: &Path, above: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{above}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            names_below(&entry.path(), &format!("{name}/"), found);
        }
        found.push(name);
    }
}

const SCRIPTS: [(&str, &str); 4] = [
    ("type_into.py", include_str!("type_into.py")),
    ("office.py", include_str!("office.py")),
    ("wheels.py", include_str!("wheels.py")),
    ("notebook.py", include_str!("notebook.py")),
];

/// When all commits are made, so that they are the same ones everywhere.
const DAY: &str = "2020-02-20T20:20:20Z";

/// Whose a repository is makes no difference, nor how many processors there are.
const GIT_CONFIG: &str = "[user]\nname = N\nemail = n@example.com\n[safe]\ndirectory = *\n[init]\n\
    defaultBranch = main\n[pack]\nthreads = 1\n[gc]\nautoDetach = false\n[advice]\ndetachedHead = false\n";
