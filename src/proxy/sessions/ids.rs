//! The ids of one session's messages, sealed. A server gets each request under an id of ours, and a client each request of
//! its server: whatever answers it says by its id what it answers, on whichever stream of whichever replica it comes, and
//! no other answer can be taken for it. An event id keeps its text and has a mark, by which a stream is resumed after
//! events of its own session only.

use std::sync::Arc;

use super::{Holder, SessionKey};
use crate::call::{Elicitation, Knowable, McpCall, McpObject, ResourceUri, ServerRequest, Task, Value};
use crate::seal::{Fields, MARK_TEXT, Purpose, Reading, SealFault, Sealer};
use crate::wire::json;
use crate::wire::jsonrpc::Id;

/// Parameters of a server's request that fit into an id, bytes. One with more is known only where it was passed on.
const MAX_PARAMS: usize = 2 << 10;

/// Between an event's id and its mark.
const DOT: char = '.';

/// Seals and opens them.
#[derive(Debug)]
pub(super) struct Ids {
    sealer: Sealer,
    bound: Vec<u8>,
}

impl Ids {
    pub(super) fn new(sealer: Sealer, holder: &Holder, key: &SessionKey) -> Self {
        let mut fields = holder.fields();
        fields.text(&key.endpoint).text(&key.id);
        Self { sealer, bound: fields.into_bytes() }
    }

    /// Another id for `id`, the request `call`.
    pub(super) fn seal(&self, purpose: Purpose, id: &Id, call: &McpCall) -> Result<Id, SealFault> {
        let mut fields = Fields::default();
        fields.text(id.as_json());
        write(&mut fields, call);
        Ok(Id::of_text(&self.sealer.seal(purpose, &self.bound, &fields.into_bytes())?))
    }

    /// What `sealed` stands for: the id that was sealed, and the call without its arguments. `session` is the digest of the
    /// session's id.
    pub(super) fn open(&self, purpose: Purpose, sealed: &Id, session: Option<Arc<str>>) -> Option<(Id, McpCall)> {
        let opened = self.sealer.open(purpose, &self.bound, sealed.plain())?;
        let mut reading = Reading::new(&opened);
        let id = Id::read(&json::parse(reading.text()?.as_bytes()).ok()?)?;
        let call = read(&mut reading, session)?;
        reading.is_over().then_some((id, call))
    }

    /// `event` as the session's client gets it.
    pub(super) fn mark(&self, event: &str) -> String {
        format!("{event}{DOT}{}", self.sealer.mark(Purpose::Event, &self.bound, event))
    }

    /// The server's own id of a marked event.
    pub(super) fn unmark<'a>(&self, event: &'a str) -> Option<&'a str> {
        let (event, mark) = event.split_at_checked(event.len().checked_sub(MARK_TEXT + DOT.len_utf8())?)?;
        let mark = mark.strip_prefix(DOT)?;
        self.sealer.is_marked(Purpose::Event, &self.bound, event, mark).then_some(event)
    }
}

fn write(fields: &mut Fields, call: &McpCall) {
    fields.text(&call.method).maybe(call.version.as_deref());
    match &call.object {
        McpObject::Base => fields.byte(0),
        McpObject::Other => fields.byte(1),
        McpObject::Setting => fields.byte(2),
        McpObject::Subscription(_) => fields.byte(3),
        McpObject::Tool { name, .. } => fields.byte(4).maybe(name.known().map(|name| &**name)),
        McpObject::Prompt { name, .. } => fields.byte(5).maybe(name.known().map(|name| &**name)),
        McpObject::Resource(Knowable::Unknown) => fields.byte(6),
        McpObject::Resource(Knowable::Known(uri)) => {
            let normal = (uri.normal != uri.raw).then_some(&*uri.normal);
            fields.byte(7).text(&uri.raw).maybe(normal)
        }
        McpObject::Task(Task { id, tool, created }) => {
            fields.byte(8).maybe(id.known().map(|id| &**id)).maybe(tool.as_deref()).maybe(created.as_deref())
        }
        McpObject::ServerRequest(request) => {
            let (url, host) = match &request.elicitation {
                Some(Elicitation::Url { url, host }) => (Some(&**url), Some(&**host)),
                Some(Elicitation::Form) | None => (None, None),
            };
            let mut params = Vec::new();
            json::write_object(&request.params, &mut params);
            let params = std::str::from_utf8(&params).ok().filter(|params| params.len() <= MAX_PARAMS);
            fields.byte(9).maybe(request.tool.as_deref()).byte(request.elicitation.is_some().into());
            fields.maybe(url).maybe(host).maybe(params)
        }
    };
}

fn read(reading: &mut Reading<'_>, session: Option<Arc<str>>) -> Option<McpCall> {
    let (method, version) = (reading.text()?.into(), reading.maybe()?.map(Into::into));
    let object = object(reading)?;
    Some(McpCall { method, object, version, session })
}

fn object(reading: &mut Reading<'_>) -> Option<McpObject> {
    let knowable = |text: Option<&str>| text.map_or(Knowable::Unknown, |text| Knowable::Known(Arc::from(text)));
    Some(match reading.byte()? {
        0 => McpObject::Base,
        1 => McpObject::Other,
        2 => McpObject::Setting,
        3 => McpObject::Subscription(Arc::default()),
        4 => McpObject::Tool { name: knowable(reading.maybe()?), arguments: Knowable::Unknown },
        5 => McpObject::Prompt { name: knowable(reading.maybe()?), arguments: Knowable::Unknown },
        6 => McpObject::Resource(Knowable::Unknown),
        7 => {
            let raw: Arc<str> = reading.text()?.into();
            let normal = reading.maybe()?.map_or_else(|| Arc::clone(&raw), Into::into);
            McpObject::Resource(Knowable::Known(ResourceUri { raw, normal }))
        }
        8 => {
            let (id, tool) = (knowable(reading.maybe()?), reading.maybe()?.map(Into::into));
            McpObject::Task(Task { id, tool, created: reading.maybe()?.map(Into::into) })
        }
        9 => McpObject::ServerRequest(Arc::new(server_request(reading)?)),
        _ => return None,
    })
}

/// None where its parameters did not fit: rules may be about them.
fn server_request(reading: &mut Reading<'_>) -> Option<ServerRequest> {
    let tool = reading.maybe()?.map(Into::into);
    let elicits = reading.byte()? != 0;
    let elicitation = match (elicits, reading.maybe()?, reading.maybe()?) {
        (false, None, None) => None,
        (true, None, None) => Some(Elicitation::Form),
        (true, Some(url), Some(host)) => Some(Elicitation::Url { url: url.into(), host: host.into() }),
        _ => return None,
    };
    let Value::Object(params) = json::parse(reading.maybe()??.as_bytes()).ok()? else { return None };
    Some(ServerRequest { params: Arc::new(params), tool, elicitation })
}
