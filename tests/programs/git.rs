//! git, in a repository that the folder's owner made, and in one of the user's own.

use crate::row::Row;
use crate::sheet::check;

const GIT: &[&str] = &["git"];

/// A repository with branches that go other ways, and one that it pulls from, which is ahead.
const REPOSITORY: &str = "mkdir -p repository/sub; cd repository; git init -q; seq 1 20 >doc.txt; echo a >sub/a; \
     echo b >sub/b; git add .; git commit -qm first; git checkout -qb other; sed -i s/^5$/five/ doc.txt; \
     echo new >new.txt; git add .; git commit -qm other; git checkout -qb less main; git rm -q sub/b; \
     git commit -qm less; git checkout -q main; sed -i s/^15$/fifteen/ doc.txt; echo more >>sub/a; \
     git commit -qam second; git clone -q --bare . $ONCE/up.git; git remote add origin $ONCE/up.git; \
     git config branch.main.remote origin; git config branch.main.merge refs/heads/main; git config pull.ff only; \
     git clone -q $ONCE/up.git $ONCE/clone; cd $ONCE/clone; echo pulled >sub/a; echo p >pulled.txt; git add .; \
     git commit -qm pulled; git push -q";

const COPY: &str = "cp -r $ONCE/repository/. .; git update-index -q --refresh";

/// What git itself thinks of the repository.
const LOOK: &str = "git fsck --full 2>&1 | grep -v dangling || true; git status --porcelain; git log --all --format='%h %s %d'; \
     git branch --list; cat doc.txt";

const VARIES: &[&str] = &[".git/index"];

const fn row(name: &'static str, script: &'static str) -> Row {
    Row::new(name, GIT, script)
        .once(REPOSITORY)
        .by_owner(COPY)
        .look(LOOK)
        .varies(VARIES)
}

const fn own(name: &'static str, script: &'static str) -> Row {
    Row::new(name, GIT, script)
        .once(REPOSITORY)
        .by_himself(COPY)
        .look(LOOK)
        .varies(VARIES)
}

const INIT: Row = Row::new(
    "`git init`",
    GIT,
    "git init -q; echo a >doc.txt; git add .; git commit -qm first; echo b >>doc.txt; git commit -qam second; \
         git config user.name Me",
)
.look(LOOK)
.varies(VARIES);

const SHARED: Row = Row::new(
    "`git init --shared`",
    GIT,
    "git init -q --shared; echo a >doc.txt; git add .; git commit -qm first; git config core.sharedRepository all; \
     mkdir sub; echo b >sub/b; git add .; git commit -qm second",
)
.look(LOOK)
.varies(VARIES);

const COMMIT_SCRIPT: &str = "echo mine >mine.txt; sed -i s/7/seven/ doc.txt; git add .; git commit -qm third; echo mine >>mine.txt; \
     git commit -qam fourth";
const BRANCH_SCRIPT: &str = "git branch topic; git branch other-too other; git tag v1; git tag -m two v2";
const UNBRANCH_SCRIPT: &str = "git branch -D less";
const CHECKOUT_SCRIPT: &str = "git checkout -q other";
const CHECKOUT_LESS_SCRIPT: &str = "git checkout -q less";
const MERGE_SCRIPT: &str = "git merge -q -m merged other";
const CLONE_SCRIPT: &str = "git clone -q --no-hardlinks $ONCE/up.git copy; git clone -q file://$ONCE/up.git packed; git -C copy log --format=%h";
const GC_SCRIPT: &str = "git gc -q";
const STATUS_SCRIPT: &str = "touch doc.txt 2>/dev/null || true; git status --porcelain; git diff; git log -1";
const PULL_SCRIPT: &str = "git pull -q";

const COMMIT: Row = row("`git add`, `git commit`", COMMIT_SCRIPT);
const BRANCH: Row = row("`git branch`, `git tag`", BRANCH_SCRIPT);
const UNBRANCH: Row = row("`git branch -D`", UNBRANCH_SCRIPT);
const UNBRANCH_OWN: Row = own("`git branch -D`, a repository of one's own", UNBRANCH_SCRIPT);
const CHECKOUT: Row = row("`git checkout`", CHECKOUT_SCRIPT);
const MERGE: Row = row("`git merge`", MERGE_SCRIPT);
const CLONE: Row = row("`git clone`", CLONE_SCRIPT).varies(&[".git/index"]);
const GC: Row = row("`git gc`", GC_SCRIPT).varies(&[".git/index", ".git/gc.pid"]);
const STATUS: Row = row("`git status`", STATUS_SCRIPT);
const PULL: Row = row("`git pull`", PULL_SCRIPT);

const CHECKOUT_OWN: Row = own("`git checkout`, a repository of one's own", CHECKOUT_SCRIPT);
const CHECKOUT_LESS: Row = row(
    "`git checkout` of a commit without some file",
    CHECKOUT_LESS_SCRIPT,
);
const MERGE_OWN: Row = own("`git merge`, a repository of one's own", MERGE_SCRIPT);
const GC_OWN: Row = own("`git gc`, a repository of one's own", GC_SCRIPT);
const PULL_OWN: Row = own("`git pull`, a repository of one's own", PULL_SCRIPT);

pub fn rows() -> Vec<Row> {
    vec![
        INIT,
        SHARED,
        COMMIT,
        BRANCH,
        UNBRANCH,
        UNBRANCH_OWN,
        CHECKOUT,
        CHECKOUT_OWN,
        CHECKOUT_LESS,
        MERGE,
        MERGE_OWN,
        CLONE,
        GC,
        GC_OWN,
        STATUS,
        PULL,
        PULL_OWN,
    ]
}

#[test]
fn git_makes_repositories_and_commits_as_the_table_says() {
    check(&[INIT, SHARED, COMMIT, BRANCH, CLONE, STATUS]);
}

#[test]
fn git_changes_a_work_tree_as_the_table_says() {
    check(&[
        UNBRANCH,
        UNBRANCH_OWN,
        CHECKOUT,
        CHECKOUT_OWN,
        CHECKOUT_LESS,
        MERGE,
        MERGE_OWN,
        PULL,
        PULL_OWN,
    ]);
}

#[test]
fn git_cleans_up_as_the_table_says() {
    check(&[GC, GC_OWN]);
}
