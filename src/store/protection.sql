-- How a folder protects names under 'edit': scratch is NULL for the default list.
ALTER TABLE folders ADD COLUMN own_files TEXT NOT NULL DEFAULT 'protected' CHECK (own_files IN ('protected', 'removable'));
ALTER TABLE folders ADD COLUMN replace_by_unlink TEXT NOT NULL DEFAULT 'off' CHECK (replace_by_unlink IN ('off', 'on'));
ALTER TABLE folders ADD COLUMN scratch TEXT;
