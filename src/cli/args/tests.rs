use super::*;
use clap::CommandFactory as _;

#[test]
fn the_definition_is_sound() {
    CommandLine::command().debug_assert();
}

#[test]
fn every_flag_has_its_environment_variable() {
    for command in CommandLine::command().get_subcommands() {
        let flags = command.get_arguments().filter(|flag| !matches!(flag.get_id().as_str(), "help" | "version"));
        for (flag, long) in flags.filter_map(|flag| Some((flag, flag.get_long()?))) {
            let name = long.to_uppercase().replace('-', "_");
            // What istiod's templates set keeps Istio's names.
            let name = if istiod::VARIABLES.contains(&name.as_str()) { name } else { format!("AGENT_WAYPOINT_{name}") };
            assert_eq!(flag.get_env().and_then(|env| env.to_str()), Some(name.as_str()), "{}", command.get_name());
        }
    }
}

#[cfg(feature = "controller")]
#[test]
fn guards_of_one_namespace_are_listed_and_never_removed_alone() {
    let guard = |args: &[&str]| CommandLine::try_parse_from([&["agent-waypoint", "guard"], args].concat());
    assert!(guard(&["--list", "-n", "tools"]).is_ok() && guard(&["--dry-run", "-n", "tools"]).is_ok());
    assert!(guard(&["--remove"]).is_ok() && guard(&["--restore"]).is_ok());
    // It would switch off those of the whole cluster.
    assert!(guard(&["--remove", "-n", "tools"]).is_err() && guard(&["--restore", "-n", "tools"]).is_err());
}

#[test]
fn services_are_parsed_strictly() {
    assert_eq!(parse_service("tools/repo:80").unwrap().authority(), "repo.tools.svc.cluster.local:80");
    for bad in ["repo:80", "tools/repo", "tools/repo:0", "tools/repo:http", "a/b/c:1", "/b:1", "a/:1"] {
        assert!(parse_service(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_life_of_certificates_is_a_duration_and_a_wrong_one_names_flag_and_example() {
    let run = |ttl: &[&str]| {
        let istiod = ["run", "-f", "x", "--ca-address", "i:1", "--pod-namespace", "n", "--service-account", "s"];
        let args = [&["agent-waypoint"], &istiod[..], ttl].concat();
        CommandLine::try_parse_from(args).map(|line| {
            let Command::Run(run) = line.command else { panic!("{line:?}") };
            run.istiod.secret_ttl.as_secs()
        })
    };
    assert_eq!(run(&[]).unwrap(), 24 * 3_600);
    assert_eq!(run(&["--secret-ttl", "1h30m"]).unwrap(), 5_400);
    for bad in ["9s", "1d", "", "90", "-1h", "9999999h"] {
        let said = run(&[&format!("--secret-ttl={bad}")]).unwrap_err().to_string();
        assert!(said.contains("--secret-ttl") && said.contains("as in 24h"), "{said}");
    }
}

#[test]
fn run_needs_one_identity_and_documents() {
    let run = |args: &[&str]| CommandLine::try_parse_from([&["agent-waypoint", "run"], args].concat());
    assert!(run(&["-f", "x", "--dev"]).is_ok());
    assert!(run(&["-f", "x"]).is_err());
    assert!(run(&["--dev"]).is_err());
    assert!(run(&["--dev", "--feed", "x:1"]).is_ok());
    assert!(run(&["--dev", "--config", "{}"]).is_ok());
    assert!(run(&["--dev", "--feed", "x:1", "-f", "x"]).is_err());
    assert!(run(&["--dev", "--feed", "x"]).is_err());
    assert!(run(&["-f", "x", "--dev", "--spiffe-endpoint", "unix:///x"]).is_err());
    assert!(run(&["-f", "x", "--identity-cert", "c"]).is_err());
    assert!(run(&["-f", "x", "--identity-cert", "c", "--identity-key", "k", "--trust-bundle", "b"]).is_ok());
    let mesh =
        ["--dev", "--xds-address", "istiod:15012", "--pod-name", "p", "--instance-ip", "10.0.0.1", "--gateway", "g"];
    assert!(run(&mesh).is_err(), "nor without namespace and ServiceAccount");
    assert!(run(&[&mesh[..], &["--pod-namespace", "n", "--service-account", "s"]].concat()).is_ok());
}
