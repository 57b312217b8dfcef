//! gRPC by a real client and server: passed by message, refused in trailers, owners learnt from messages too.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Response, Status};
use tower::Service as _;

use super::{AGENT, authenticated, brief, documents, logged};
use crate::lab::Lab;

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

use v1::a2a_service_client::A2aServiceClient;
use v1::a2a_service_server::{A2aService, A2aServiceServer};

struct Agent(Arc<AtomicUsize>);

fn task(id: &str) -> v1::Task {
    v1::Task { id: id.into(), context_id: format!("ctx-{id}"), status: None }
}

#[tonic::async_trait]
impl A2aService for Agent {
    async fn send_message(
        &self,
        request: Request<v1::SendMessageRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let id = request.into_inner().message.unwrap().message_id;
        Ok(Response::new(v1::SendMessageResponse {
            payload: Some(v1::send_message_response::Payload::Task(task(&id))),
        }))
    }

    type SendStreamingMessageStream = Pin<Box<dyn Stream<Item = Result<v1::StreamResponse, Status>> + Send>>;

    async fn send_streaming_message(
        &self,
        request: Request<v1::SendMessageRequest>,
    ) -> Result<Response<Self::SendStreamingMessageStream>, Status> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let id = request.into_inner().message.unwrap().message_id;
        let event = v1::StreamResponse { payload: Some(v1::stream_response::Payload::Task(task(&id))) };
        let events = tokio_stream::once(Ok(event)).chain(tokio_stream::pending());
        Ok(Response::new(Box::pin(events)))
    }

    async fn get_task(&self, request: Request<v1::GetTaskRequest>) -> Result<Response<v1::Task>, Status> {
        self.0.fetch_add(1, Ordering::SeqCst);
        match request.into_inner().id.as_str() {
            "gone" => Err(Status::not_found("the agent's own words")),
            id => Ok(Response::new(task(id))),
        }
    }

    async fn list_tasks(&self, _: Request<v1::ListTasksRequest>) -> Result<Response<v1::ListTasksResponse>, Status> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(v1::ListTasksResponse { tasks: Vec::new() }))
    }

    async fn cancel_task(&self, _: Request<v1::CancelTaskRequest>) -> Result<Response<v1::Task>, Status> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(task("x")))
    }

    type SubscribeToTaskStream = Self::SendStreamingMessageStream;

    async fn subscribe_to_task(
        &self,
        _: Request<v1::SubscribeToTaskRequest>,
    ) -> Result<Response<Self::SubscribeToTaskStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn create_task_push_notification_config(
        &self,
        request: Request<v1::TaskPushNotificationConfig>,
    ) -> Result<Response<v1::TaskPushNotificationConfig>, Status> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(request.into_inner()))
    }

    async fn delete_task_push_notification_config(
        &self,
        _: Request<v1::DeleteTaskPushNotificationConfigRequest>,
    ) -> Result<Response<()>, Status> {
        Ok(Response::new(()))
    }
}

async fn agent() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, calls) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let service = A2aServiceServer::new(Agent(Arc::clone(&calls)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            let answer = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let mut service = service.clone();
                async move { service.call(request.map(tonic::body::Body::new)).await }
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), answer));
        }
    });
    (addr, calls)
}

async fn client(lab: &Lab, who: &str) -> A2aServiceClient<Channel> {
    client_in(lab.tunnel(who, AGENT).await.unwrap()).await
}

async fn client_in(stream: agent_waypoint::hbone::Stream) -> A2aServiceClient<Channel> {
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_: Uri| {
        let stream = stream.take().ok_or_else(|| std::io::Error::other("one connection only"));
        async move { stream }
    });
    let channel = Endpoint::from_static("http://agent").connect_with_connector(connector).await.unwrap();
    A2aServiceClient::new(channel)
}

fn message(id: &str) -> v1::SendMessageRequest {
    let part = v1::Part { content: Some(v1::part::Content::Text("hi".into())), ..Default::default() };
    let role = v1::Role::User.into();
    let message = v1::Message { message_id: id.into(), role, parts: vec![part], ..Default::default() };
    v1::SendMessageRequest { message: Some(message), ..Default::default() }
}

fn get(id: &str) -> v1::GetTaskRequest {
    v1::GetTaskRequest { id: id.into(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_pass_and_refusals_are_trailers_only() {
    let (addr, calls) = agent().await;
    let rules = "  a2a: {ownership: Enforce}\n  deny: [{to: [{operations: [CancelTask]}]}]\n  allow: [{}]\n";
    let lab = Lab::start(&documents(addr, rules)).await;
    let (mut mine, mut other) = (client(&lab, "agents/caller").await, client(&lab, "agents/other").await);
    let begun = mine.send_message(message("t1")).await.unwrap().into_inner();
    assert_eq!(begun.payload, Some(v1::send_message_response::Payload::Task(task("t1"))));
    assert_eq!(mine.get_task(get("t1")).await.unwrap().into_inner(), task("t1"));
    assert_eq!(calls.load(Ordering::SeqCst), 2);

    let refused = mine.cancel_task(v1::CancelTaskRequest { id: "t1".into(), ..Default::default() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    assert!(refused.message().contains("denied_by_rule"), "{refused:?}");
    let hidden = other.get_task(get("t1")).await.unwrap_err();
    assert_eq!((hidden.code(), hidden.message()), (Code::NotFound, "Task not found"));
    let push = v1::TaskPushNotificationConfig { task_id: "t1".into(), url: "https://x/".into(), ..Default::default() };
    assert_eq!(mine.create_task_push_notification_config(push).await.unwrap_err().code(), Code::PermissionDenied);
    let mut agent_role = message("t9");
    agent_role.message.as_mut().unwrap().role = v1::Role::Agent.into();
    assert_eq!(mine.send_message(agent_role).await.unwrap_err().code(), Code::InvalidArgument);
    let mut versioned = Request::new(get("t1"));
    versioned.metadata_mut().insert("a2a-version", "9.9".parse().unwrap());
    assert_eq!(mine.get_task(versioned).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(calls.load(Ordering::SeqCst), 2, "a refusal reached the agent");
    drop((mine, other));
    assert!(logged(lab).await.iter().any(|line| line["grpc_status"] == 7 && line["reason"] == "denied_by_rule"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_own_status_passes() {
    let (addr, _) = agent().await;
    let lab = Lab::start(&documents(addr, "  allow: [{}]\n")).await;
    let status = client(&lab, "agents/caller").await.get_task(get("gone")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "the agent's own words"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_right_to_it() {
    let (addr, calls) = agent().await;
    let rules = "  a2a: {ownership: Enforce}\n  allow: [{}]\n";
    let lab = Lab::start(&documents(addr, rules)).await;
    let mut client_ = client(&lab, "agents/caller").await;
    let mut events = client_.send_streaming_message(message("t1")).await.unwrap().into_inner();
    assert!(events.message().await.unwrap().is_some());
    assert_eq!(client_.get_task(get("t1")).await.unwrap().into_inner(), task("t1"), "learnt from the stream");
    let denied = rules.replace("allow: [{}]", "allow: [{}]\n  deny: [{to: [{operations: [\"S*\"]}]}]");
    lab.edit(&documents(addr, &denied)).await;
    assert_eq!(end_of(&mut events).await, (Code::PermissionDenied, "no longer permitted".into()));
    let before = calls.load(Ordering::SeqCst);
    let subscribe = || v1::SubscribeToTaskRequest { id: "t1".into(), ..Default::default() };
    assert_eq!(client_.subscribe_to_task(subscribe()).await.unwrap_err().code(), Code::PermissionDenied);
    let mut other = client(&lab, "agents/other").await;
    assert_eq!(other.get_task(get("t1")).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(calls.load(Ordering::SeqCst), before, "a refusal reached the agent");
}

/// How a stream ends.
async fn end_of(events: &mut tonic::Streaming<v1::StreamResponse>) -> (Code, String) {
    let ended = tokio::time::timeout(crate::lab::PATIENCE, events.message()).await.unwrap().unwrap_err();
    (ended.code(), ended.message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_token_that_it_was_begun_with() {
    let (addr, calls) = agent().await;
    let tokens = crate::mcp_hostile::sessions::Tokens::new();
    let rules = "  allow: [{when: jwt.sub == \"alice\"}]\n";
    let lab = Lab::start(&authenticated(&documents(addr, rules), &tokens)).await;
    let mut client = client(&lab, "agents/caller").await;
    // It has ended already, but for what clocks may differ by: a few seconds are left.
    let token = tokens.sign("https://idp", "alice", "", -50);
    let bearer: tonic::metadata::MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
    let mut request = Request::new(message("t1"));
    request.metadata_mut().insert("authorization", bearer.clone());
    let mut events = client.send_streaming_message(request).await.unwrap().into_inner();
    assert!(events.message().await.unwrap().is_some());
    assert_eq!(end_of(&mut events).await, (Code::Unauthenticated, "the bearer token has ended".into()));
    let mut request = Request::new(v1::SubscribeToTaskRequest { id: "t1".into(), ..Default::default() });
    request.metadata_mut().insert("authorization", bearer);
    let before = calls.load(Ordering::SeqCst);
    assert_eq!(client.subscribe_to_task(request).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(calls.load(Ordering::SeqCst), before, "a refusal reached the agent");
    drop((events, client));
    assert_eq!(logged(lab).await.iter().filter(|line| line["grpc_status"] == 16).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_before_the_certificate_that_it_was_begun_with() {
    let (addr, _) = agent().await;
    let lab = Lab::start(&documents(addr, "  allow: [{}]\n")).await;
    let (_pool, stream) = brief(&lab, std::time::Duration::from_secs(10)).await;
    let mut events = client_in(stream).await.send_streaming_message(message("t1")).await.unwrap().into_inner();
    assert!(events.message().await.unwrap().is_some());
    assert_eq!(end_of(&mut events).await, (Code::Unavailable, "a certificate ends: connect again".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_the_agent_resets_ends_in_a_status() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
        let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
        let mut body = respond.send_response(head, false).unwrap();
        let event = v1::StreamResponse { payload: Some(v1::stream_response::Payload::Task(task("t1"))) };
        let message = prost::Message::encode_to_vec(&event);
        let prefix = [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes()].concat();
        body.send_data([prefix, message].concat().into(), false).unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            body.send_reset(h2::Reason::INTERNAL_ERROR);
        });
        while connection.accept().await.is_some() {}
    });
    let lab = Lab::start(&documents(addr, "  allow: [{}]\n")).await;
    let mut client = client(&lab, "agents/caller").await;
    let mut events = client.send_streaming_message(message("t1")).await.unwrap().into_inner();
    assert!(events.message().await.unwrap().is_some());
    let (code, said) = end_of(&mut events).await;
    assert_eq!(code, Code::Internal, "{said}");
    drop((events, client));
    assert!(logged(lab).await.iter().any(|line| line["grpc_status"] == 13));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_a_cookie_says_whose_a_task_is() {
    let (addr, calls) = agent().await;
    let tokens = crate::mcp_hostile::sessions::Tokens::new();
    let rules = "  a2a: {ownership: Enforce}\n  allow: [{when: has(jwt.sub)}]\n";
    let lab = Lab::start(&super::tokens::placed(&documents(addr, rules), &tokens)).await;
    let mut client = client(&lab, "agents/caller").await;
    let cookie = |who: &str| -> tonic::metadata::MetadataValue<tonic::metadata::Ascii> {
        format!("a=b; sid={}", tokens.sign("https://idp", who, "", 3600)).parse().unwrap()
    };
    let mut request = Request::new(message("t1"));
    request.metadata_mut().insert("cookie", cookie("alice"));
    client.send_message(request).await.unwrap();
    let mut asking = async |who: Option<&str>| {
        let mut request = Request::new(get("t1"));
        if let Some(who) = who {
            request.metadata_mut().insert("cookie", cookie(who));
        }
        client.get_task(request).await.map(Response::into_inner).map_err(|status| status.code())
    };
    assert_eq!(asking(Some("bob")).await, Err(Code::NotFound));
    assert_eq!(asking(None).await, Err(Code::NotFound));
    assert_eq!(calls.load(Ordering::SeqCst), 1, "a refusal reached the agent");
    assert_eq!(asking(Some("alice")).await, Ok(task("t1")));
}
