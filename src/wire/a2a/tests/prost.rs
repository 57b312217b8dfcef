//! Against prost's own decoding: what we read is what a generated reader reads, and nothing that it refuses passes.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Value as Json, json};

use super::{envelope, grpc, rest, rpc};
use crate::call::{A2aBinding, A2aCall, Value};

#[expect(
    unreachable_pub,
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    clippy::clone_on_ref_ptr,
    reason = "generated"
)]
mod v1 {
    tonic::include_proto!("lf.a2a.v1");
}

#[expect(
    unreachable_pub,
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    clippy::clone_on_ref_ptr,
    reason = "generated"
)]
mod v03 {
    tonic::include_proto!("a2a.v1");
}

const SEND: &str = "/lf.a2a.v1.A2AService/SendMessage";
const SEND_03: &str = "/a2a.v1.A2AService/SendMessage";

fn text_of(call: &A2aCall) -> Vec<(String, String)> {
    let parts = call.message.as_ref().and_then(|message| message.get("parts")).and_then(Value::as_array);
    let text = |part: &Value, key: &str| part.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    parts.unwrap_or_default().iter().map(|part| (text(part, "kind"), text(part, "text") + &text(part, "url"))).collect()
}

fn part() -> impl Strategy<Value = v1::Part> {
    use v1::part::Content;
    let content = prop_oneof![
        "[a-z ]{0,9}".prop_map(Content::Text),
        proptest::collection::vec(any::<u8>(), 0..9).prop_map(Content::Raw),
        "[a-z:/.]{0,9}".prop_map(Content::Url),
        "[a-z]{0,5}".prop_map(|text| Content::Data(prost_types::Value {
            kind: Some(prost_types::value::Kind::StringValue(text))
        })),
    ];
    (content, "[a-z]{0,4}", "[a-z/]{0,6}").prop_map(|(content, filename, media_type)| v1::Part {
        content: Some(content),
        metadata: None,
        filename,
        media_type,
    })
}

fn request() -> impl Strategy<Value = v1::SendMessageRequest> {
    let id = || "[a-z0-9-]{0,8}";
    let push = proptest::option::of(("[a-z:/.]{1,12}", "[a-z]{0,3}"));
    (id(), id(), id(), proptest::collection::vec(part(), 0..4), proptest::collection::vec("[a-z]{1,4}", 0..3), push)
        .prop_map(|(tenant, context_id, task_id, parts, reference_task_ids, push)| v1::SendMessageRequest {
            tenant,
            message: Some(v1::Message {
                message_id: "m".into(),
                context_id,
                task_id,
                role: v1::Role::User.into(),
                parts,
                metadata: None,
                extensions: Vec::new(),
                reference_task_ids,
            }),
            configuration: push.map(|(url, token)| v1::SendMessageConfiguration {
                task_push_notification_config: Some(v1::TaskPushNotificationConfig {
                    url,
                    token,
                    ..Default::default()
                }),
                ..Default::default()
            }),
            metadata: None,
        })
}

/// ProtoJSON of `request`: names in lowerCamelCase or as in the proto, enums by name or number, nothing for what is empty.
fn proto_json(request: &v1::SendMessageRequest, snake: bool, number: bool) -> Json {
    use v1::part::Content;
    let name = |camel: &'static str, proto: &'static str| if snake { proto } else { camel }.to_owned();
    let parts = request.message.iter().flat_map(|message| &message.parts).map(|part| {
        let (key, value) = match part.content.as_ref().unwrap() {
            Content::Text(text) => ("text", json!(text)),
            Content::Raw(bytes) if snake => ("raw", json!(URL_SAFE_NO_PAD.encode(bytes))),
            Content::Raw(bytes) => ("raw", json!(STANDARD.encode(bytes))),
            Content::Url(url) => ("url", json!(url)),
            Content::Data(data) => match &data.kind {
                Some(prost_types::value::Kind::StringValue(text)) => ("data", json!(text)),
                other => panic!("{other:?}"),
            },
        };
        let mut object = serde_json::Map::from_iter([(key.to_owned(), value)]);
        for (key, text) in
            [(name("mediaType", "media_type"), &part.media_type), ("filename".to_owned(), &part.filename)]
        {
            if !text.is_empty() {
                object.insert(key, json!(text));
            }
        }
        Json::Object(object)
    });
    let message = request.message.as_ref().unwrap();
    let role = if number { json!(1) } else { json!("ROLE_USER") };
    let mut inner = serde_json::Map::from_iter([("role".to_owned(), role)]);
    inner.insert("parts".to_owned(), parts.collect());
    for (key, text) in [
        (name("messageId", "message_id"), &message.message_id),
        (name("taskId", "task_id"), &message.task_id),
        (name("contextId", "context_id"), &message.context_id),
    ] {
        if !text.is_empty() {
            inner.insert(key, json!(text));
        }
    }
    if !message.reference_task_ids.is_empty() {
        inner.insert(name("referenceTaskIds", "reference_task_ids"), json!(message.reference_task_ids));
    }
    let mut outer = serde_json::Map::from_iter([("message".to_owned(), Json::Object(inner))]);
    if !request.tenant.is_empty() {
        outer.insert("tenant".to_owned(), json!(request.tenant));
    }
    if let Some(push) = request.configuration.as_ref().and_then(|of| of.task_push_notification_config.as_ref()) {
        let push = if push.token.is_empty() {
            json!({"url": push.url})
        } else {
            json!({"url": push.url, "token": push.token})
        };
        let inline = name("taskPushNotificationConfig", "task_push_notification_config");
        outer.insert("configuration".to_owned(), Json::Object(serde_json::Map::from_iter([(inline, push)])));
    }
    Json::Object(outer)
}

/// What prost reads is what we say.
fn agrees(call: &A2aCall, theirs: &v1::SendMessageRequest) -> Result<(), TestCaseError> {
    let message = theirs.message.clone().unwrap_or_default();
    let or_empty = |text: Option<&str>| text.unwrap_or_default().to_owned();
    prop_assert_eq!(or_empty(call.tenant.as_deref()), theirs.tenant.clone());
    prop_assert_eq!(or_empty(call.task.as_ref().map(|task| &*task.id)), message.task_id);
    prop_assert_eq!(or_empty(call.context.as_ref().map(|context| &*context.id)), message.context_id);
    let references: Vec<_> = call.references.iter().map(|named| named.id.to_string()).collect();
    prop_assert_eq!(references, message.reference_task_ids);
    let parts: Vec<_> = message
        .parts
        .into_iter()
        .map(|part| match part.content.unwrap() {
            v1::part::Content::Text(text) => ("text".to_owned(), text),
            v1::part::Content::Raw(_) => ("raw".to_owned(), String::new()),
            v1::part::Content::Url(url) => ("url".to_owned(), url),
            v1::part::Content::Data(_) => ("data".to_owned(), String::new()),
        })
        .collect();
    prop_assert_eq!(text_of(call), parts);
    let push = theirs.configuration.clone().and_then(|of| of.task_push_notification_config);
    let urls: Vec<_> = call.push.iter().map(|push| push.url.to_string()).collect();
    prop_assert_eq!(urls, push.map(|push| push.url).into_iter().collect::<Vec<_>>());
    Ok(())
}

proptest! {
    #[test]
    fn what_an_encoder_writes_is_read_as_it_was_meant(request in request()) {
        let call = grpc(SEND, &request.encode_to_vec()).unwrap();
        agrees(&call, &request)?;
    }

    /// Spoilt at one place: refused, or still read as prost reads it.
    #[test]
    fn what_passes_is_what_prost_reads(request in request(), at in any::<prop::sample::Index>(), with in any::<u8>(), how in 0..3) {
        let mut bytes = request.encode_to_vec();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = with,
            1 => bytes.insert(at, with),
            _ => { bytes.remove(at); }
        }
        if let Ok(call) = grpc(SEND, &bytes) {
            let theirs = v1::SendMessageRequest::decode(&*bytes);
            prop_assert!(theirs.is_ok(), "{:x?}", bytes);
            agrees(&call, &theirs.unwrap())?;
        }
    }

    /// The same request as ProtoJSON, in whichever of its spellings: the same call, in JSON-RPC and over HTTP.
    #[test]
    fn proto_json_is_read_as_the_message_it_stands_for(request in request(), snake in any::<bool>(), number in any::<bool>()) {
        let said = |call: A2aCall| A2aCall { binding: A2aBinding::Grpc, ..call };
        let message = said(grpc(SEND, &request.encode_to_vec()).unwrap());
        let json = proto_json(&request, snake, number).to_string();
        for read in [rest("POST", "/message:send", &json), rpc(&envelope("SendMessage", &json))] {
            prop_assert!(read.is_ok(), "{} {:?}", json, read);
            prop_assert_eq!(said(read.unwrap()), message.clone(), "{}", json);
        }
    }

    /// Two requests one behind the other, which protobuf merges: never let through.
    #[test]
    fn merged_messages_never_pass(one in request(), other in request()) {
        let merged = [one.encode_to_vec(), other.encode_to_vec()].concat();
        prop_assert!(grpc(SEND, &merged).is_err());
    }

    /// Answers are read as their encoder meant them, and never panic.
    #[test]
    fn answers_are_read(id in "[a-z0-9-]{1,9}", context in "[a-z0-9]{1,9}", bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        use crate::call::{A2aOperation, A2aVersion};
        use crate::wire::a2a::{Subject, card_of_proto, learn_proto};
        let task = v1::Task { id: id.clone(), context_id: context.clone(), status: None };
        let event = v1::StreamResponse { payload: Some(v1::stream_response::Payload::Task(task)) };
        let expected = Subject { task: Some(id.into()), context: Some(context.into()), state: None };
        let learnt = |bytes: &[u8]| learn_proto(A2aOperation::SendMessage, A2aVersion::V1_0, bytes);
        prop_assert_eq!(learnt(&event.encode_to_vec()), Ok(expected));
        drop(learnt(&bytes));
        drop(card_of_proto(A2aVersion::V0_3, &bytes));
        drop(card_of_proto(A2aVersion::V1_0, &bytes));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(grpc(SEND, &bytes));
        drop(grpc(SEND_03, &bytes));
    }

    #[test]
    fn the_old_schema_has_other_numbers(text in "[a-z]{1,9}", context in "[a-z]{1,9}", url in "https://[a-z]{1,9}/") {
        let message = v03::Message {
            message_id: "m".into(),
            context_id: context.clone(),
            role: v03::Role::User.into(),
            content: vec![v03::Part { part: Some(v03::part::Part::Text(text.clone())), metadata: None }],
            ..Default::default()
        };
        let push = v03::PushNotificationConfig { url: url.clone(), ..Default::default() };
        let request = v03::SendMessageRequest {
            request: Some(message),
            configuration: Some(v03::SendMessageConfiguration { push_notification: Some(push), ..Default::default() }),
            metadata: None,
        };
        let bytes = request.encode_to_vec();
        let call = grpc(SEND_03, &bytes).unwrap();
        prop_assert_eq!(&*call.context.as_ref().unwrap().id, &*context);
        prop_assert_eq!(text_of(&call), vec![("text".to_owned(), text)]);
        prop_assert_eq!(&*call.push[0].url, &*url);
        // Read by the other schema it is another message, or none: the package tells, not a trial.
        prop_assert!(grpc(SEND, &bytes).is_err());
    }
}
