//! A provider that answers `Check` by script and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use agent_waypoint::wire::ext_authz::authorization_server::{Authorization, AuthorizationServer};
use agent_waypoint::wire::ext_authz::{
    CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption, HttpResponse, HttpStatus,
    OkHttpResponse, Status,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tonic::{Request, Response};
use tower::Service as _;

type Script = Arc<dyn Fn(&CheckRequest) -> Result<CheckResponse, tonic::Status> + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Provider {
    pub(crate) addr: SocketAddr,
    script: Script,
    seen: Arc<Mutex<Vec<CheckRequest>>>,
}

impl Provider {
    pub(crate) async fn start(
        script: impl Fn(&CheckRequest) -> Result<CheckResponse, tonic::Status> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self { addr: listener.local_addr().unwrap(), script: Arc::new(script), seen: Arc::default() };
        let service = AuthorizationServer::new(this.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                let answer = hyper::service::service_fn(move |request| service.clone().call(request));
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(stream), answer));
            }
        });
        this
    }

    pub(crate) fn seen(&self) -> Vec<CheckRequest> {
        self.seen.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl Authorization for Provider {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, tonic::Status> {
        let request = request.into_inner();
        self.seen.lock().unwrap().push(request.clone());
        (self.script)(&request).map(Response::new)
    }
}

/// The path that is asked about.
pub(crate) fn path(request: &CheckRequest) -> &str {
    let attributes = request.attributes.as_ref().unwrap();
    attributes.request.as_ref().unwrap().http.as_ref().map_or("", |http| &http.path)
}

pub(crate) fn answer(code: i32, http_response: Option<HttpResponse>) -> Result<CheckResponse, tonic::Status> {
    Ok(CheckResponse { status: Some(Status { code, message: String::new() }), http_response })
}

pub(crate) fn allow() -> Result<CheckResponse, tonic::Status> {
    answer(0, None)
}

pub(crate) fn deny(status: i32, headers: &[(&str, &str)], body: &str) -> Result<CheckResponse, tonic::Status> {
    let headers = headers.iter().map(|(key, value)| header(key, value)).collect();
    let denied = DeniedHttpResponse { status: Some(HttpStatus { code: status }), headers, body: body.into() };
    answer(7, Some(HttpResponse::DeniedResponse(denied)))
}

pub(crate) fn allow_with(ok: OkHttpResponse) -> Result<CheckResponse, tonic::Status> {
    answer(0, Some(HttpResponse::OkResponse(ok)))
}

pub(crate) fn header(key: &str, value: &str) -> HeaderValueOption {
    let header = Some(HeaderValue { key: key.into(), value: value.into(), raw_value: Vec::new() });
    HeaderValueOption { header, append: None, append_action: 0 }
}
