use std::fmt;

use super::value::Val;
use crate::policy::names::{Group, Name};

/// Static types. `Dyn` is known only at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ty {
    /// Known only at run time.
    Dyn,
    /// `null`
    Null,
    /// `bool`
    Bool,
    /// `int`, 64 bits
    Int,
    /// `uint`, 64 bits
    Uint,
    /// `double`
    Double,
    /// `string`
    Str,
    /// `bytes`
    Bytes,
    /// `list`
    List,
    /// `map`
    Map,
}

impl Ty {
    /// As CEL writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dyn => "dyn",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Str => "string",
            Self::Bytes => "bytes",
            Self::List => "list",
            Self::Map => "map",
        }
    }

    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }

    /// Whether a value of this type can surely not be of `other`.
    pub(super) fn clashes(self, other: Self) -> bool {
        self != other && self != Self::Dyn && other != Self::Dyn
    }
}

/// One compiled node.
#[derive(Debug)]
pub(in crate::policy) enum Op {
    Literal(Literal),
    /// A variable of a macro, by its place from the outside in.
    Local(usize, Box<str>),
    Name(Name, &'static str),
    Select(Box<Self>, Box<str>),
    /// `has(operand.field)`
    Has(Box<Self>, Box<str>),
    HasName(Name, &'static str),
    HasGroup(Group, &'static str),
    Index(Box<Self>, Box<Self>),
    In(Box<Self>, Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Cond(Box<Self>, Box<Self>, Box<Self>),
    Compare(Compare, Box<Self>, Box<Self>),
    Arith(Arith, Box<Self>, Box<Self>),
    Neg(Box<Self>),
    Text(TextTest, Box<Self>, Box<Self>),
    Matches(Box<Self>, regex::Regex),
    Convert(Convert, Box<Self>),
    List(Box<[Self]>),
    Map(Box<[(Self, Self)]>),
    Fold(Box<Fold>),
}

impl Op {
    /// Calls `see` with every node of the expression.
    pub(super) fn each<'o>(&'o self, see: &mut dyn FnMut(&'o Self)) {
        see(self);
        match self {
            Self::Literal(_) | Self::Local(..) | Self::Name(..) | Self::HasName(..) | Self::HasGroup(..) => {}
            Self::Select(a, _)
            | Self::Has(a, _)
            | Self::Not(a)
            | Self::Neg(a)
            | Self::Matches(a, _)
            | Self::Convert(_, a) => a.each(see),
            Self::Index(a, b)
            | Self::In(a, b)
            | Self::And(a, b)
            | Self::Or(a, b)
            | Self::Compare(_, a, b)
            | Self::Arith(_, a, b)
            | Self::Text(_, a, b) => [a, b].into_iter().for_each(|op| op.each(see)),
            Self::Cond(a, b, c) => [a, b, c].into_iter().for_each(|op| op.each(see)),
            Self::List(items) => items.iter().for_each(|op| op.each(see)),
            Self::Map(pairs) => pairs.iter().flat_map(|(key, value)| [key, value]).for_each(|op| op.each(see)),
            Self::Fold(fold) => {
                [Some(&fold.range), fold.filter.as_ref(), Some(&fold.body)]
                    .into_iter()
                    .flatten()
                    .for_each(|op| op.each(see));
            }
        }
    }

    /// The label that this node asks for, if it does.
    pub(super) fn label(&self) -> Option<&str> {
        let Self::In(item, of) = self else { return None };
        match (&**item, &**of) {
            (Self::Literal(Literal::Str(label)), Self::Name(Name::SessionLabels, _)) => Some(label),
            _ => None,
        }
    }
}

/// `range.kind(var, body)`, or `range.map(var, filter, body)`.
#[derive(Debug)]
pub(in crate::policy) struct Fold {
    pub(super) kind: FoldKind,
    pub(super) range: Op,
    pub(super) variable: Box<str>,
    pub(super) filter: Option<Op>,
    pub(super) body: Op,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FoldKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

#[derive(Debug)]
pub(in crate::policy) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Str(Box<str>),
    Bytes(Box<[u8]>),
}

impl Literal {
    pub(super) fn value(&self) -> Val<'_> {
        match self {
            Self::Null => Val::Null,
            Self::Bool(b) => Val::Bool(*b),
            Self::Int(i) => Val::Int(*i),
            Self::Uint(u) => Val::Uint(*u),
            Self::Double(d) => Val::Double(*d),
            Self::Str(text) => Val::text(text),
            Self::Bytes(bytes) => Val::Bytes(bytes.as_ref().into()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arith {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Convert {
    Size,
    Lower,
    Upper,
    Str,
    Int,
    Uint,
    Double,
    Dyn,
}

impl Compare {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        }
    }
}

impl Arith {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Rem => "%",
        }
    }
}

impl TextTest {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Contains => "contains",
        }
    }
}

impl Convert {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Lower => "lowerAscii",
            Self::Upper => "upperAscii",
            Self::Str => "string",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Dyn => "dyn",
        }
    }
}

impl FoldKind {
    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Exists => "exists",
            Self::ExistsOne => "exists_one",
            Self::Filter => "filter",
            Self::Map => "map",
        }
    }
}

/// The expression as CEL, in one canonical form; what `explain` shows of a sub-expression.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => literal.fmt(f),
            Self::Local(_, name) => f.write_str(name),
            Self::Name(_, path) => f.write_str(path),
            Self::Select(of, field) => write!(f, "{}.{field}", Tight(of)),
            Self::Has(of, field) => write!(f, "has({}.{field})", Tight(of)),
            Self::HasName(_, path) | Self::HasGroup(_, path) => write!(f, "has({path})"),
            Self::Index(of, key) => write!(f, "{}[{key}]", Tight(of)),
            Self::In(item, of) => write!(f, "{} in {}", Tight(item), Tight(of)),
            Self::And(a, b) => write!(f, "{} && {}", Tight(a), Tight(b)),
            Self::Or(a, b) => write!(f, "{} || {}", Tight(a), Tight(b)),
            Self::Not(a) => write!(f, "!{}", Tight(a)),
            Self::Cond(c, a, b) => write!(f, "{} ? {} : {}", Tight(c), Tight(a), Tight(b)),
            Self::Compare(op, a, b) => write!(f, "{} {} {}", Tight(a), op.sign(), Tight(b)),
            Self::Arith(op, a, b) => write!(f, "{} {} {}", Tight(a), op.sign(), Tight(b)),
            // A minus that touches a number would be read as part of it.
            Self::Neg(a) if matches!(**a, Self::Literal(_)) => write!(f, "-({a})"),
            Self::Neg(a) => write!(f, "-{}", Tight(a)),
            Self::Text(test, a, b) => write!(f, "{}.{}({b})", Tight(a), test.name()),
            Self::Matches(a, regex) => write!(f, "{}.matches({:?})", Tight(a), regex.as_str()),
            Self::Convert(Convert::Lower, a) => write!(f, "{}.lowerAscii()", Tight(a)),
            Self::Convert(Convert::Upper, a) => write!(f, "{}.upperAscii()", Tight(a)),
            Self::Convert(to, a) => write!(f, "{}({a})", to.name()),
            Self::List(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Map(pairs) => {
                f.write_str("{")?;
                for (at, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
            Self::Fold(fold) => {
                write!(f, "{}.{}({}, ", Tight(&fold.range), fold.kind.name(), fold.variable)?;
                if let Some(filter) = &fold.filter {
                    write!(f, "{filter}, ")?;
                }
                write!(f, "{})", fold.body)
            }
        }
    }
}

/// An operand, in parentheses where it would bind less tightly than what surrounds it.
struct Tight<'a>(&'a Op);

impl fmt::Display for Tight<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loose = matches!(
            self.0,
            Op::And(..) | Op::Or(..) | Op::Cond(..) | Op::Compare(..) | Op::Arith(..) | Op::In(..) | Op::Neg(_)
        );
        if loose { write!(f, "({})", self.0) } else { self.0.fmt(f) }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Int(i) => write!(f, "{i}"),
            Self::Uint(u) => write!(f, "{u}u"),
            Self::Double(d) => write!(f, "{d:?}"),
            Self::Str(text) => write!(f, "{text:?}"),
            Self::Bytes(bytes) => write!(f, "b{:?}", String::from_utf8_lossy(bytes)),
        }
    }
}
