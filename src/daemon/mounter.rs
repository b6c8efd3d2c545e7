//! The mounter's life: it answers on a socket that it is given, until the service manager ends it.

use std::time::Duration;

use super::{StartError, service};
use crate::backing;

/// The name of its socket among the descriptors.
const SOCKET: &str = "mounter";

/// Mounts for a daemon that lives in a mount namespace of its own.
///
/// # Errors
/// If no socket is given to it, or it cannot be confined.
pub fn run() -> Result<(), StartError> {
    let received = service::received()?;
    let socket = received.into_iter().find(|(name, _)| name == SOCKET);
    let Some((_, listener)) = socket else {
        let message = "the mounter is started by its socket: systemctl start lendfs-mounter.socket";
        return Err(std::io::Error::new(std::io::ErrorKind::NotFound, message).into());
    };
    backing::confine(true)?;
    Ok(backing::serve_mounts(&listener, Duration::MAX)?)
}
