//! Answers taken down from `virt-inspector --xpath` of libguestfs 1.48, which asks libxml2.

use super::query;

const DOCUMENT: &str = include_str!("document.xml");

/// Questions, each in a line after three hyphens, with their answers.
const ANSWERS: &str = include_str!("answers.txt");

#[test]
fn questions_are_answered_as_libxml2_does() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for part in format!("\n{}", ANSWERS.trim_end()).split("\n--- ").skip(1) {
        let (question, expected) =
            part.split_once('\n').map_or((part, String::new()), |(q, answer)| (q, format!("{answer}\n")));
        count += 1;
        match query(DOCUMENT, question) {
            Ok(answer) if answer == expected => {}
            other => wrong.push(format!("{question}: {other:?}, not {expected:?}")),
        }
    }
    assert!(count > 60 && wrong.is_empty(), "{count}:\n{}", wrong.join("\n"));
}

#[test]
fn nonsense_is_refused() {
    let nonsense =
        ["", "//[", "foo()", "$x", "1 +", "(", "a[", "'a", "concat('a')", "count(1)", "1 | 2", "::a", "a b"];
    for question in nonsense {
        assert!(query(DOCUMENT, question).is_err(), "{question}");
    }
    let nested = "(".repeat(100_000) + "1" + &")".repeat(100_000);
    assert!(query(DOCUMENT, &nested).is_err());
    assert!(query(&("<a>".repeat(5000) + &"</a>".repeat(5000)), "/").is_err());
    assert!(query("<a>", "1").is_err() && query("", "1").is_err());
}
