//! The description of the control API: as much as the daemon understands, and no more. What answers are like,
//! `tests/api/run` holds against it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::common::World;

/// Asks as whoever runs the tests; the status, and the body.
fn ask(world: &World, request: &str, body: &str) -> (u16, Value) {
    let mut stream = UnixStream::connect(world.socket()).unwrap();
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: lendfs\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (
        status,
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")),
    )
}

/// The words of all commands, as they stand in the types of requests.
fn words() -> BTreeSet<String> {
    let requests = include_str!("../../src/control/requests.rs");
    let word = |line: &str| Some(line.split_once(" = \"")?.1.split_once("\" -> ")?.0.to_owned());
    requests.lines().filter_map(word).collect()
}

#[test]
fn the_description_has_each_command_and_the_daemon_answers_each() {
    let Some(world) = World::new() else { return };
    let (status, description) = ask(&world, "GET /openapi.json", "");
    assert_eq!(status, 200);
    let paths = description["paths"].as_object().unwrap();
    let described: BTreeSet<_> = paths
        .keys()
        .filter_map(|path| path.strip_prefix("/v1/"))
        .map(Into::into)
        .collect();
    assert_eq!(described, words());
    for word in &described {
        // It is understood, and refused for what is asked.
        let (status, answer) = ask(&world, &format!("POST /v1/{word}"), "{");
        assert_eq!(status, 400, "{word}: {answer}");
        let (status, answer) = ask(&world, &format!("GET /v1/{word}"), "");
        assert_eq!(status, 405, "{word}: {answer}");
        let operation = &paths[&format!("/v1/{word}")]["post"];
        assert!(operation["summary"].is_string(), "{word} has no summary");
        for status in ["200", "400", "403", "404", "409", "500"] {
            let schema = &operation["responses"][status]["content"]["application/json"]["schema"];
            assert!(
                schema.is_object(),
                "{word}: what {status} comes with is not described"
            );
        }
    }
    assert_eq!(ask(&world, "POST /v1/nothing", "{}").0, 404);
    assert_eq!(ask(&world, "GET /", "").0, 404);
}

#[test]
fn all_that_the_description_refers_to_is_in_it() {
    let Some(world) = World::new() else { return };
    let (_, description) = ask(&world, "GET /openapi.json", "");
    let mut left = vec![&description];
    let mut referred = 0;
    while let Some(value) = left.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(description.pointer(pointer).is_some(), "{reference} is not there");
            referred += 1;
        }
        match value {
            Value::Object(fields) => left.extend(fields.values()),
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
    assert!(referred > 100, "{referred}");
}

#[test]
fn a_list_in_place_of_an_object_is_no_request() {
    let Some(world) = World::new() else { return };
    for body in ["[]", " []", "null", ""] {
        let (status, answer) = ask(&world, "POST /v1/list", body);
        assert_eq!(status, 400, "{body:?}: {answer}");
    }
    assert_eq!(ask(&world, "POST /v1/list", " {}").0, 200);
}

#[test]
fn a_path_that_leads_nowhere_is_no_failure_of_the_daemon() {
    let Some(world) = World::new() else { return };
    for (path, expected) in [("/nowhere", 404), ("/etc/passwd/x", 400), ("/a\\u0000b", 400)] {
        let create = format!(r#"{{"name":"x","path":"{path}","inherit":null}}"#);
        let (status, answer) = ask(&world, "POST /v1/create", &create);
        assert_eq!(status, expected, "{path}: {answer}");
    }
}
