//! Asks the daemon.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::RETRY_AFTER;
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
    /// It hung up without a word.
    #[error(
        "the daemon hung up: it ends just now, or you have too many connections to it; try again in a moment"
    )]
    HungUp,
    /// It said nothing in time.
    #[error("the daemon at {} has not answered for {} s: it is stopped, or waits for a disk that hangs; what was asked for may \
             still be done", .socket.display(), .waited.as_secs())]
    Silent {
        /// Where.
        socket: PathBuf,
        /// For how long.
        waited: Duration,
    },
    /// It said something else than expected.
    #[error("the daemon's answer cannot be read ({0}); are client and daemon of one version?")]
    Garbled(String),
}

/// How long an answer may take if nobody says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// So often it is asked again that said to wait a moment.
const TRIES: usize = 5;

/// A way to the daemon.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its socket.
    pub socket: PathBuf,
    /// Whom root acts for.
    pub user: Option<String>,
    /// The longest that an answer may take.
    pub patience: Duration,
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
            tokio::time::timeout(self.patience, self.ask_patiently(command))
                .await
                .unwrap_or_else(|_| {
                    Err(ClientError::Silent {
                        socket: self.socket.clone(),
                        waited: self.patience,
                    })
                })
        })
    }

    /// Asks again where the daemon says that it was asked too often: a script in a hurry goes on, at the pace that is
    /// allowed.
    async fn ask_patiently<C: Command>(&self, command: &C) -> Result<C::Answer, ClientError> {
        for _ in 1..TRIES {
            match self.ask(command).await? {
                Answered::Wait(wait, _) => tokio::time::sleep(wait).await,
                Answered::With(answer) => return Ok(answer),
            }
        }
        match self.ask(command).await? {
            Answered::Wait(_, line) => Err(ClientError::Refused(line)),
            Answered::With(answer) => Ok(answer),
        }
    }

    async fn ask<C: Command>(&self, command: &C) -> Result<Answered<C::Answer>, ClientError> {
        let garbled = |error: &dyn std::fmt::Display| ClientError::Garbled(error.to_string());
        let stream = connect(&self.socket).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| garbled(&error))?;
        let connection = tokio::spawn(connection);
        let body = serde_json::to_vec(command).map_err(|error| garbled(&error))?;
        let mut request = hyper::Request::post(C::path())
            .header("host", "lendfs")
            .header("content-type", "application/json");
        if let Some(user) = &self.user {
            request = request.header(USER_HEADER, user);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| garbled(&error))?;
        let response = sender.send_request(request).await.map_err(|error| {
            let gone = error.is_incomplete_message() || error.is_canceled() || error.is_closed();
            let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<io::Error>());
            let cut = cause.is_some_and(|cause| {
                [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset].contains(&cause.kind())
            });
            if gone || cut {
                ClientError::HungUp
            } else {
                garbled(&error)
            }
        })?;
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER);
        let wait = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| garbled(&error))?
            .to_bytes();
        connection.abort();
        if status == StatusCode::OK {
            let answer = serde_json::from_slice(&body).map_err(|error| garbled(&error))?;
            return Ok(Answered::With(answer));
        }
        match serde_json::from_slice::<Failure>(&body) {
            Ok(failure) if status == StatusCode::TOO_MANY_REQUESTS && wait.is_some() => {
                let wait = Duration::from_secs(wait.unwrap_or(1));
                Ok(Answered::Wait(wait, failure.error))
            }
            Ok(failure) => Err(ClientError::Refused(failure.error)),
            Err(_) => Err(ClientError::Garbled(format!(
                "{status}: {}",
                String::from_utf8_lossy(&body)
            ))),
        }
    }
}

/// What the daemon says to a command.
enum Answered<A> {
    /// Its answer.
    With(A),
    /// To ask again after so long, and why.
    Wait(Duration, String),
}

async fn connect(socket: &Path) -> Result<UnixStream, ClientError> {
    UnixStream::connect(socket)
        .await
        .map_err(|cause| ClientError::Unreachable {
            socket: socket.into(),
            cause,
        })
}
