//! Whose a cursor is: what a client gets with a page of a list is sealed, for whoever asked, on the same target, for the same
//! list. A cursor may name anything – a row, a query, another caller's place – and servers in a mesh cannot tell who brings
//! it.

use std::sync::Arc;

use super::sessions::Holder;
use crate::call::McpCall;
use crate::seal::{Fields, Purpose, Reading, SealFault, Sealer};
use crate::wire::mcp::ServerMessage;

/// A server's own cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The endpoint that gave it, which knows best where to go on.
    pub(super) endpoint: Arc<str>,
    /// As that one says it.
    pub(super) text: Box<str>,
}

/// Why a list's cursor is not handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untold {
    /// Its server said none that can be read in one way.
    Bad,
    /// It could not be sealed.
    Unsealed(SealFault),
}

impl Cursor {
    /// As its client gets it, after a page of `method`.
    fn seal(sealer: &Sealer, holder: &Holder, method: &str, own: (&str, &str)) -> Result<String, SealFault> {
        let mut fields = Fields::default();
        fields.text(own.0).text(own.1);
        sealer.seal(Purpose::Cursor, &bound(holder, method), &fields.into_bytes())
    }

    /// Has a list of `endpoint`, the answer to `request`, hand its cursor on to its holder alone, who is asked for only where
    /// there is one.
    ///
    /// # Errors
    /// [`Untold`]: then the list must not pass, as it would look whole.
    pub(super) fn tell(
        sealer: &Sealer,
        (holder, endpoint): (impl Fn() -> Holder, &str),
        request: &McpCall,
        message: &mut ServerMessage,
    ) -> Result<(), Untold> {
        let mut fault = None;
        let seal = |own: &str| {
            let sealed = Self::seal(sealer, &holder(), &request.method, (endpoint, own));
            sealed.map_err(|failed| fault = Some(failed)).ok()
        };
        let told = message.tell_cursor(request, seal);
        told.map_err(|_bad| fault.map_or(Untold::Bad, Untold::Unsealed))
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

    #[test]
    fn a_cursor_that_cannot_be_sealed_or_read_goes_nowhere() {
        let (call, own) = (McpCall::base("tools/list", None, None), holder("a", None, "notes"));
        let tell = |sealer: &Sealer, next: &str| {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[],{next}}}}}"#);
            let mut message = ServerMessage::parse(text.as_bytes()).unwrap();
            let told = Cursor::tell(sealer, (|| own.clone(), "e"), &call, &mut message);
            told.map(|()| String::from_utf8(message.canonical()).unwrap())
        };
        let sealer = Sealer::new(&Secret::new([1; 32]), &[]).unwrap();
        let passed = tell(&sealer, r#""nextCursor":"row 5""#).unwrap();
        assert!(passed.contains("nextCursor") && !passed.contains("row 5"), "{passed}");
        let long = format!(r#""nextCursor":"{}""#, "x".repeat(crate::config::limits::MAX_SEALED));
        assert_eq!(tell(&sealer, &long), Err(Untold::Unsealed(SealFault::TooLong)));
        let without = Sealer::without_keys();
        assert_eq!(tell(&without, r#""nextCursor":"row 5""#), Err(Untold::Unsealed(SealFault::Cipher)));
        assert!(tell(&without, r#""ttlMs":1"#).is_ok());
        for bad in [r#""nextCursor":5"#, r#""NextCursor":"row 5""#, r#""nextCursor":"a","nextcursor":"row 5""#] {
            assert_eq!(tell(&sealer, bad), Err(Untold::Bad), "{bad}");
        }
    }
}
