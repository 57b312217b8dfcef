//! What needs more than a Rust toolchain and a C compiler; cargo prints it as ignored.

#[test]
#[ignore = "needs Python 3.11, Node 20 and package registries: run e2e/run"]
fn real_clients_and_servers() {
    e2e::run("run", &["--only", "matrix"]).unwrap();
}

#[test]
#[ignore = "needs Python 3.11, Node 20 and package registries: run e2e/run"]
fn bytes_that_reach_the_upstream_are_what_was_decided_on() {
    e2e::run("run", &["--only", "bytes"]).unwrap();
}

#[test]
#[ignore = "needs Python 3.11, Node 20 and package registries: run e2e/run"]
fn every_client_survives_every_form_of_a_refusal() {
    e2e::run("run", &["--only", "denials"]).unwrap();
}

#[test]
#[ignore = "needs Python 3.11, Node 20 and package registries: run e2e/run"]
fn clients_without_a_good_token_get_one_and_go_on() {
    e2e::run("run", &["--only", "tokens"]).unwrap();
}

#[test]
#[ignore = "needs Python 3.11, Node 20 and package registries: run e2e/run"]
fn pins_of_live_servers_hold() {
    e2e::run("run", &["--only", "pins"]).unwrap();
}

#[test]
#[ignore = "needs Python 3.11, Node 20 and nginx: run e2e/run"]
fn the_file_that_an_origin_opens_is_the_path_that_was_decided_on() {
    e2e::run("run", &["--only", "origins"]).unwrap();
}

#[test]
#[ignore = "needs Python 3.11: run e2e/run"]
fn memory_stays_flat_while_readers_stall() {
    e2e::run("run", &["--only", "stalled"]).unwrap();
}

#[test]
#[ignore = "needs Linux, root, nftables, Python 3.11 and package registries: run e2e/netns/run"]
fn nobody_goes_round_a_waypoint() {
    e2e::run("netns/run", &[]).unwrap();
}
