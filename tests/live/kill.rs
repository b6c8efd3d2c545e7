//! Taking back what is open: how a folder is set to do it, and the processes that still hold a mapping.

use serde_json::json;

use crate::common::{BOB, OLGA, ROOT, World};

#[test]
fn a_folder_is_set_to_take_back_strictly_and_says_so() {
    let Some(world) = World::new() else { return };
    world.folder("tests");
    world.share("tests", BOB, "edit");
    let told = |user| world.json(user, "list")[0]["revoke"].clone();
    assert_eq!(told(OLGA), "default");
    assert_eq!(
        world.ok(OLGA, "set tests revoke=strict"),
        "tests: revoke=strict\n"
    );
    assert_eq!((told(OLGA), told(BOB)), (json!("strict"), json!("strict")));
    let audit = world.json(ROOT, "audit");
    let mut lines = audit.as_array().unwrap().iter();
    let line = lines.find(|line| line["action"] == "set").unwrap();
    assert_eq!(
        (&line["action"], &line["account"], &line["details"]),
        (&json!("set"), &json!(OLGA.name), &json!({"revoke": "strict"}))
    );
    let said = world.refused(OLGA, "set tests revoke=never");
    assert!(said.contains("strict") && said.contains("default"), "{said}");
    world.ok(OLGA, "set tests revoke=default");
    assert_eq!(told(BOB), "default");
}
