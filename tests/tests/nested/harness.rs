//! The harness itself: a guest runs a script, streams its output, gives its status and files back.

use std::time::Duration;

use system_tests::nested::Nested;

#[test]
fn a_guest_has_kvm_and_gives_back_output_status_and_files() {
    let outcome = Nested::new()
        .unwrap()
        .bytes("/root/in", b"seven")
        .fetch("/root/result")
        .fetch("/root/absent")
        .timeout(Duration::from_secs(60))
        .run("test -c /dev/kvm || exit 9; cat in; sed s/seven/eight/ in >result; echo >&2 ' heard'; exit 3")
        .unwrap();
    assert_eq!((outcome.status, outcome.output.as_str()), (3, "seven heard\n"));
    assert_eq!(std::fs::read(outcome.file("/root/result")).unwrap(), b"eight");
    assert!(!outcome.file("/root/absent").exists());
}

#[test]
fn a_guest_that_hangs_is_ended() {
    let error = Nested::new().unwrap().timeout(Duration::from_secs(8)).run("sleep 1000").err().unwrap();
    assert!(error.to_string().contains("has not finished"), "{error:#}");
}
