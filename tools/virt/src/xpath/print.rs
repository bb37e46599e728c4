//! Prints answers: nodes as XML with two blanks a level, values as text.

use roxmltree::Node as Xml;

use super::node::{Node, children, element_name};
use super::value::Value;

/// Levels that are set in; deeper ones stand below each other.
const MAX_INDENT: usize = 30;

/// The answer as it is printed.
pub(super) fn answer(value: &Value<'_>) -> String {
    let Value::Nodes(nodes) = value else {
        let text = value.to_text();
        return if text.is_empty() { text } else { text + "\n" };
    };
    let mut text = String::new();
    for node in nodes {
        match node {
            Node::Tree(node) => put(&mut text, *node, 0, true),
            Node::Attribute(..) => {
                let (name, value) = node.attribute().unwrap_or_default();
                text.push_str(&format!(" {name}=\"{}\"", in_attribute(value)));
            }
        }
        text.push('\n');
    }
    text
}

fn put(out: &mut String, node: Xml<'_, '_>, level: usize, set_in: bool) {
    if node.is_root() {
        for child in children(node) {
            put(out, child, 0, set_in);
            out.push('\n');
        }
    } else if node.is_text() {
        out.push_str(&in_text(node.text().unwrap_or_default()));
    } else if node.is_comment() {
        out.push_str(&format!("<!--{}-->", node.text().unwrap_or_default()));
    } else if let Some(instruction) = node.pi() {
        let value = instruction.value.map(|value| format!(" {value}")).unwrap_or_default();
        out.push_str(&format!("<?{}{value}?>", instruction.target));
    } else {
        element(out, node, level, set_in);
    }
}

fn element(out: &mut String, node: Xml<'_, '_>, level: usize, set_in: bool) {
    let name = element_name(node);
    out.push_str(&format!("<{name}"));
    let around: Vec<_> = node.parent_element().into_iter().flat_map(|parent| parent.namespaces()).collect();
    for namespace in node.namespaces().filter(|namespace| !around.contains(namespace)) {
        let prefix = namespace.name().map(|prefix| format!(":{prefix}")).unwrap_or_default();
        out.push_str(&format!(" xmlns{prefix}=\"{}\"", in_attribute(namespace.uri())));
    }
    for number in 0..node.attributes().len() {
        let (name, value) = Node::Attribute(node, number).attribute().unwrap_or_default();
        out.push_str(&format!(" {name}=\"{}\"", in_attribute(value)));
    }
    let inside: Vec<_> = children(node).collect();
    if inside.is_empty() {
        out.push_str("/>");
        return;
    }
    out.push('>');
    // Where there is text, blanks would change it.
    let set_in = set_in && !inside.iter().any(Xml::is_text);
    let line = |out: &mut String, level: usize| {
        if set_in {
            out.push('\n');
            out.push_str(&"  ".repeat(level.min(MAX_INDENT)));
        }
    };
    for child in inside {
        line(out, level + 1);
        put(out, child, level + 1, set_in);
    }
    line(out, level);
    out.push_str(&format!("</{name}>"));
}

fn in_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\r', "&#13;")
}

fn in_attribute(text: &str) -> String {
    in_text(text).replace('"', "&quot;").replace('\n', "&#10;").replace('\t', "&#9;")
}
