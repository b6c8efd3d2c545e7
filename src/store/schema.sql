-- Accounts: an operating-system user each, login name and uid pinned together.
CREATE TABLE accounts (
    id      INTEGER PRIMARY KEY,
    login   TEXT NOT NULL UNIQUE,
    uid     INTEGER NOT NULL,
    gid     INTEGER NOT NULL,
    email   TEXT UNIQUE COLLATE NOCASE,
    kind    TEXT NOT NULL DEFAULT 'member' CHECK (kind IN ('member', 'viewer')),
    frozen  INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE groups (
    id      INTEGER PRIMARY KEY,
    source  TEXT NOT NULL CHECK (source IN ('group', 'unix')),
    name    TEXT NOT NULL,
    UNIQUE (source, name)
) STRICT;

CREATE TABLE members (
    group_id    INTEGER NOT NULL REFERENCES groups ON DELETE CASCADE,
    account     INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    PRIMARY KEY (group_id, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_account ON members (account);

-- adopted: the path of an adopted directory; a managed one lies under the state directory. lender: the login name
-- of the one who lent an adopted directory, in whose name all of it is touched.
CREATE TABLE folders (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    owner       INTEGER NOT NULL REFERENCES accounts,
    name        TEXT NOT NULL,
    adopted     BLOB,
    handle      BLOB,
    lender      TEXT,
    inheritance TEXT NOT NULL CHECK (inheritance IN ('override', 'widen')),
    UNIQUE (owner, name)
) STRICT;

-- A place has a path with '/' between its components; the root's is empty. Every folder has its root.
CREATE TABLE places (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    folder  INTEGER NOT NULL REFERENCES folders ON DELETE CASCADE,
    path    BLOB NOT NULL,
    kind    TEXT NOT NULL CHECK (kind IN ('directory', 'file')),
    target  TEXT NOT NULL DEFAULT 'there' CHECK (target IN ('there', 'gone'))
) STRICT;
CREATE INDEX places_by_path ON places (folder, path);

CREATE TABLE inodes (
    place   INTEGER NOT NULL REFERENCES places ON DELETE CASCADE,
    seen    INTEGER NOT NULL,
    handle  BLOB NOT NULL,
    PRIMARY KEY (place, seen)
) STRICT, WITHOUT ROWID;

-- principal: an account, or a group of either source.
CREATE TABLE lines (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    folder      INTEGER NOT NULL REFERENCES folders ON DELETE CASCADE,
    place       INTEGER NOT NULL REFERENCES places ON DELETE CASCADE,
    kind        TEXT NOT NULL CHECK (kind IN ('grant', 'rule')),
    account     INTEGER REFERENCES accounts ON DELETE CASCADE,
    group_id    INTEGER REFERENCES groups ON DELETE CASCADE,
    level       TEXT NOT NULL,
    CHECK ((account IS NULL) <> (group_id IS NULL))
) STRICT;
CREATE UNIQUE INDEX lines_of_accounts ON lines (place, kind, account) WHERE account IS NOT NULL;
CREATE UNIQUE INDEX lines_of_groups ON lines (place, kind, group_id) WHERE group_id IS NOT NULL;
CREATE INDEX lines_by_folder ON lines (folder);
CREATE INDEX lines_by_account ON lines (account);
CREATE INDEX lines_by_group ON lines (group_id);

CREATE TABLE invitations (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    folder  INTEGER NOT NULL REFERENCES folders ON DELETE CASCADE,
    path    BLOB NOT NULL,
    kind    TEXT NOT NULL CHECK (kind IN ('directory', 'file')),
    handle  BLOB,
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    level   TEXT NOT NULL,
    state   TEXT NOT NULL CHECK (state IN ('pending', 'accepted', 'declined', 'cancelled')),
    at      INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_pending_invitation ON invitations (folder, path, account) WHERE state = 'pending';

-- The names in the top directory of an account's mounts. chosen: by the account itself.
CREATE TABLE tops (
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    place   INTEGER NOT NULL REFERENCES places ON DELETE CASCADE,
    folder  INTEGER NOT NULL REFERENCES folders ON DELETE CASCADE,
    name    BLOB NOT NULL,
    chosen  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, place),
    UNIQUE (account, name)
) STRICT;

-- Folders of groups that an account does not want to see.
CREATE TABLE hidden (
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    folder  INTEGER NOT NULL REFERENCES folders ON DELETE CASCADE,
    PRIMARY KEY (account, folder)
) STRICT, WITHOUT ROWID;

-- Mounts that are up, so that those of a daemon that was killed are found again. id: the kernel's number.
CREATE TABLE mounts (
    id      INTEGER PRIMARY KEY,
    at      BLOB NOT NULL,
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE
) STRICT;

CREATE TABLE trash (
    folder  INTEGER PRIMARY KEY,
    owner   TEXT NOT NULL,
    name    TEXT NOT NULL,
    at      INTEGER NOT NULL
) STRICT;

-- at: milliseconds since 1970, UTC. account: on whose behalf; actor: who did it.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    account TEXT NOT NULL,
    action  TEXT NOT NULL,
    folder  INTEGER,
    details TEXT NOT NULL
) STRICT;
