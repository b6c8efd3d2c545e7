//! The control socket: who asks, and which command.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::connect_info::ConnectInfo;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use parking_lot::Mutex;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, sleep, timeout_at};

use super::audit::Who;
use super::core::{Caller, Core};
use super::door::Guest;
use super::error::{Refused, Result};
use super::{metrics, serving, why};
use crate::backing::users;
use crate::control::openapi::{self, Description};
use crate::control::{Command, Failure, USER_HEADER, answers, requests};

/// A command, as the daemon carries it out.
pub(super) trait Run: Command {
    /// Carries it out.
    fn run(self, core: &mut Core, caller: &Caller) -> Result<Self::Answer>;

    /// What is left to be done after it, while others may command again. It is asked for before.
    fn remains(&self, core: &mut Core, caller: &Caller) -> Result<Option<Remains<Self::Answer>>> {
        let _ = (core, caller);
        Ok(None)
    }
}

/// The rest of a command, which adds to its answer.
pub(super) type Remains<A> = Box<dyn FnOnce(&Mutex<Core>, &mut A) + Send>;

/// The listening socket; its file is removed when it is dropped, if it was made here.
pub(super) struct Listening {
    pub(super) listener: UnixListener,
    _file: Option<SocketFile>,
}

struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Listens, on a socket that whoever started the daemon has made, or on one of its own: an orphaned socket file is
/// replaced.
///
/// # Errors
/// If another daemon answers there, or what is there is no socket; if what was given does not listen.
pub(super) async fn listen(socket: &Path, given: Option<OwnedFd>) -> io::Result<Listening> {
    if let Some(given) = given {
        return Ok(Listening {
            listener: take_over(given)?,
            _file: None,
        });
    }
    if let Some(directory) = socket.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match UnixStream::connect(socket).await {
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another daemon answers there: stop it first, or choose another --socket",
            ));
        }
        // So connect(2) also answers for what is no socket at all.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            if !std::fs::symlink_metadata(socket)?.file_type().is_socket() {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "something else than a socket is there: remove it, or choose another --socket",
                ));
            }
            std::fs::remove_file(socket)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(socket)?;
    // Everyone may ask; who he is, the kernel tells.
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666))?;
    Ok(Listening {
        listener,
        _file: Some(SocketFile(socket.into())),
    })
}

fn take_over(given: OwnedFd) -> io::Result<UnixListener> {
    use nix::sys::socket::{getsockopt, sockopt};
    if !getsockopt(&given, sockopt::AcceptConn)? {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "what the service manager gave does not listen: it has to be ListenStream= with a path",
        ));
    }
    let listener = std::os::unix::net::UnixListener::from(given);
    // It is another kind of socket if it has no such address.
    listener.local_addr()?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

pub(super) async fn serve(listener: UnixListener, core: Arc<Mutex<Core>>) {
    let door = core.lock().door.clone();
    serving::serve(listener, router(core), door).await;
}

/// All that is understood, and its description.
pub(super) fn router(core: Arc<Mutex<Core>>) -> Router {
    let router = Routes::default();
    let router = route::<requests::Create>(router);
    let router = route::<requests::List>(router);
    let router = route::<requests::Rename>(router);
    let router = route::<requests::Delete>(router);
    let router = route::<requests::Transfer>(router);
    let router = route::<requests::Set>(router);
    let router = route::<requests::Share>(router);
    let router = route::<requests::Unshare>(router);
    let router = route::<requests::Invitations>(router);
    let router = route::<requests::Accept>(router);
    let router = route::<requests::Decline>(router);
    let router = route::<requests::Leave>(router);
    let router = route::<requests::Permit>(router);
    let router = route::<requests::Unpermit>(router);
    let router = route::<requests::Permissions>(router);
    let router = route::<requests::Explain>(router);
    let router = route::<requests::Around>(router);
    let router = route::<requests::Mount>(router);
    let router = route::<requests::Umount>(router);
    let router = route::<requests::Mounts>(router);
    let router = route::<requests::UserAdd>(router);
    let router = route::<requests::UserSet>(router);
    let router = route::<requests::UserList>(router);
    let router = route::<requests::UserRemove>(router);
    let router = route::<requests::GroupCreate>(router);
    let router = route::<requests::GroupDelete>(router);
    let router = route::<requests::GroupMember>(router);
    let router = route::<requests::GroupList>(router);
    let router = route::<requests::Status>(router);
    let router = route::<requests::Doctor>(router);
    let router = route::<requests::Check>(router);
    let router = router.command::<requests::Why>(post(handle_why));
    let router = router.command::<requests::Audit>(post(handle_audit));
    let Routes { router, description } = router;
    let described = described(description);
    let router = router.route(openapi::PATH, get(|| async move { described }));
    let router = router.route(metrics::PATH, get(handle_metrics));
    router.with_state(core)
}

/// The commands, each routed and described at once.
#[derive(Default)]
struct Routes {
    router: Router<Arc<Mutex<Core>>>,
    description: Description,
}

impl Routes {
    fn command<C: Command>(self, handler: MethodRouter<Arc<Mutex<Core>>>) -> Self {
        Self {
            router: self.router.route(&C::path(), handler),
            description: self.description.command::<C>(),
        }
    }
}

fn route<C: Run>(routes: Routes) -> Routes {
    routes.command::<C>(post(handle::<C>))
}

/// The description as it is sent.
fn described(description: Description) -> ([(HeaderName, &'static str); 1], String) {
    let description = description.text(metrics::PATH, metrics::CONTENT_TYPE, "Numbers for Prometheus.");
    let text = description.finish().to_json().unwrap_or_else(|error| {
        tracing::error!(%error, "the description cannot be written");
        "{}".into()
    });
    ([(CONTENT_TYPE, "application/json")], text)
}

async fn handle<C: Run>(
    State(core): State<Arc<Mutex<Core>>>, ConnectInfo(peer): ConnectInfo<Peer>, headers: HeaderMap,
    body: Bytes,
) -> Response {
    let guest = Arc::clone(&peer.guest);
    let done = guest.in_turn(move || carry_out::<C>(&core, &peer, &headers, parse(&body)?));
    let done = done.await;
    guest.count(C::NAME, &done);
    respond(done)
}

/// Waits before it answers, if that is asked for; nobody else waits for it.
async fn handle_why(
    State(core): State<Arc<Mutex<Core>>>, ConnectInfo(peer): ConnectInfo<Peer>, headers: HeaderMap,
    body: Bytes,
) -> Response {
    let waiting = {
        let (core, peer, headers, body) = (Arc::clone(&core), peer.clone(), headers.clone(), body.clone());
        move || {
            let command: requests::Why = parse(&body)?;
            begin(
                &mut core.lock(),
                &peer,
                &headers,
                requests::Why::NAME,
                |core, caller| Ok(why::Waiting::of(&command, core, caller)),
            )
        }
    };
    match peer.guest.in_turn(waiting).await {
        Err(refused) => return respond::<()>(Err(refused)),
        Ok(Some(waiting)) => waiting.end().await,
        Ok(None) => {}
    }
    handle::<requests::Why>(State(core), ConnectInfo(peer), headers, body).await
}

/// Likewise.
async fn handle_audit(
    State(core): State<Arc<Mutex<Core>>>, ConnectInfo(peer): ConnectInfo<Peer>, headers: HeaderMap,
    body: Bytes,
) -> Response {
    let done = read_audit(core, &peer, headers, &body).await;
    peer.guest.count(requests::Audit::NAME, &done);
    respond(done)
}

async fn read_audit(
    core: Arc<Mutex<Core>>, peer: &Peer, headers: HeaderMap, body: &[u8],
) -> Result<answers::Audit> {
    let mut command: requests::Audit = parse(body)?;
    let deadline = Instant::now() + why::LONGEST;
    loop {
        let look = {
            let (core, peer, headers, command) =
                (Arc::clone(&core), peer.clone(), headers.clone(), command.clone());
            move || {
                // Before the look, so that nothing comes in between.
                let news = core.lock().registrar.audited.subscribe();
                Ok((carry_out(&core, &peer, &headers, command)?, news))
            }
        };
        let (audit, mut news) = peer.guest.in_turn(look).await?;
        if !command.wait || command.after.is_none() || !audit.lines.is_empty() {
            return Ok(audit);
        }
        command.after = Some(audit.last);
        if timeout_at(deadline, news.changed()).await.is_err() {
            return Ok(audit);
        }
        sleep(why::GATHER).await;
    }
}

/// What a look at the metrics is called where commands have their words.
const METRICS: &str = "metrics";

/// The metrics, for root and whoever may read them.
async fn handle_metrics(
    State(core): State<Arc<Mutex<Core>>>, ConnectInfo(peer): ConnectInfo<Peer>, headers: HeaderMap,
) -> Response {
    let guest = Arc::clone(&peer.guest);
    let done = guest.in_turn(move || {
        let mut locked = core.lock();
        let gathered = begin(&mut locked, &peer, &headers, METRICS, |core, caller| {
            core.gather(caller)
        });
        drop(locked);
        gathered?.text()
    });
    let done = done.await;
    guest.count(METRICS, &done);
    match done {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(refused) => respond::<()>(Err(refused)),
    }
}

/// Carries a command out, wherever that waits.
fn carry_out<C: Run>(core: &Mutex<Core>, peer: &Peer, headers: &HeaderMap, command: C) -> Result<C::Answer> {
    let mut locked = core.lock();
    let begun = begin(&mut locked, peer, headers, C::NAME, |core, caller| {
        let remains = command.remains(core, caller)?;
        Ok((command.run(core, caller)?, remains))
    });
    drop(locked);
    let (mut answer, remains) = begun?;
    if let Some(remains) = remains {
        remains(core, &mut answer);
    }
    Ok(answer)
}

/// Does something for who asks, if he may; that he may not is noted. The caller holds the lock, so that there is one at a
/// time who may change the policy.
fn begin<T>(
    core: &mut Core, peer: &Peer, headers: &HeaderMap, command: &'static str,
    work: impl FnOnce(&mut Core, &Caller) -> Result<T>,
) -> Result<T> {
    let _changing = core.shared.changing_policy();
    core.catch_up();
    let caller = asked_for(headers).and_then(|user| identify(core, peer, user));
    let (who, done) = match caller {
        Ok(caller) => (Who::Account(caller.actor.id), work(core, &caller)),
        Err(refused) => (Who::Uid(peer.guest.uid().unwrap_or(u32::MAX)), Err(refused)),
    };
    done.inspect_err(|refused| {
        if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&refused.status) {
            core.registrar.refusals.command(who, command);
        }
    })
}

impl Guest {
    /// Works for him where it may wait, when it is his turn.
    async fn in_turn<T: Send + 'static>(
        &self, work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let turn = self.turn().await?;
        let worked = tokio::task::spawn_blocking(move || {
            // The client may hang up meanwhile, which ends all but this.
            let _turn = turn;
            work()
        });
        worked.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a command ended in the middle");
            Err(Refused::failed("the daemon failed: its log says why"))
        })
    }
}

fn parse<C: Command>(body: &[u8]) -> Result<C> {
    // serde would take a list of the fields as well.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refused::invalid(
            "the request cannot be read: it is no JSON object",
        ));
    }
    serde_json::from_slice(body)
        .map_err(|error| Refused::invalid(format!("the request cannot be read: {error}")))
}

/// Whom root acts for.
fn asked_for(headers: &HeaderMap) -> Result<Option<&str>> {
    let user = headers.get(USER_HEADER).map(|user| user.to_str());
    user.transpose()
        .map_err(|_| Refused::invalid("the name after --user cannot be read"))
}

pub(super) fn respond<A: serde::Serialize>(done: Result<A>) -> Response {
    match done {
        Ok(answer) => Json(answer).into_response(),
        Err(Refused { status, line }) => (status, Json(Failure { error: line })).into_response(),
    }
}

/// The process at the other end.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) pid: Option<i32>,
    pub(super) guest: Arc<Guest>,
}

/// The account of a peer, and whom it acts for.
fn identify(core: &mut Core, peer: &Peer, user: Option<&str>) -> Result<Caller> {
    let uid = peer
        .guest
        .uid()
        .ok_or_else(|| Refused::denied("the kernel does not tell who asks"))?;
    if !core.config.allow_foreign_namespaces && !same_namespaces(peer.pid) {
        return Err(Refused::denied(
            "a process in another user or pid namespace is not whom its uid says: ask from outside the container, or let \
             the administrator set allow-foreign-namespaces",
        ));
    }
    let unknown = || Refused {
        status: StatusCode::UNAUTHORIZED,
        line: format!("the uid {uid} has no user name here: only users of this system have an account"),
    };
    let failed = |error| Refused::failed(format!("the name of the uid {uid} cannot be looked up: {error}"));
    let actor = users::by_uid(uid).map_err(failed)?.ok_or_else(unknown)?;
    let actor = core.ensure_account(&actor)?;
    peer.guest.is_known();
    // Root alone confirms accounts, so that nobody else could let him in again.
    if actor.frozen && uid != 0 {
        return Err(Refused::denied(format!(
            "the account {} is frozen, for its login name and uid do not belong together any more: root confirms it with \
             'lendfs user set {0} frozen=no'",
            actor.login
        )));
    }
    let account = match user {
        None => actor.clone(),
        Some(name) if uid == 0 => core.find_account(name)?,
        Some(name) if name == actor.login => actor.clone(),
        Some(_) => return Err(Refused::denied("only root acts for others with --user")),
    };
    Ok(Caller { account, actor })
}

/// Tells whether a process shares this one's user and pid namespaces. Of one that is gone it is not known.
fn same_namespaces(pid: Option<i32>) -> bool {
    let Some(pid) = pid.filter(|&pid| pid > 0) else {
        return false;
    };
    ["user", "pid"].into_iter().all(|kind| {
        let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/{kind}")).ok();
        of(&pid.to_string()).is_some_and(|peer| Some(peer) == of("self"))
    })
}
