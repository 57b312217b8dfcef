use super::eval::{Eval, Fault, Meter, Stop, as_bool};
use super::op::Op;
use crate::policy::scope::Scope;

/// The sub-expression that decided, and the values of its operands: for `a && b` that is false, the side that is false.
pub(super) fn because(op: &Op, scope: &Scope<'_>, meter: &mut Meter) -> String {
    let result = value_of(op, scope, meter);
    let (a, b, absorbing) = match op {
        Op::And(a, b) => (a, b, false),
        Op::Or(a, b) => (a, b, true),
        Op::Not(inner) => return because(inner, scope, meter),
        Op::Cond(condition, a, b) => {
            let branch = match value_of(condition, scope, meter) {
                Ok(true) => a,
                Ok(false) => b,
                Err(_) => condition,
            };
            return because(branch, scope, meter);
        }
        _ => return leaf(op, &result, scope, meter),
    };
    if result == Ok(!absorbing) {
        return leaf(op, &result, scope, meter);
    }
    // Absorbed by the first side that says so; failed or unknown by the first side that is.
    for side in [a, b] {
        if value_of(side, scope, meter) == result {
            return because(side, scope, meter);
        }
    }
    leaf(op, &result, scope, meter)
}

fn value_of(op: &Op, scope: &Scope<'_>, meter: &mut Meter) -> Result<bool, Stop> {
    as_bool(Eval { scope, meter, locals: Vec::new() }.run(op))
}

fn leaf(op: &Op, result: &Result<bool, Stop>, scope: &Scope<'_>, meter: &mut Meter) -> String {
    let said = match result {
        Ok(value) => format!("`{op}` is {value}"),
        Err(Stop::Unknown) => format!("`{op}` is not known yet"),
        Err(Stop::Error(fault)) => format!("`{op}` fails: {fault}"),
    };
    let seen: Vec<String> = operands(op).into_iter().filter_map(|part| show(part, scope, meter)).collect();
    if seen.is_empty() { said } else { format!("{said}, where {}", seen.join(" and ")) }
}

/// The operands of a node that are worth showing.
fn operands(op: &Op) -> Vec<&Op> {
    match op {
        Op::Compare(_, a, b) | Op::In(a, b) | Op::Text(_, a, b) => vec![a, b],
        Op::Matches(a, _) => vec![a],
        Op::Fold(fold) => vec![&fold.range],
        _ => vec![],
    }
}

fn show(op: &Op, scope: &Scope<'_>, meter: &mut Meter) -> Option<String> {
    if matches!(op, Op::Literal(_) | Op::List(_)) {
        return None;
    }
    match (Eval { scope, meter, locals: Vec::new() }).run(op) {
        Ok(value) => Some(format!("`{op}` is {}", value.show())),
        Err(Stop::Error(fault @ (Fault::Absent | Fault::NoSuchKey))) => Some(format!("`{op}`: {fault}")),
        Err(_) => None,
    }
}
