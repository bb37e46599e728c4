//! Registry hives: what the agent writes, libhivex reads.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "support/hive.rs"]
mod empty;
mod support;

use empty::empty_hive;
use guestd_api::Error;
use guestd_api::actions::hivex::HivexOpenOptions;
use guestd_api::prelude::*;
use std::path::Path;
use std::process::Command;
use support::Agent;

const ROOT: i64 = 4128;

fn message(result: Result<impl std::fmt::Debug, Error>) -> String {
    result.unwrap_err().to_string()
}

fn xml(path: &Path) -> String {
    let output = Command::new("hivexml").arg(path).output().unwrap();
    assert!(output.status.success(), "hivexml: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

fn writable() -> HivexOpenOptions {
    HivexOpenOptions::default().write(true)
}

#[test]
fn nodes_and_values_are_written_as_libhivex_writes_them() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    std::fs::write(agent.host("h"), empty_hive()).unwrap();
    assert!(
        message(g.hivex_root()).ends_with("you must call 'hivex-open' first to initialize the hivex handle")
    );
    g.hivex_open("/h", writable()).unwrap();
    assert_eq!((g.hivex_root().unwrap(), g.hivex_node_name(ROOT).unwrap()), (ROOT, "$$$PROTO.HIV".into()));
    // The places are those that libhivex gives the same nodes and values.
    let names = ["foo", "Bar", "zoo1234", "größe", "日本", "aaaaaaaaa"];
    let nodes: Vec<i64> = names.iter().map(|name| g.hivex_node_add_child(ROOT, name).unwrap()).collect();
    assert_eq!(nodes, [8224, 8328, 8440, 8560, 8688, 8824]);
    let children: Vec<i64> =
        g.hivex_node_children(ROOT).unwrap().iter().map(|node| node.hivex_node_h).collect();
    assert_eq!(children, [8824, 8328, 8224, 8560, 8440, 8688]);
    assert_eq!(message(g.hivex_node_add_child(ROOT, "FOO")), "hivex_node_add_child: failed: File exists");
    assert_eq!(
        (g.hivex_node_get_child(ROOT, "FoO").unwrap(), g.hivex_node_get_child(ROOT, "x").unwrap()),
        (8224, 0)
    );
    assert_eq!((g.hivex_node_parent(8224).unwrap(), g.hivex_node_name(8688).unwrap()), (ROOT, "日本".into()));
    g.hivex_node_set_value(ROOT, "bin", 3, "12345678901234567890").unwrap();
    g.hivex_node_set_value(ROOT, "empty", 3, "").unwrap();
    g.hivex_node_set_value(ROOT, "k5", -1, "h").unwrap();
    g.hivex_node_set_value(ROOT, "k6", 99, "hh").unwrap();
    let values: Vec<i64> =
        g.hivex_node_values(ROOT).unwrap().iter().map(|value| value.hivex_value_h).collect();
    assert_eq!(values, [9304, 9360, 9392, 9424]);

    g.hivex_node_set_value(8224, "", 1, utf16("default")).unwrap();
    g.hivex_node_set_value(8224, "Größe", 1, utf16("old")).unwrap();
    g.hivex_node_set_value(8224, "größe", 1, utf16("neu €")).unwrap();
    g.hivex_node_set_value(8224, "dword", 4, 77u32.to_le_bytes()).unwrap();
    let below = g.hivex_node_add_child(8224, "below").unwrap();
    g.hivex_node_set_value(below, "v", 1, utf16("x")).unwrap();
    let value = g.hivex_node_get_value(8224, "GRößE").unwrap();
    assert_eq!(
        (g.hivex_value_string(value).unwrap(), g.hivex_value_key(value).unwrap()),
        ("neu €".into(), "größe".into())
    );
    assert_eq!((g.hivex_value_type(value).unwrap(), g.hivex_value_utf8(value).unwrap()), (1, "neu €".into()));
    assert_eq!(g.hivex_value_value(g.hivex_node_get_value(8224, "dword").unwrap()).unwrap(), [77, 0, 0, 0]);
    g.hivex_commit(Some("/copy")).unwrap();
    assert_eq!(std::fs::read(agent.host("h")).unwrap(), empty_hive());
    let text = xml(&agent.host("copy"));
    let parts = [
        "<node name=\"below\">",
        "<value type=\"string\" default=\"1\"",
        "key=\"größe\" value=\"neu €\"",
        "<value type=\"int32\" key=\"dword\" value=\"77\"",
        "<value type=\"binary\" encoding=\"base64\" key=\"bin\" value=\"MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=\"",
        "<node name=\"日本\">",
    ];
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }

    g.hivex_node_delete_child(8224).unwrap();
    assert!(message(g.hivex_node_name(8224)).ends_with("Invalid argument"));
    assert!(message(g.hivex_node_delete_child(ROOT)).ends_with("Invalid argument"));
    g.hivex_commit(None).unwrap();
    g.hivex_close().unwrap();
    let text = xml(&agent.host("h"));
    assert!(!text.contains("\"foo\"") && !text.contains("below") && text.contains("zoo1234"), "{text}");
    g.hivex_open("/h", Default::default()).unwrap();
    assert_eq!(g.hivex_node_children(ROOT).unwrap().len(), 5);
    assert_eq!(
        message(g.hivex_node_add_child(ROOT, "y")),
        "hivex_node_add_child: failed: Read-only file system"
    );
    assert_eq!(message(g.hivex_commit(None)), "hivex_commit: commit failed: Read-only file system");
}

#[test]
fn a_large_tree_keeps_its_order() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    std::fs::write(agent.host("h"), empty_hive()).unwrap();
    g.hivex_open("/h", writable()).unwrap();
    let name = |number: u32| format!("Key{:05}", number.wrapping_mul(7919) % 1009);
    for number in 0..400 {
        let node = g.hivex_node_add_child(ROOT, name(number)).unwrap();
        g.hivex_node_set_value(node, "long", 3, vec![7; 5000]).unwrap();
    }
    for number in 0..200 {
        let node = g.hivex_node_get_child(ROOT, name(number)).unwrap();
        g.hivex_node_delete_child(node).unwrap();
    }
    g.hivex_commit(None).unwrap();
    let text = xml(&agent.host("h"));
    let found: Vec<&str> = text.split("<node name=\"Key").skip(1).map(|rest| &rest[..5]).collect();
    assert_eq!(found.len(), 200);
    assert!(found.is_sorted());
}

#[test]
fn damaged_hives_give_errors() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    std::fs::write(agent.host("h"), empty_hive()).unwrap();
    g.hivex_open("/h", writable()).unwrap();
    for name in ["a", "b", "c"] {
        let node = g.hivex_node_add_child(ROOT, name).unwrap();
        g.hivex_node_set_value(node, "v", 1, utf16("a longer text")).unwrap();
    }
    g.hivex_commit(Some("/good")).unwrap();
    for bad in [&b""[..], b"regf", &[0; 9000]] {
        std::fs::write(agent.host("bad"), bad).unwrap();
        assert!(message(g.hivex_open("/bad", writable())).contains("hivex failed to open /bad"));
    }
    assert!(message(g.hivex_open("/none", writable())).contains("/none: No such file"));
    let good = std::fs::read(agent.host("good")).unwrap();
    let mut state = 1u64;
    for _ in 0..300 {
        let mut bad = good.clone();
        for _ in 0..3 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let at = 0x1000 + (state >> 33) as usize % (bad.len() - 0x1000);
            bad[at] = (state >> 24) as u8;
        }
        std::fs::write(agent.host("bad"), &bad).unwrap();
        if g.hivex_open("/bad", writable()).is_err() {
            continue;
        }
        // Whatever the answers are, there are answers.
        for node in g.hivex_node_children(ROOT).unwrap_or_default() {
            let _ = g.hivex_node_name(node.hivex_node_h);
            for value in g.hivex_node_values(node.hivex_node_h).unwrap_or_default() {
                let _ = g.hivex_value_string(value.hivex_value_h);
            }
            let _ = g.hivex_node_set_value(node.hivex_node_h, "v", 3, "x");
            let _ = g.hivex_node_delete_child(node.hivex_node_h);
        }
        let _ = g.hivex_node_add_child(ROOT, "new");
        g.ping_daemon().unwrap();
    }
}
