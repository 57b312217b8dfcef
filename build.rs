//! Compiles `proto/` without protoc. Servers are compiled too: the tests are the other end.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["proto/workload.proto"], ["proto"])?;
    tonic_prost_build::configure().build_client(false).compile_fds(files)?;
    let files = ["ca", "discovery", "feed", "a2a", "a2a_v03", "ext_authz", "istio_authorization", "istio_workload"];
    for file in files.map(|name| format!("proto/{name}.proto")) {
        tonic_prost_build::configure().compile_fds(protox::compile([file], ["proto"])?)?;
    }
    Ok(())
}
