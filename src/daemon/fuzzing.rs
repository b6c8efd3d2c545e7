//! The control API under fuzzing: commands of several users, through the router to a store of their own, without a
//! mount. Nothing may fail in the daemon, and each change that it makes in memory is what the store would be read as.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::runtime::Runtime;

use super::config::Config;
use super::core::Core;
use super::door::Door;
use super::server::{Peer, router};
use super::steward::Registrar;
use super::survive::Former;
use crate::control::{Command, Failure, USER_HEADER, requests};
use crate::store::Store;

/// Users of every Debian, by the digit that a line begins with. The first is root.
const USERS: [(char, u32); 5] = [('0', 0), ('1', 1), ('2', 2), ('3', 3), ('9', 65534)];
/// More commands than this are not taken at a time.
const MOST: usize = 24;

/// Each line is a command: a digit of [`USERS`], the user whom root acts for if there is one, the command's word, and
/// the body. `0@bin create {"name":"f","path":null,"inherit":null}`
pub(crate) fn run(bytes: &[u8]) {
    let scratch = Scratch::new();
    let state = scratch.0.join("state");
    let store = Store::open(&state).expect("the store opens");
    let config = Config {
        group_admins: vec!["daemon".into()],
        ..Config::default()
    };
    let core =
        Core::start(store, state, config, Registrar::default(), 64, Former::default()).expect("it starts");
    let core = Arc::new(Mutex::new(core));
    let door = Arc::clone(&core.lock().door);
    let service = TowerToHyperService::new(router(Arc::clone(&core)));
    for line in bytes.split(|byte| *byte == b'\n').take(MOST) {
        let Some(request) = parse(line, &door, &scratch) else {
            continue;
        };
        let shown = String::from_utf8_lossy(line).into_owned();
        let (status, body) = runtime().block_on(async {
            let response = service.call(request).await.unwrap_or_else(|never| match never {});
            let status = response.status();
            let body = response.into_body().collect().await.expect("a body");
            (status, body.to_bytes())
        });
        judge(&shown, status, &body);
    }
    let core = core.lock();
    let read = core.store.snapshot().expect("the store is read");
    let known = &core.snapshot;
    assert_eq!(known.accounts, read.accounts);
    assert_eq!(known.groups, read.groups);
    assert_eq!(known.folders, read.folders);
    core.store.integrity().expect("the database is whole");
}

fn judge(shown: &str, status: StatusCode, body: &[u8]) {
    // Where there is no such command; the words for it are added on the way out.
    if status == StatusCode::NOT_FOUND && body.is_empty() {
        return;
    }
    let answer: serde_json::Value = serde_json::from_slice(body).expect("the answer is JSON");
    if status == StatusCode::OK {
        // What is told to people has no control characters of somebody's choice.
        for told in ["done", "warnings"].iter().filter_map(|key| answer.get(key)) {
            let lines = told.as_array().map_or(std::slice::from_ref(told), |lines| lines);
            let mut lines = lines.iter().filter_map(|line| line.as_str());
            // A listing has more than one line.
            assert!(lines.all(|told| told.split('\n').all(is_line)), "{shown}: {told}");
        }
        return;
    }
    assert!(status.is_client_error(), "{shown}: {status} {answer}");
    let failure: Failure = serde_json::from_value(answer).expect("an error is told as one");
    assert!(is_line(&failure.error), "{shown}: {:?}", failure.error);
}

fn is_line(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

fn parse(line: &[u8], door: &Arc<Door>, scratch: &Scratch) -> Option<Request<Body>> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let who = std::str::from_utf8(parts.next()?).ok()?;
    let word = std::str::from_utf8(parts.next()?).ok()?;
    let body = harmless(word, parts.next().unwrap_or_default(), scratch)?;
    let (uid, user) = match who.split_once('@') {
        Some((uid, user)) => (uid, Some(user)),
        None => (who, None),
    };
    let digit = uid.chars().next()?;
    let (_, uid) = USERS.into_iter().find(|(known, _)| *known == digit)?;
    let mut request = Request::post(format!("/v1/{word}"));
    if let Some(user) = user {
        request = request.header(USER_HEADER, user);
    }
    let peer = Peer {
        guest: Arc::new(door.knock(Some(uid))?),
        pid: i32::try_from(std::process::id()).ok(),
    };
    request.extension(ConnectInfo(peer)).body(Body::from(body)).ok()
}

/// Nothing is mounted where fuzzing goes on and nothing outside its directory is lent, nobody waits for what never comes,
/// and nobody's processes are ended.
fn harmless(word: &str, body: &[u8], scratch: &Scratch) -> Option<Vec<u8>> {
    let parsed = |body| serde_json::from_slice(body);
    match word {
        requests::Mount::NAME => {
            let _: Option<requests::Mount> = parsed(body)
                .ok()
                .and_then(|body| serde_json::from_value(body).ok());
            return None;
        }
        requests::Create::NAME => {
            let Ok(mut create) = serde_json::from_slice::<requests::Create>(body) else {
                return Some(body.into());
            };
            if let Some(path) = &mut create.path {
                if path.0.windows(2).any(|part| part == b"..") {
                    return None;
                }
                path.0.splice(..0, scratch.lent());
            }
            return serde_json::to_vec(&create).ok();
        }
        requests::Audit::NAME | requests::Permit::NAME | requests::Unshare::NAME | requests::Why::NAME => {}
        _ => return Some(body.into()),
    }
    let Ok(mut request) = parsed(body) else {
        return Some(body.into());
    };
    let fields: Option<&mut serde_json::Map<String, serde_json::Value>> = request.as_object_mut();
    for (key, value) in fields.into_iter().flatten() {
        if key == "wait" || key == "kill" {
            *value = false.into();
        }
    }
    serde_json::to_vec(&request).ok()
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime")
    })
}

/// A state directory of its own.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lendfs-fuzz.{}.{number}", std::process::id());
        let scratch = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(scratch.0.join("lent/deeper")).expect("a directory");
        scratch
    }

    /// What may be lent lies below this.
    fn lent(&self) -> Vec<u8> {
        self.0.join("lent").into_os_string().into_encoded_bytes()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
