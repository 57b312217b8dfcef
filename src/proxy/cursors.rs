//! Whose a cursor is: what a client gets with a page of a list is sealed, for whoever asked, on the same target, for the same
//! list. A cursor may name anything – a row, a query, another caller's place – and servers in a mesh cannot tell who brings
//! it.

use std::sync::Arc;

use super::sessions::Holder;
use crate::seal::{Fields, Purpose, Reading, SealFault, Sealer};

/// A server's own cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The endpoint that gave it, which knows best where to go on.
    pub(super) endpoint: Arc<str>,
    /// As that one says it.
    pub(super) text: Box<str>,
}

impl Cursor {
    /// As its client gets it, after a page of `method`.
    pub(super) fn seal(sealer: &Sealer, holder: &Holder, method: &str, own: (&str, &str)) -> Result<String, SealFault> {
        let mut fields = Fields::default();
        fields.text(own.0).text(own.1);
        sealer.seal(Purpose::Cursor, &bound(holder, method), &fields.into_bytes())
    }

    /// What was sealed for `holder` after a page of `method`.
    pub(super) fn open(sealer: &Sealer, holder: &Holder, method: &str, sealed: &str) -> Option<Self> {
        let opened = sealer.open(Purpose::Cursor, &bound(holder, method), sealed)?;
        let mut reading = Reading::new(&opened);
        let (endpoint, text) = (reading.text()?.into(), reading.text()?.into());
        reading.is_over().then_some(Self { endpoint, text })
    }
}

fn bound(holder: &Holder, method: &str) -> Vec<u8> {
    let mut fields = holder.fields();
    fields.text(method);
    fields.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::WorkloadId;
    use crate::mesh::{TargetKey, TargetKind};
    use crate::seal::Secret;

    fn holder(owner: &str, subject: Option<&str>, service: &str) -> Holder {
        let owner = WorkloadId::parse(&format!("spiffe://td/ns/agents/sa/{owner}")).unwrap();
        let kind = TargetKind::Service;
        let target = TargetKey { kind, namespace: "tools".into(), name: service.into(), port: 80, at: None };
        Holder { owner, subject: subject.map(Into::into), target }
    }

    #[test]
    fn a_cursor_opens_for_its_caller_target_and_list_alone() {
        let sealer = Sealer::new(&Secret::new([1; 32]), &[]).unwrap();
        let own = holder("a", Some("alice"), "notes");
        let sealed = Cursor::seal(&sealer, &own, "tools/list", ("10.0.0.1:80", "row 5")).unwrap();
        assert!(!sealed.contains("row"));
        let open = |holder: &Holder, method: &str, sealed: &str| Cursor::open(&sealer, holder, method, sealed);
        let cursor = Cursor { endpoint: "10.0.0.1:80".into(), text: "row 5".into() };
        assert_eq!(open(&own, "tools/list", &sealed), Some(cursor));
        let mut tampered = sealed.clone();
        tampered.replace_range(20..21, if sealed.get(20..21) == Some("A") { "B" } else { "A" });
        for (holder, method, sealed) in [
            (holder("b", Some("alice"), "notes"), "tools/list", &*sealed),
            (holder("a", Some("bob"), "notes"), "tools/list", &sealed),
            (holder("a", None, "notes"), "tools/list", &sealed),
            (holder("a", Some("alice"), "other"), "tools/list", &sealed),
            (own.clone(), "prompts/list", &sealed),
            (own.clone(), "tools/list", &tampered),
            (own.clone(), "tools/list", "row 5"),
            (own, "tools/list", ""),
        ] {
            assert_eq!(open(&holder, method, sealed), None, "{holder:?} {method} {sealed}");
        }
    }
}
