//! Connections to the control socket, from the first byte to the command: nobody keeps one for long who sends nothing,
//! or too slowly, or too much.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::Response;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};

use super::door::{Door, Guest};
use super::error::{Refused, Result};
use super::server::{Peer, respond};

/// The largest request, in bytes: many times the longest path, however it is written.
const MAX_REQUEST: usize = 64 * 1024;
/// The most headers, and the most bytes of them.
const MAX_HEADERS: usize = 32;
const MAX_HEAD: usize = 16 * 1024;
/// After so long a connection ends with the answer to the request that it is at; longer than any waits for news.
const LONGEST: Duration = Duration::from_secs(300);
/// Who does not take that answer in so long is cut off.
const LAST_ANSWER: Duration = Duration::from_secs(60);
/// Who is told why he is not let in has to be quick.
const TOLD_WITHIN: Duration = Duration::from_secs(1);
/// Where there is no descriptor for another connection, there may be soon.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until it is dropped.
pub(super) async fn serve(listener: UnixListener, router: Router, door: Arc<Door>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => let_in(stream, &router, &door),
            // Whoever asked is gone again.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::error!(%error, "the control socket takes no connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn let_in(stream: UnixStream, router: &Router, door: &Arc<Door>) {
    let credentials = stream.peer_cred().ok();
    let Some(guest) = door.knock(credentials.map(|credentials| credentials.uid())) else {
        return hang_up(&stream);
    };
    let peer = Peer {
        pid: credentials.and_then(|credentials| credentials.pid()),
        guest: Arc::new(guest),
    };
    let router = router.clone();
    let (patience, told) = (door.patience(), peer.guest.refused().is_some());
    tokio::spawn(async move {
        let service = service_fn(|request| {
            let (router, peer) = (router.clone(), peer.clone());
            async move { Ok::<_, Infallible>(answer(request, router, peer, patience).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD)
            .keep_alive(!told)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let longest = if told { TOLD_WITHIN } else { LONGEST };
        // How it ended matters to the client alone.
        if tokio::time::timeout(longest, connection.as_mut()).await.is_err() && !told {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(LAST_ANSWER, connection).await;
        }
    });
}

/// Says why without listening, and only what fits at once.
fn hang_up(stream: &UnixStream) {
    const BUSY: &str =
        "{\"error\":\"you have more connections to the daemon than it even says no to: end some of them\"}";
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{BUSY}",
        BUSY.len()
    );
    let _ = stream.try_write(answer.as_bytes());
}

async fn answer(request: Request<Incoming>, router: Router, peer: Peer, patience: Duration) -> Response {
    let guest = Arc::clone(&peer.guest);
    if let Some(refused) = guest.refused() {
        return closing(respond::<()>(Err(refused.clone())));
    }
    if let Err((refused, wait)) = guest.ask(Instant::now()) {
        let mut response = respond::<()>(Err(refused));
        let seconds = HeaderValue::from(wait.as_secs() + 1);
        response.headers_mut().insert(RETRY_AFTER, seconds);
        return closing(response);
    }
    let mut request = match whole(request, &guest, patience).await {
        Ok(request) => request,
        Err(refused) => return closing(respond::<()>(Err(refused))),
    };
    request.extensions_mut().insert(ConnectInfo(peer));
    let Ok(response) = TowerToHyperService::new(router).call(request).await;
    in_words(response)
}

/// A request with its whole body.
async fn whole(request: Request<Incoming>, guest: &Guest, patience: Duration) -> Result<Request<Body>> {
    let (head, body) = request.into_parts();
    let too_large = || {
        guest.door().turned_away("size");
        Refused {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            line: format!("the request is larger than {MAX_REQUEST} bytes, which no command is"),
        }
    };
    // What says so beforehand is not read first.
    if body.size_hint().lower() > MAX_REQUEST as u64 {
        return Err(too_large());
    }
    let read = tokio::time::timeout(patience, Limited::new(body, MAX_REQUEST).collect()).await;
    match read {
        Err(_) => {
            guest.door().turned_away("slow");
            Err(Refused {
                status: StatusCode::REQUEST_TIMEOUT,
                line: format!("the request did not come within {} seconds", patience.as_secs()),
            })
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Refused::invalid(format!("the request cannot be read: {error}"))),
        Ok(Ok(body)) => Ok(Request::from_parts(head, Body::from(body.to_bytes()))),
    }
}

/// The same, with nothing after it: what else the client sends is not listened to.
fn closing(mut response: Response) -> Response {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

/// What the router itself refuses, with a line that says so.
fn in_words(response: Response) -> Response {
    let line = match response.status() {
        StatusCode::NOT_FOUND => "there is no such command here: are client and daemon of one version?",
        StatusCode::METHOD_NOT_ALLOWED => "commands are sent with POST",
        _ => return response,
    };
    if response.headers().contains_key(CONTENT_TYPE) {
        return response;
    }
    let status = response.status();
    let mut said = respond::<()>(Err(Refused {
        status,
        line: line.into(),
    }));
    // But for the length, which is that of nothing.
    let kept = response
        .headers()
        .iter()
        .filter(|(name, _)| **name != CONTENT_LENGTH);
    for (name, value) in kept {
        said.headers_mut().entry(name).or_insert_with(|| value.clone());
    }
    said
}
