//! Expressions of the Common Expression Language: parsed by the `cel` crate, everything after that is ours.
//!
//! Source text is type-checked against [`super::names`] and compiled once, on a thread whose stack is deep enough for
//! the parser; evaluation borrows the facts, knows three values of logic, and counts its steps.

#[expect(clippy::wildcard_enum_match_arm, reason = "any other node is an error of the expression")]
mod calls;
#[expect(clippy::wildcard_enum_match_arm, reason = "any other node or value is treated alike: an error")]
mod eval;
#[expect(clippy::wildcard_enum_match_arm, reason = "any other type of value is an error")]
mod functions;
#[expect(clippy::wildcard_enum_match_arm, reason = "any other node is an error of the expression")]
mod lower;
mod op;
mod thread;
#[expect(clippy::wildcard_enum_match_arm, reason = "any other node is shown as it is")]
mod trace;
#[expect(clippy::wildcard_enum_match_arm, reason = "any other type of value is an error")]
mod value;

#[cfg(test)]
mod differential;
#[cfg(test)]
mod tests;

use std::fmt;

pub use op::Ty;
pub use thread::on_compile_thread;

pub(super) use eval::{Fault, Meter, Stop};
pub(super) use value::Val;

use self::op::Op;
use super::names::Name;
use super::scope::Scope;
use super::truth::Truth;
use crate::config::limits::{MAX_CEL_DEPTH, MAX_CEL_SOURCE};

/// Why an expression does not compile, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CelProblem {
    /// Line and column in the expression, from 1; none where it is about the whole.
    pub(super) at: Option<(usize, usize)>,
    pub(super) reason: String,
}

impl fmt::Display for CelProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some((line, column)) => write!(f, "{line}:{column}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// A compiled condition.
#[derive(Debug)]
pub(super) struct Condition {
    op: Op,
    names: Vec<Name>,
}

impl Condition {
    /// Parses, checks and compiles a condition: an expression that may be true or false.
    pub(super) fn compile(source: &str) -> Result<Self, CelProblem> {
        let whole = |reason: String| CelProblem { at: None, reason };
        if source.trim().is_empty() {
            return Err(whole("is empty".into()));
        }
        if source.len() > MAX_CEL_SOURCE {
            return Err(whole(format!("is longer than {MAX_CEL_SOURCE} bytes")));
        }
        thread::on_deep_stack(|| Self::compile_here(source))
            .unwrap_or_else(|fault| Err(whole(format!("could not be compiled: {fault}"))))
    }

    fn compile_here(source: &str) -> Result<Self, CelProblem> {
        let parser = cel_interpreter::Env::default().with_optional_support(false).parser();
        let parsed = parser.max_recursion_depth(MAX_CEL_DEPTH).parse_with_source_info(source);
        let (expr, places) = parsed.map_err(|errors| lower::syntax_problem(source, &errors))?;
        let (op, ty, names) = lower::lower(source, &expr, &places)?;
        if ty.clashes(Ty::Bool) {
            return Err(CelProblem {
                at: Some((1, 1)),
                reason: format!("must be true or false, and is a {}", ty.as_str()),
            });
        }
        Ok(Self { op, names })
    }

    /// What the condition says.
    pub(super) fn truth(&self, scope: &Scope<'_>, meter: &mut Meter) -> Truth {
        match eval::as_bool(eval::Eval { scope, meter, locals: Vec::new() }.run(&self.op)) {
            Ok(value) => value.into(),
            Err(Stop::Unknown) => Truth::Unknown,
            Err(Stop::Error(_)) => Truth::Failed,
        }
    }

    /// What the condition says to a rule that needs it to be `wanted` in order to let a call through: failed, where it
    /// is not known yet but can never become that.
    pub(super) fn settled(&self, scope: &Scope<'_>, meter: &mut Meter, wanted: bool) -> Truth {
        let truth = self.truth(scope, meter);
        let hopeless = truth == Truth::Unknown && !eval::may_be(&self.op, wanted, scope, meter);
        if hopeless { Truth::Failed } else { truth }
    }

    /// What decided it: the sub-expression, with the values it saw.
    pub(super) fn because(&self, scope: &Scope<'_>, meter: &mut Meter) -> String {
        trace::because(&self.op, scope, meter)
    }

    /// Whether the condition is the literal `false`.
    pub(super) fn is_never(&self) -> bool {
        matches!(self.op, Op::Literal(op::Literal::Bool(false)))
    }

    /// The labels that the condition asks for by name: `"x" in session.labels`.
    pub(super) fn labels(&self) -> Vec<&str> {
        let mut labels = Vec::new();
        self.op.each(&mut |op| labels.extend(op.label()));
        labels
    }

    /// Whether the condition reads `name`.
    pub(super) fn reads(&self, name: Name) -> bool {
        self.names.contains(&name)
    }
}
