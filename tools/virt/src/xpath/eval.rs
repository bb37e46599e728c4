//! Answers questions: section 2 and 3 of the recommendation.

use super::Error;
use super::functions;
use super::node::Node;
use super::parse::{Axis, Expr, Start, Step};
use super::value::{Value, in_order};

/// Where a part of a question is asked: at a node, which is one of several.
#[derive(Clone, Copy)]
pub(super) struct Context<'d> {
    pub(super) node: Node<'d>,
    /// From 1.
    pub(super) position: usize,
    pub(super) size: usize,
}

/// Answers a question at a node.
pub(super) fn evaluate<'d>(question: &Expr, node: Node<'d>) -> Result<Value<'d>, Error> {
    value(question, Context { node, position: 1, size: 1 })
}

/// The value of a part of a question.
pub(super) fn value<'d>(expr: &Expr, at: Context<'d>) -> Result<Value<'d>, Error> {
    Ok(match expr {
        Expr::Number(number) => Value::Number(*number),
        Expr::Literal(text) => Value::Text(text.clone()),
        Expr::Negate(inner) => Value::Number(-value(inner, at)?.to_number()),
        Expr::Binary(operator, left, right) => binary(operator, left, right, at)?,
        Expr::Call(name, arguments) => functions::call(name, arguments, at)?,
        Expr::Filter(inner, predicates) => {
            let mut nodes = nodes(inner, at)?;
            for predicate in predicates {
                nodes = chosen(nodes, predicate)?;
            }
            Value::Nodes(nodes)
        }
        Expr::Path(start, steps) => {
            let from = match start {
                Start::Here => vec![at.node],
                Start::Root => vec![at.node.root()],
                Start::Nodes(inner) => nodes(inner, at)?,
            };
            walk(from, steps)?
        }
    })
}

/// The nodes that a part of a question means.
fn nodes<'d>(expr: &Expr, at: Context<'d>) -> Result<Vec<Node<'d>>, Error> {
    match value(expr, at)? {
        Value::Nodes(nodes) => Ok(nodes),
        _ => Err(Error::Evaluation("nodes are needed where there is a value".to_owned())),
    }
}

fn binary<'d>(operator: &str, left: &Expr, right: &Expr, at: Context<'d>) -> Result<Value<'d>, Error> {
    match operator {
        "or" => return Ok(Value::Bool(value(left, at)?.to_bool() || value(right, at)?.to_bool())),
        "and" => return Ok(Value::Bool(value(left, at)?.to_bool() && value(right, at)?.to_bool())),
        "|" => {
            let mut all = nodes(left, at)?;
            all.extend(nodes(right, at)?);
            return Ok(Value::Nodes(in_order(all)));
        }
        _ => {}
    }
    let (left, right) = (value(left, at)?, value(right, at)?);
    let numbers = || (left.to_number(), right.to_number());
    let number = match operator {
        "+" => numbers().0 + numbers().1,
        "-" => numbers().0 - numbers().1,
        "*" => numbers().0 * numbers().1,
        "div" => numbers().0 / numbers().1,
        "mod" => numbers().0 % numbers().1,
        _ => return Ok(Value::Bool(left.compares(operator, &right))),
    };
    Ok(Value::Number(number))
}

fn walk<'d>(from: Vec<Node<'d>>, steps: &[Step]) -> Result<Value<'d>, Error> {
    let mut here = from;
    let mut steps = steps.iter().peekable();
    while let Some(step) = steps.next() {
        // `//name` asks everything for its children; without predicates, which count among siblings, those are all
        // nodes below.
        let below = match steps.peek() {
            Some(next) if is_anywhere(step) && next.axis == Axis::Child && next.predicates.is_empty() => {
                let direct = Step { axis: Axis::Descendant, ..(*next).clone() };
                steps.next();
                Some(direct)
            }
            _ => None,
        };
        let step = below.as_ref().unwrap_or(step);
        let mut reached = Vec::new();
        for node in here {
            let mut nodes = node.along(step.axis);
            nodes.retain(|node| node.passes(&step.test, step.axis));
            for predicate in &step.predicates {
                nodes = chosen(nodes, predicate)?;
            }
            reached.extend(nodes);
        }
        here = in_order(reached);
    }
    Ok(Value::Nodes(here))
}

fn is_anywhere(step: &Step) -> bool {
    step.axis == Axis::DescendantOrSelf && step.test == super::parse::Test::Node && step.predicates.is_empty()
}

/// The nodes for which a predicate holds; a number means the node at that position.
fn chosen<'d>(nodes: Vec<Node<'d>>, predicate: &Expr) -> Result<Vec<Node<'d>>, Error> {
    let size = nodes.len();
    let mut kept = Vec::new();
    for (index, node) in nodes.into_iter().enumerate() {
        let position = index + 1;
        let holds = match value(predicate, Context { node, position, size })? {
            Value::Number(number) => number == position as f64,
            other => other.to_bool(),
        };
        if holds {
            kept.push(node);
        }
    }
    Ok(kept)
}
