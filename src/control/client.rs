//! Asks the daemon.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::{Command, Failure, USER_HEADER};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("cannot reach the daemon at {}: {cause}; is 'lendfs daemon' running? --socket names another place", .socket.display())]
    Unreachable {
        /// Where.
        socket: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It said no.
    #[error("{0}")]
    Refused(String),
    /// It said something else than expected, or nothing in time.
    #[error("the daemon's answer cannot be read ({0}); are client and daemon of one version?")]
    Garbled(String),
}

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A way to the daemon.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its socket.
    pub socket: PathBuf,
    /// Whom root acts for.
    pub user: Option<String>,
}

impl Client {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn call<C: Command>(&self, command: &C) -> Result<C::Answer, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|cause| ClientError::Unreachable {
                socket: self.socket.clone(),
                cause,
            })?;
        runtime.block_on(async {
            tokio::time::timeout(PATIENCE, self.ask(command))
                .await
                .unwrap_or_else(|_| Err(ClientError::Garbled("no answer in two minutes".into())))
        })
    }

    async fn ask<C: Command>(&self, command: &C) -> Result<C::Answer, ClientError> {
        let garbled = |error: &dyn std::fmt::Display| ClientError::Garbled(error.to_string());
        let stream = connect(&self.socket).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| garbled(&error))?;
        let connection = tokio::spawn(connection);
        let body = serde_json::to_vec(command).map_err(|error| garbled(&error))?;
        let mut request = hyper::Request::post(format!("/v1/{}", C::NAME))
            .header("host", "lendfs")
            .header("content-type", "application/json");
        if let Some(user) = &self.user {
            request = request.header(USER_HEADER, user);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| garbled(&error))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| garbled(&error))?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| garbled(&error))?
            .to_bytes();
        connection.abort();
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|error| garbled(&error));
        }
        match serde_json::from_slice::<Failure>(&body) {
            Ok(failure) => Err(ClientError::Refused(failure.error)),
            Err(_) => Err(ClientError::Garbled(format!(
                "{status}: {}",
                String::from_utf8_lossy(&body)
            ))),
        }
    }
}

async fn connect(socket: &Path) -> Result<UnixStream, ClientError> {
    UnixStream::connect(socket)
        .await
        .map_err(|cause| ClientError::Unreachable {
            socket: socket.into(),
            cause,
        })
}
