//! Python: saving by replacement, and environments with packages.

use crate::row::Row;
use crate::sheet::check;

macro_rules! pip {
    ($version:literal) => {
        concat!(
            "/usr/bin/python3 -m pip --disable-pip-version-check --no-cache-dir --python env/bin/python install -q ",
            "--no-index $ONCE/tiny-",
            $version,
            "-py3-none-any.whl"
        )
    };
}

const ATOMIC: Row = Row::new(
    "`python3`, `os.replace`",
    &["python3"],
    "python3 -I -c '
import os, tempfile
for text in \"first\", \"second\":
    with tempfile.NamedTemporaryFile(\"w\", dir=\".\", delete=False) as file:
        file.write(text)
    os.replace(file.name, \"doc.txt\")
    with open(\"doc.txt.new\", \"w\") as file:
        file.write(text + \" again\")
    os.replace(\"doc.txt.new\", \"doc.txt\")
with tempfile.TemporaryDirectory(dir=\".\") as directory:
    open(os.path.join(directory, \"x\"), \"w\").close()
'",
)
.by_owner("echo old >doc.txt");

const VENV: Row = Row::new(
    "`python3 -m venv`",
    &["python3"],
    "python3 -m venv env; env/bin/python -c 'import sys; print(sys.prefix)'",
)
.look("env/bin/python -m pip --version")
.varies(&[".pyc", "/RECORD"]);

/// Two wheels, and an environment with and one without the first of them.
const WHEELS: &str = concat!(
    "python3 -I $SCRIPTS/wheels.py; python3 -m venv --without-pip empty; cp -a empty env; ",
    pip!("1.0")
);

const EMPTY: &str = "cp -a $ONCE/empty env; sed -i s,$ONCE/empty,$AT/env, env/bin/activate* env/pyvenv.cfg";

/// With the first version installed.
const INSTALLED: &str = "cp -a $ONCE/env env; sed -i s,$ONCE/env,$AT/env, env/bin/tiny; \
     sed -i s,$ONCE/empty,$AT/env, env/bin/activate* env/pyvenv.cfg";

const LOOK: &str = "find env -name 'tiny*' | sort; env/bin/python -c '
import importlib.metadata, tiny, tiny.a
print(importlib.metadata.version(\"tiny\"), tiny.version, tiny.a.version)'";

const PIP_INSTALL: Row = Row::new("`pip install`", &["pip3"], pip!("1.0"))
    .once(WHEELS)
    .by_owner(EMPTY)
    .look(LOOK)
    .varies(&[".pyc", "/RECORD"]);

const PIP_UPGRADE: Row = Row::new("`pip install`, upgrade", &["pip3"], pip!("1.1"))
    .once(WHEELS)
    .by_owner(INSTALLED)
    .look(LOOK)
    .varies(&[".pyc", "/RECORD"]);

const PIP_UPGRADE_OWN: Row = Row::new("`pip install`, upgrade of one's own", &["pip3"], pip!("1.1"))
    .once(WHEELS)
    .by_himself(INSTALLED)
    .look(LOOK)
    .varies(&[".pyc", "/RECORD"]);

pub fn rows() -> Vec<Row> {
    vec![ATOMIC, VENV, PIP_INSTALL, PIP_UPGRADE, PIP_UPGRADE_OWN]
}

#[test]
fn python_saves_as_the_table_says() {
    check(&[ATOMIC]);
}

#[test]
fn python_makes_environments_as_the_table_says() {
    check(&[VENV]);
}

#[test]
fn pip_installs_and_upgrades_as_the_table_says() {
    check(&[PIP_INSTALL, PIP_UPGRADE, PIP_UPGRADE_OWN]);
}
