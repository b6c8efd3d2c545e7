-- revoke: 'strict' where no data may bypass the daemon, so that mappings end with the right, too.
ALTER TABLE folders ADD COLUMN revoke TEXT NOT NULL DEFAULT 'default' CHECK (revoke IN ('default', 'strict'));
