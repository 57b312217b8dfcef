//! Envoy's configuration as the same waypoint: mTLS and CONNECT terminated, the caller's identity handed to an internal
//! listener per service, the MCP filter and two RBAC filters (DENY, then ALLOW) over its metadata and that identity, a
//! JSON access log, and HBONE to the server. Envoy gets all that it can do (duplicate keys refused, 4 MiB bodies).

use std::net::SocketAddr;
use std::path::Path;

use super::proxy::nobody;
use super::{A2A, GRPC, HTTP, MCP, TCP};

/// `services` are more of them that nobody calls: a route and a cluster for each, as Istio's waypoint has.
pub(crate) fn config(hbone: SocketAddr, origin: SocketAddr, services: usize, files: [&Path; 3]) -> String {
    let [chain, key, root] = files.map(Path::display);
    let tls = |role: &str, more: &str| {
        format!(
            r#"{{name: tls, typed_config: {{"@type": {TYPE}/envoy.extensions.transport_sockets.tls.v3.{role}TlsContext{more},
    common_tls_context: {{alpn_protocols: [h2], tls_params: {{tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}},
      tls_certificates: [{{certificate_chain: {{filename: {chain}}}, private_key: {{filename: {key}}}}}],
      validation_context: {{trusted_ca: {{filename: {root}}}, match_typed_subject_alt_names: [{{san_type: URI, matcher: {{prefix: "spiffe://cluster.local/"}}}}]}}}}}}}}"#
        )
    };
    let (down, up) = (tls("Downstream", ", require_client_certificate: true"), tls("Upstream", ""));
    let route = |vip: &str, name: &str| {
        format!(
            r#"
            - {{name: {name}, domains: ["{vip}"], routes: [{{match: {{connect_matcher: {{}}}}, route: {{cluster: to_{name}, upgrade_configs: [{{upgrade_type: CONNECT, connect_config: {{}}}}], timeout: 0s}}}}]}}"#
        )
    };
    let mut routes =
        [route(MCP, "mcp"), route(HTTP, "http"), route(TCP, "tcp"), route(A2A, "a2a"), route(GRPC, "grpc")].concat();
    let internal_cluster = |name: &str, listener: &str| {
        format!(
            r#"
  - name: {name}
    load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{envoy_internal_address: {{server_listener_name: {listener}}}}}}}}}]}}]}}
    transport_socket: {{name: internal, typed_config: {{"@type": {TYPE}/envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport, transport_socket: {{name: raw, typed_config: {{"@type": {TYPE}/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}}}}}}}"#
        )
    };
    let mut clusters = [
        internal_cluster("to_mcp", "mcp"),
        internal_cluster("to_http", "http"),
        internal_cluster("to_tcp", "tcp"),
        internal_cluster("to_a2a", "a2a"),
        internal_cluster("to_grpc", "grpc"),
        internal_cluster("originate", "originate"),
        internal_cluster("originate_h2", "originate"),
        format!("\n    {H2}"),
    ]
    .concat();
    for n in 0..services {
        routes.push_str(&route(&format!("{}:80", nobody(n)), &format!("s{n}")));
        clusters.push_str(&internal_cluster(&format!("to_s{n}"), "http"));
    }
    let listeners = [
        http_listener("mcp", &mcp_filters(), "originate"),
        http_listener("http", "", "originate"),
        // It has no filter for A2A.
        http_listener("a2a", "", "originate"),
        http_listener("grpc", "", "originate_h2"),
    ]
    .concat();
    format!(
        r#"
bootstrap_extensions: [{{name: internal, typed_config: {{"@type": {TYPE}/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}}}}]
static_resources:
  listeners:
  - name: connect_terminate
    address: {{socket_address: {{address: {ip}, port_value: {port}}}}}
    filter_chains:
    - transport_socket: {down}
      filters:
      - name: hcm
        typed_config:
          "@type": {TYPE}/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: terminate
          stream_idle_timeout: 0s
          http2_protocol_options: {{allow_connect: true}}
          upgrade_configs: [{{upgrade_type: CONNECT}}]
          route_config:
            virtual_hosts:{routes}
          http_filters:
          - name: peer
            typed_config:
              "@type": {TYPE}/envoy.extensions.filters.http.set_filter_state.v3.Config
              on_request_headers:
              - {{object_key: io.istio.peer_principal, factory_key: envoy.string, shared_with_upstream: TRANSITIVE, format_string: {{text_format_source: {{inline_string: "%DOWNSTREAM_PEER_URI_SAN%"}}}}}}
          - {{name: router, typed_config: {{"@type": {TYPE}/envoy.extensions.filters.http.router.v3.Router}}}}
{listeners}
  - name: tcp
    internal_listener: {{}}
    filter_chains: [{{filters: [{{name: tcp, typed_config: {{"@type": {TYPE}/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: tcp, cluster: originate}}}}]}}]
  - name: originate
    internal_listener: {{}}
    filter_chains: [{{filters: [{{name: tcp, typed_config: {{"@type": {TYPE}/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: originate, cluster: origin, tunneling_config: {{hostname: "127.0.0.1:80"}}}}}}]}}]
  clusters:{clusters}
  - name: origin
    load_assignment: {{cluster_name: origin, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: {oip}, port_value: {oport}}}}}}}}}]}}]}}
    {H2}
    transport_socket: {up}
"#,
        ip = hbone.ip(),
        port = hbone.port(),
        oip = origin.ip(),
        oport = origin.port(),
    )
}

const TYPE: &str = "type.googleapis.com";

const H2: &str = r#"typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {allow_connect: true}}}}"#;

fn http_listener(name: &str, filters: &str, to: &str) -> String {
    format!(
        r#"
  - name: {name}
    internal_listener: {{}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": {TYPE}/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          stream_idle_timeout: 0s
          access_log:
          - name: stdout
            typed_config:
              "@type": {TYPE}/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
              log_format: {{json_format: {{time: "%START_TIME%", peer: "%FILTER_STATE(io.istio.peer_principal:PLAIN)%", method: "%REQ(:METHOD)%", path: "%REQ(:PATH)%", tool: "%DYNAMIC_METADATA(envoy.filters.http.mcp:params:name)%", status: "%RESPONSE_CODE%", details: "%RESPONSE_CODE_DETAILS%", duration: "%DURATION%", sent: "%BYTES_SENT%", received: "%BYTES_RECEIVED%"}}}}
          route_config:
            virtual_hosts: [{{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: {to}, timeout: 0s}}}}]}}]
          http_filters:{filters}
          - {{name: router, typed_config: {{"@type": {TYPE}/envoy.extensions.filters.http.router.v3.Router}}}}"#
    )
}

/// The MCP filter and the rules of the benchmark's policy, as far as RBAC can say them (nothing of arguments).
fn mcp_filters() -> String {
    let tool = |kind: &str, value: &str| {
        format!(
            r#"{{sourced_metadata: {{metadata_matcher: {{filter: envoy.filters.http.mcp, path: [{{key: params}}, {{key: name}}], value: {{string_match: {{{kind}: "{value}"}}}}}}}}}}"#
        )
    };
    let any = |tools: &[(&str, &str)]| {
        let rules: Vec<_> = tools.iter().map(|(kind, value)| tool(kind, value)).collect();
        format!("{{or_rules: {{rules: [{}]}}}}", rules.join(", "))
    };
    let peer = |kind: &str, value: &str| {
        format!(r#"{{filter_state: {{key: io.istio.peer_principal, string_match: {{{kind}: "{value}"}}}}}}"#)
    };
    let account = |name: &str| peer("exact", &format!("spiffe://cluster.local/ns/agents/sa/{name}"));
    let rule = |name: &str, permission: String, principal: String| {
        format!("{name}: {{permissions: [{permission}], principals: [{principal}]}}")
    };
    let deny = [
        rule("no-delete", any(&[("prefix", "delete_"), ("prefix", "drop_")]), "{any: true}".into()),
        rule(
            "not-from-outside",
            "{any: true}".into(),
            format!(
                "{{not_id: {{or_ids: {{ids: [{}, {}]}}}}}}",
                peer("prefix", "spiffe://cluster.local/ns/agents/"),
                peer("prefix", "spiffe://cluster.local/ns/tools/")
            ),
        ),
    ]
    .join(", ");
    let method = |value: &str| {
        format!(
            r#"{{sourced_metadata: {{metadata_matcher: {{filter: envoy.filters.http.mcp, path: [{{key: method}}], value: {{string_match: {{exact: "{value}"}}}}}}}}}}"#
        )
    };
    let allow = [
        rule("list", method("tools/list"), "{any: true}".into()),
        rule("readers", any(&[("prefix", "get_"), ("prefix", "list_"), ("prefix", "search_")]), account("reader")),
        rule("auditors", any(&[("prefix", "audit_")]), account("auditor")),
        rule("tickets", any(&[("exact", "close_issue"), ("exact", "comment_issue")]), account("triage")),
        rule("writers", any(&[("prefix", "get_"), ("prefix", "create_"), ("prefix", "update_")]), account("writer")),
    ]
    .join(", ");
    format!(
        r#"
          - name: mcp
            typed_config: {{"@type": {TYPE}/envoy.extensions.filters.http.mcp.v3.Mcp, traffic_mode: REJECT_NO_MCP, max_request_body_size: 4194304, reject_duplicate_keys: true}}
          - {{name: deny, typed_config: {{"@type": {TYPE}/envoy.extensions.filters.http.rbac.v3.RBAC, rules: {{action: DENY, policies: {{{deny}}}}}}}}}
          - {{name: allow, typed_config: {{"@type": {TYPE}/envoy.extensions.filters.http.rbac.v3.RBAC, rules: {{action: ALLOW, policies: {{{allow}}}}}}}}}"#
    )
}
