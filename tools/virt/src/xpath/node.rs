//! The nodes of a document as questions see them: attributes are nodes, white space between elements is none.

use roxmltree::Node as Xml;

use super::parse::{Axis, Test};

/// A node: of the tree, or the attribute with this number of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node<'d> {
    Tree(Xml<'d, 'd>),
    Attribute(Xml<'d, 'd>, usize),
}

/// Where attributes begin among the children: behind their element, before what is in it.
type Place = (usize, usize);

fn is_blank(node: Xml<'_, '_>) -> bool {
    let is_space = |text: &str| text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
    let blank = |node: Xml<'_, '_>| node.is_text() && node.text().is_some_and(is_space);
    // In an element that holds text, blanks are a part of it.
    blank(node)
        && node.parent().is_some_and(|parent| {
            let mut children = parent.children();
            parent.children().nth(1).is_some() && !children.any(|child| child.is_text() && !blank(child))
        })
}

/// The children that count.
pub(super) fn children<'d>(node: Xml<'d, 'd>) -> impl Iterator<Item = Xml<'d, 'd>> {
    node.children().filter(|child| !is_blank(*child))
}

impl<'d> Node<'d> {
    /// Where it stands in the document.
    pub(super) fn place(&self) -> Place {
        match self {
            Node::Tree(node) => (node.id().get_usize(), 0),
            Node::Attribute(node, number) => (node.id().get_usize(), number + 1),
        }
    }

    /// The root of its document.
    pub(super) fn root(&self) -> Self {
        match self {
            Node::Tree(node) | Node::Attribute(node, _) => Node::Tree(node.document().root()),
        }
    }

    /// Its text, or that of everything in it.
    pub(super) fn text(&self) -> String {
        match self {
            Node::Attribute(..) => self.attribute().map(|(_, value)| value.to_owned()).unwrap_or_default(),
            Node::Tree(node) if node.is_root() || node.is_element() => {
                let texts = node.descendants().filter(|node| node.is_text() && !is_blank(*node));
                texts.filter_map(|node| node.text()).collect()
            }
            Node::Tree(node) => match node.pi() {
                Some(instruction) => instruction.value.unwrap_or_default().to_owned(),
                None => node.text().unwrap_or_default().to_owned(),
            },
        }
    }

    /// The name and the value of an attribute.
    pub(super) fn attribute(&self) -> Option<(String, &'d str)> {
        let Node::Attribute(node, number) = self else { return None };
        let attribute = node.attributes().nth(*number)?;
        let prefix = attribute.namespace().and_then(|uri| node.lookup_prefix(uri));
        Some((qualified(prefix, attribute.name()), attribute.value()))
    }

    /// Its name with its prefix; nothing for nodes without names.
    pub(super) fn name(&self) -> String {
        match self {
            Node::Attribute(..) => self.attribute().map(|(name, _)| name).unwrap_or_default(),
            Node::Tree(node) => match node.pi() {
                Some(instruction) => instruction.target.to_owned(),
                None => element_name(*node),
            },
        }
    }

    /// The URI of its name space.
    pub(super) fn namespace(&self) -> &'d str {
        match self {
            Node::Tree(node) => node.tag_name().namespace(),
            Node::Attribute(node, number) => node.attributes().nth(*number).and_then(|a| a.namespace()),
        }
        .unwrap_or_default()
    }

    /// The language that it or what is around it declares.
    pub(super) fn language(&self) -> Option<&'d str> {
        let (Node::Tree(node) | Node::Attribute(node, _)) = self;
        node.ancestors().find_map(|node| node.attribute((roxmltree::NS_XML_URI, "lang")))
    }

    /// The nodes of an axis, the nearest first.
    pub(super) fn along(&self, axis: Axis) -> Vec<Node<'d>> {
        let tree = |nodes: &mut dyn Iterator<Item = Xml<'d, 'd>>| -> Vec<Node<'d>> {
            nodes.filter(|node| !is_blank(*node)).map(Node::Tree).collect()
        };
        let (node, is_attribute) = match self {
            Node::Tree(node) => (*node, false),
            Node::Attribute(node, _) => (*node, true),
        };
        match (axis, is_attribute) {
            (Axis::Own, _) => vec![*self],
            (Axis::Parent, true) => vec![Node::Tree(node)],
            (Axis::Parent, false) => tree(&mut node.parent().into_iter()),
            (Axis::Ancestor, true) => tree(&mut node.ancestors()),
            (Axis::Ancestor, false) => tree(&mut node.ancestors().skip(1)),
            (Axis::AncestorOrSelf, true) => {
                std::iter::once(*self).chain(tree(&mut node.ancestors())).collect()
            }
            (Axis::AncestorOrSelf, false) => tree(&mut node.ancestors()),
            (Axis::DescendantOrSelf, true) => vec![*self],
            (Axis::Following, true) => {
                let inside = node.descendants().skip(1);
                tree(&mut inside.chain(following(node)))
            }
            (Axis::Attribute, false) => {
                (0..node.attributes().len()).map(|number| Node::Attribute(node, number)).collect()
            }
            (Axis::Child, false) => tree(&mut node.children()),
            (Axis::Descendant, false) => tree(&mut node.descendants().skip(1)),
            (Axis::DescendantOrSelf, false) => tree(&mut node.descendants()),
            (Axis::Following, false) => tree(&mut following(node)),
            (Axis::FollowingSibling, false) => tree(&mut node.next_siblings().skip(1)),
            (Axis::PrecedingSibling, false) => tree(&mut node.prev_siblings().skip(1)),
            (Axis::Preceding, _) => {
                let before = node.ancestors().flat_map(|around| around.prev_siblings().skip(1));
                tree(&mut before.flat_map(|sibling| {
                    let all: Vec<_> = sibling.descendants().collect();
                    all.into_iter().rev()
                }))
            }
            (Axis::Namespace, _) | (_, true) => Vec::new(),
        }
    }

    /// Whether it is meant by a test on this axis.
    pub(super) fn passes(&self, test: &Test, axis: Axis) -> bool {
        let is_main = match self {
            Node::Attribute(..) => axis == Axis::Attribute,
            Node::Tree(node) => node.is_element(),
        };
        match (test, self) {
            (Test::Node, _) => true,
            (Test::Any, _) => is_main,
            (Test::Name(name), _) => is_main && is_named(&self.name(), name),
            (Test::Text, Node::Tree(node)) => node.is_text(),
            (Test::Comment, Node::Tree(node)) => node.is_comment(),
            (Test::Instruction(target), Node::Tree(node)) => {
                node.pi().is_some_and(|found| target.as_deref().is_none_or(|target| target == found.target))
            }
            (_, Node::Attribute(..)) => false,
        }
    }
}

/// `prefix:*` means all names with the prefix.
fn is_named(name: &str, wanted: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == wanted,
    }
}

fn qualified(prefix: Option<&str>, local: &str) -> String {
    match prefix {
        Some(prefix) if !prefix.is_empty() => format!("{prefix}:{local}"),
        _ => local.to_owned(),
    }
}

/// The name of an element with its prefix.
pub(super) fn element_name(node: Xml<'_, '_>) -> String {
    let name = node.tag_name();
    qualified(name.namespace().and_then(|uri| node.lookup_prefix(uri)), name.name())
}

/// Everything behind the end of a node.
fn following<'d>(node: Xml<'d, 'd>) -> impl Iterator<Item = Xml<'d, 'd>> {
    node.ancestors()
        .flat_map(|around| around.next_siblings().skip(1))
        .flat_map(|sibling| sibling.descendants())
}
