//! The grammar of questions: sections 2 and 3 of the recommendation.

use super::Error;
use super::token::{Token, tokens};

/// Deeper questions are not asked.
const MAX_DEPTH: usize = 100;

/// A question or a part of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    /// `and`, `or`, `=`, `+`, `|`, ...
    Binary(&'static str, Box<Expr>, Box<Expr>),
    Negate(Box<Expr>),
    Number(f64),
    Literal(String),
    Call(String, Vec<Expr>),
    /// A value of which some nodes are chosen.
    Filter(Box<Expr>, Vec<Expr>),
    /// A way from where one stands, from the root, or from the nodes of a value.
    Path(Start, Vec<Step>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Start {
    Here,
    Root,
    Nodes(Box<Expr>),
}

/// One step on a way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub(super) axis: Axis,
    pub(super) test: Test,
    pub(super) predicates: Vec<Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    Ancestor,
    AncestorOrSelf,
    Attribute,
    Child,
    Descendant,
    DescendantOrSelf,
    Following,
    FollowingSibling,
    Namespace,
    Parent,
    Preceding,
    PrecedingSibling,
    Own,
}

/// Which nodes of an axis are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    /// `*`: whatever the axis is about.
    Any,
    /// `name` or `prefix:name`
    Name(String),
    /// `node()`
    Node,
    /// `text()`
    Text,
    /// `comment()`
    Comment,
    /// `processing-instruction()`, perhaps with its name.
    Instruction(Option<String>),
}

/// Operators, those that bind least first; each level is read from left to right.
const LEVELS: [&[&str]; 7] =
    [&["or"], &["and"], &["=", "!="], &["<=", "<", ">=", ">"], &["+", "-"], &["*", "div", "mod"], &["|"]];
/// A minus sign stands before operands of this level.
const UNION: usize = 6;

struct Parser {
    tokens: Vec<(Token, usize)>,
    next: usize,
    end: usize,
    depth: usize,
}

/// Reads a whole question.
pub(super) fn parse(text: &str) -> Result<Expr, Error> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, end: text.len() + 1, depth: 0 };
    let expr = parser.level(0)?;
    match parser.peek() {
        None => Ok(expr),
        Some(_) => Err(parser.wrong("the query should end")),
    }
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    fn wrong(&self, what: &str) -> Error {
        let at = self.tokens.get(self.next).map_or(self.end, |(_, at)| *at);
        Error::Query { what: what.to_owned(), at }
    }

    fn is_at(&self, mark: &str) -> bool {
        matches!(self.peek(), Some(Token::Mark(found)) if *found == mark)
    }

    fn takes(&mut self, mark: &str) -> bool {
        let is_it = self.is_at(mark);
        self.next += usize::from(is_it);
        is_it
    }

    fn expects(&mut self, mark: &str) -> Result<(), Error> {
        if self.takes(mark) { Ok(()) } else { Err(self.wrong(&format!("'{mark}' is missing"))) }
    }

    fn level(&mut self, level: usize) -> Result<Expr, Error> {
        let Some(operators) = LEVELS.get(level) else { return self.path() };
        if level == 0 {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(self.wrong("the query is nested too deeply"));
            }
        }
        let mut negative = false;
        let mut signs = 0;
        while level == UNION && self.takes("-") {
            negative = !negative;
            signs += 1;
        }
        let mut left = self.level(level + 1)?;
        while let Some(operator) = operators.iter().find(|operator| self.is_at(operator)) {
            self.next += 1;
            left = Expr::Binary(operator, Box::new(left), Box::new(self.level(level + 1)?));
        }
        if signs > 0 {
            // Two signs still make a number of it.
            let inner = Expr::Negate(Box::new(left));
            left = if negative { inner } else { Expr::Negate(Box::new(inner)) };
        }
        if level == 0 {
            self.depth -= 1;
        }
        Ok(left)
    }

    fn path(&mut self) -> Result<Expr, Error> {
        if self.takes("//") {
            return Ok(Expr::Path(Start::Root, self.steps(vec![anywhere()])?));
        }
        if self.takes("/") {
            let steps = if self.starts_step() { self.steps(Vec::new())? } else { Vec::new() };
            return Ok(Expr::Path(Start::Root, steps));
        }
        let Some(value) = self.value()? else { return Ok(Expr::Path(Start::Here, self.steps(Vec::new())?)) };
        let predicates = self.predicates()?;
        let value = if predicates.is_empty() { value } else { Expr::Filter(Box::new(value), predicates) };
        let first = match (self.takes("//"), self.is_at("/")) {
            (true, _) => vec![anywhere()],
            (false, true) => {
                self.next += 1;
                Vec::new()
            }
            (false, false) => return Ok(value),
        };
        Ok(Expr::Path(Start::Nodes(Box::new(value)), self.steps(first)?))
    }

    /// What is no way: a literal, a number, a call, something in parentheses.
    fn value(&mut self) -> Result<Option<Expr>, Error> {
        let expr = match self.peek() {
            Some(Token::Literal(text)) => Expr::Literal(text.clone()),
            Some(Token::Number(number)) => Expr::Number(*number),
            Some(Token::Function(name)) if !is_node_type(name) => {
                let name = name.clone();
                self.next += 1;
                return Ok(Some(Expr::Call(name, self.arguments()?)));
            }
            Some(Token::Mark("(")) => {
                self.next += 1;
                let inner = self.level(0)?;
                self.expects(")")?;
                return Ok(Some(inner));
            }
            Some(Token::Mark("$")) => return Err(self.wrong("there are no variables")),
            _ => return Ok(None),
        };
        self.next += 1;
        Ok(Some(expr))
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, Error> {
        self.expects("(")?;
        let mut arguments = Vec::new();
        if self.takes(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.level(0)?);
            if !self.takes(",") {
                self.expects(")")?;
                return Ok(arguments);
            }
        }
    }

    fn predicates(&mut self) -> Result<Vec<Expr>, Error> {
        let mut predicates = Vec::new();
        while self.takes("[") {
            predicates.push(self.level(0)?);
            self.expects("]")?;
        }
        Ok(predicates)
    }

    fn starts_step(&self) -> bool {
        match self.peek() {
            Some(Token::Name(_) | Token::Axis(_) | Token::Mark("." | ".." | "@" | "*n")) => true,
            Some(Token::Function(name)) => is_node_type(name),
            _ => false,
        }
    }

    /// A step and those that follow it.
    fn steps(&mut self, mut steps: Vec<Step>) -> Result<Vec<Step>, Error> {
        loop {
            steps.push(self.step()?);
            if self.takes("//") {
                steps.push(anywhere());
            } else if !self.takes("/") {
                return Ok(steps);
            }
        }
    }

    fn step(&mut self) -> Result<Step, Error> {
        let short = |axis| Step { axis, test: Test::Node, predicates: Vec::new() };
        if self.takes(".") {
            return Ok(short(Axis::Own));
        }
        if self.takes("..") {
            return Ok(short(Axis::Parent));
        }
        let axis = match self.peek() {
            Some(Token::Mark("@")) => {
                self.next += 1;
                Axis::Attribute
            }
            Some(Token::Axis(name)) => {
                let axis = axis(name).ok_or_else(|| self.wrong("there is no such axis"))?;
                self.next += 1;
                self.expects("::")?;
                axis
            }
            _ => Axis::Child,
        };
        let test = self.test()?;
        Ok(Step { axis, test, predicates: self.predicates()? })
    }

    fn test(&mut self) -> Result<Test, Error> {
        let (token, what) = (self.peek().cloned(), self.wrong("a step is missing"));
        match token {
            Some(Token::Mark("*n")) => {
                self.next += 1;
                Ok(Test::Any)
            }
            Some(Token::Name(name)) => {
                self.next += 1;
                Ok(Test::Name(name))
            }
            Some(Token::Function(name)) if is_node_type(&name) => {
                self.next += 1;
                self.expects("(")?;
                let own = match self.peek() {
                    Some(Token::Literal(text)) if name == "processing-instruction" => Some(text.clone()),
                    _ => None,
                };
                self.next += usize::from(own.is_some());
                self.expects(")")?;
                Ok(match name.as_str() {
                    "text" => Test::Text,
                    "comment" => Test::Comment,
                    "node" => Test::Node,
                    _ => Test::Instruction(own),
                })
            }
            _ => Err(what),
        }
    }
}

/// What `//` stands for.
fn anywhere() -> Step {
    Step { axis: Axis::DescendantOrSelf, test: Test::Node, predicates: Vec::new() }
}

fn is_node_type(name: &str) -> bool {
    matches!(name, "comment" | "text" | "processing-instruction" | "node")
}

fn axis(name: &str) -> Option<Axis> {
    Some(match name {
        "ancestor" => Axis::Ancestor,
        "ancestor-or-self" => Axis::AncestorOrSelf,
        "attribute" => Axis::Attribute,
        "child" => Axis::Child,
        "descendant" => Axis::Descendant,
        "descendant-or-self" => Axis::DescendantOrSelf,
        "following" => Axis::Following,
        "following-sibling" => Axis::FollowingSibling,
        "namespace" => Axis::Namespace,
        "parent" => Axis::Parent,
        "preceding" => Axis::Preceding,
        "preceding-sibling" => Axis::PrecedingSibling,
        "self" => Axis::Own,
        _ => return None,
    })
}
