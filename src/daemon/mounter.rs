//! The mounter's life: it answers on a socket that it is given, and ends when it is not needed.

use std::time::Duration;

use super::{StartError, service};
use crate::backing;

/// The name of its socket among the descriptors.
const SOCKET: &str = "mounter";
/// The service manager starts it again when it is asked for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Mounts for a daemon that lives in a mount namespace of its own, until nobody asks any more.
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
    Ok(backing::serve_mounts(&listener, PATIENCE)?)
}
