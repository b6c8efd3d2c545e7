//! The control socket's ABI: what is asked, what is answered, and a client. No logic.
//!
//! HTTP over a unix socket: `POST /v1/COMMAND` with a JSON body, answered by 200 and JSON, or by an error status
//! and `{"error": "one line: what, why, what to do"}`. The peer's uid is the account; root acts for another with
//! the header `lendfs-user`. `GET /openapi.json` describes all of it.
//!
//! Who asks too often is answered 429, with the header `retry-after`, and who has too many connections 503; a request takes
//! a few seconds to come and 64 KiB at most. `GET /metrics` is text for Prometheus.

pub mod answers;
pub mod client;
pub mod finding;
pub mod openapi;
pub mod requests;
pub mod wire;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where the daemon listens if nobody says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/lendfs/lendfs.sock";

/// The header that names whom root acts for.
pub const USER_HEADER: &str = "lendfs-user";

/// A request that the daemon knows.
pub trait Command: Serialize + DeserializeOwned + ToSchema + Send + 'static {
    /// Its word in the path.
    const NAME: &'static str;
    /// What it is answered.
    type Answer: Serialize + DeserializeOwned + ToSchema + Send + 'static;

    /// Where it is posted to.
    fn path() -> String {
        format!("/v1/{}", Self::NAME)
    }
}

/// The body of an error answer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// One line: what, why, what to do.
    pub error: String,
}
