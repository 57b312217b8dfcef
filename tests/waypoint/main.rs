//! A whole waypoint on loopback, black-box: real HBONE in, scripted upstreams behind, every byte they saw remembered.

#![cfg(test)]

mod istiod;
mod lab;
mod live;

mod a2a;
mod balancing;
mod changes;
mod custom;
mod destination_rules;
mod ingress;
mod istio_rules;
mod limits;
mod mcp_both_ways;
mod mcp_calls;
mod mcp_cursors;
mod mcp_denials;
mod mcp_ends;
mod mcp_hostile;
mod mcp_labels;
mod mcp_lists;
mod mcp_parameters;
mod mcp_replicas;
mod mcp_results;
mod mcp_sse;
mod mcp_tasks;
mod mcp_versions;
mod mesh;
mod nearest;
mod overtaken;
mod pins;
mod plain_ports;
mod routes;
mod scale;
mod tokens;
