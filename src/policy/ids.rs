//! Numbers of the store, one type for each.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// An account.
    AccountId
);
id!(
    /// A group.
    GroupId
);
id!(
    /// A folder.
    FolderId
);
id!(
    /// A place in a folder at which a line stands.
    PlaceId
);
id!(
    /// A grant or a rule.
    LineId
);
