//! The rules of the house that no compiler knows: who may import whom, how long a file may get, who may say that an
//! identity was proven. Textual: it sees `crate::x`, `crate::{x, y}` and `super::super::x`, not what macros make.

use std::fs;
use std::path::{Path, PathBuf};

/// Bottom-up: a module imports only those before it.
const ORDER: &[&str] = &[
    "id",
    "call",
    "fault",
    "config",
    "seal",
    "wire",
    "document",
    "policy",
    "mesh",
    "telemetry",
    "tls",
    "net",
    "hbone",
    "intake",
    "upstream",
    "control",
    "proxy",
    "admin",
    "controller",
    "client",
    "app",
    "demo",
    "cli",
];
/// Lines of one file, tests not counted.
const MAX_LINES: usize = 400;
/// Rooms in which anything would fit.
const VAGUE: &[&str] =
    &["util", "utils", "common", "helper", "helpers", "type", "types", "manager", "managers", "misc"];

/// A source file: its path from the repository's root, and its text with comments and literals blanked out.
struct Source {
    path: String,
    code: String,
    only_tests: bool,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), code: blank(text), only_tests: false }
    }

    /// Whether the whole file is test code: `tests.rs`, or below a `tests` directory.
    fn is_test(&self) -> bool {
        self.only_tests || self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The files of modules that this one declares for tests only: `#[cfg(test)] mod fixture;` in `src/a.rs` is
    /// `src/a/fixture`, by itself or as a directory.
    fn test_modules(&self) -> Vec<String> {
        let directory = self.path.trim_end_matches(".rs").trim_end_matches("/lib");
        let declared = self.code.split("#[cfg(test)]").skip(1).filter_map(|after| {
            let (item, _) = after.split_once([';', '{'])?;
            let mut words = item.split_whitespace().skip_while(|word| *word != "mod");
            words.nth(1).map(|name| format!("{directory}/{name}"))
        });
        declared.collect()
    }

    /// The code with every `#[cfg(test)]` item blanked out as well.
    fn shipped(&self) -> String {
        if self.is_test() { String::new() } else { without_tests(&self.code) }
    }

    /// `src/a/b.rs` and `src/a/b/mod.rs` are `["a", "b"]`; files that are no module of the library are `None`.
    fn module(&self) -> Option<Vec<&str>> {
        let inside = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        if inside == "main" { None } else { Some(inside.split('/').filter(|part| *part != "lib").collect()) }
    }
}

/// The text with comments, strings and characters replaced by spaces; lines stay where they were.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut out = String::with_capacity(text.len());
    let mut index = 0;
    while index < chars.len() {
        let end = literal_end(&at, index, chars.len());
        if end == index {
            out.push(at(index));
            index += 1;
        } else {
            out.extend((index..end.min(chars.len())).map(|i| if at(i) == '\n' { '\n' } else { ' ' }));
            index = end;
        }
    }
    out
}

/// Where the comment or literal that begins at `start` ends; `start` itself if none begins there.
fn literal_end(at: &impl Fn(usize) -> char, start: usize, len: usize) -> usize {
    let until = |from: usize, done: &dyn Fn(usize) -> Option<usize>| (from..len).find_map(done).unwrap_or(len);
    let starts_word = start == 0 || !is_word(at(start - 1));
    match (at(start), at(start + 1)) {
        ('/', '/') => until(start, &|i| (at(i) == '\n').then_some(i)),
        ('/', '*') => {
            let (mut depth, mut i) = (0_usize, start);
            while i < len {
                match (at(i), at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
                if depth == 0 {
                    return i;
                }
            }
            len
        }
        ('"', _) => escaped_end(at, start + 1, '"', len),
        ('\'', '\\') => escaped_end(at, start + 1, '\'', len),
        ('\'', _) if at(start + 2) == '\'' => start + 3,
        ('r', '"' | '#') | ('b' | 'c', 'r') if starts_word => raw_end(at, start, len),
        _ => start,
    }
}

fn escaped_end(at: &impl Fn(usize) -> char, mut index: usize, quote: char, len: usize) -> usize {
    while index < len && at(index) != quote {
        index += if at(index) == '\\' { 2 } else { 1 };
    }
    index + 1
}

fn raw_end(at: &impl Fn(usize) -> char, start: usize, len: usize) -> usize {
    let mut open = start;
    while matches!(at(open), 'r' | 'b' | 'c') {
        open += 1;
    }
    let hashes = (open..len).take_while(|i| at(*i) == '#').count();
    if at(open + hashes) != '"' {
        return start; // r#ident, or a word such as `break`
    }
    let closes = |i: usize| at(i) == '"' && (1..=hashes).all(|n| at(i + n) == '#');
    (open + hashes + 1..len).find(|i| closes(*i)).map_or(len, |i| i + 1 + hashes)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Blanks each item under `#[cfg(test)]` or `#[cfg(all(test, ..))]`.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    for marker in ["#[cfg(test)]", "#[cfg(all(test"] {
        while let Some(start) = out.find(marker) {
            let end = item_end(&out, start + marker.len());
            let gone: String =
                out.get(start..end).unwrap_or("").chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
            out.replace_range(start..end, &gone);
        }
    }
    out
}

/// The end of the item that begins after `from`: its closing brace, or the semicolon before any brace.
fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, c) in code.get(from..).unwrap_or("").char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return from + offset + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return from + offset + 1,
            _ => {}
        }
    }
    code.len()
}

/// The top-level modules of our own crate that the code names, each with its line.
fn imports(code: &str, depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (position, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let before = code.get(..position).unwrap_or("");
        if before.ends_with(is_word) || before.ends_with("super::") {
            continue;
        }
        let mut rest = code.get(position..).unwrap_or("");
        if let Some(after) = rest.strip_prefix("crate::") {
            rest = after;
        } else {
            let mut up = 0;
            while let Some(after) = rest.strip_prefix("super::") {
                (rest, up) = (after, up + 1);
            }
            if up < depth + inline_depth(before) {
                continue;
            }
        }
        let line = before.lines().count().max(1);
        found.extend(roots(rest).into_iter().map(|name| (line, name)));
    }
    found
}

/// How many inline `mod x {` are open at the end of `before`.
fn inline_depth(before: &str) -> usize {
    let mut open = Vec::new();
    for (index, c) in before.char_indices() {
        match c {
            '{' => {
                let head = before.get(..index).unwrap_or("").rsplit(['{', '}', ';', ']']).next().unwrap_or("");
                open.push(head.split_whitespace().any(|word| word == "mod"));
            }
            '}' => drop(open.pop()),
            _ => {}
        }
    }
    open.into_iter().filter(|is_mod| *is_mod).count()
}

/// `x::y` names `x`; `{x::y, z::{a, b}}` names `x` and `z`.
fn roots(path: &str) -> Vec<String> {
    let word = |text: &str| text.trim_start().chars().take_while(|c| is_word(*c)).collect::<String>();
    let Some(group) = path.trim_start().strip_prefix('{') else { return vec![word(path)] };
    let mut names = vec![word(group)];
    let mut depth = 0_usize;
    for (index, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(word(group.get(index + 1..).unwrap_or(""))),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn place(name: &str) -> Option<usize> {
    ORDER.iter().position(|module| *module == name)
}

fn upward_imports(source: &Source) -> Vec<String> {
    let Some(module) = source.module() else { return Vec::new() };
    let Some(own) = module.first().and_then(|name| place(name)) else { return Vec::new() };
    let upward = |name: &str| place(name).is_some_and(|other| other > own);
    imports(&source.code, module.len())
        .into_iter()
        .filter(|(_, name)| upward(name))
        .map(|(line, name)| format!("{}:{line}: imports `{name}`, which stands above it", source.path))
        .collect()
}

/// `lib.rs` declares the modules in order, and re-exports nothing under which one could be reached past this check.
fn misplaced_modules(lib: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    let mut last = None;
    for line in lib.code.lines().map(str::trim) {
        if line.contains("use ") {
            problems.push(format!("{}: `{line}`: the root re-exports nothing", lib.path));
        }
        let Some(name) = line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod ")) else { continue };
        let name = name.trim_end_matches([';', ' ', '{']);
        match place(name) {
            None => problems.push(format!("{}: module `{name}` has no place in tests/house.rs", lib.path)),
            place if place <= last => problems.push(format!("{}: module `{name}` stands out of order", lib.path)),
            place => last = place,
        }
    }
    problems
}

fn too_long(source: &Source) -> Vec<String> {
    let shipped = source.shipped();
    let lines = shipped.trim_end().lines().count();
    let over = lines > MAX_LINES;
    over.then(|| format!("{}: {lines} lines without tests, more than {MAX_LINES}", source.path)).into_iter().collect()
}

fn minted_peers(source: &Source) -> Vec<String> {
    // `explain` and `check` ask what would be decided on a caller that nobody proved; they take no connection.
    let supposed = source.path == "src/cli/suppose.rs";
    let tls = source.path == "src/tls.rs" || source.path.starts_with("src/tls/") || supposed;
    let shipped = source.shipped();
    let mints = !tls && ["Peer::verified", "Self::verified"].iter().any(|call| shipped.contains(call));
    mints.then(|| format!("{}: only tls may say that an identity was proven", source.path)).into_iter().collect()
}

/// What runs on its own must have an owner that can end it: a `TaskTracker` or a `JoinSet`.
fn bare_spawns(source: &Source) -> Vec<String> {
    let shipped = source.shipped();
    let bare = ["tokio::spawn(", "task::spawn(", "use tokio::spawn"].iter().any(|call| shipped.contains(call));
    bare.then(|| format!("{}: a bare spawn; use a TaskTracker or a JoinSet", source.path)).into_iter().collect()
}

fn vague_rooms(source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    for part in source.path.trim_end_matches(".rs").split('/') {
        if VAGUE.contains(&part) {
            problems.push(format!("{}: `{part}` says nothing about what is in it", source.path));
        }
    }
    if source.path.ends_with("/mod.rs") {
        problems.push(format!("{}: write foo.rs beside foo/", source.path));
    }
    problems
}

fn read_sources(directory: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting: Vec<PathBuf> = vec![root.join(directory)];
    let mut sources = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let Ok(entries) = fs::read_dir(&path) else { continue };
            waiting.extend(entries.flatten().map(|entry| entry.path()).filter(|path| !path.ends_with("node_modules")));
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && let (Ok(text), Ok(inside)) = (fs::read_to_string(&path), path.strip_prefix(root))
        {
            sources.push(Source::new(&inside.to_string_lossy().replace('\\', "/"), &text));
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    mark_tests(&mut sources);
    sources
}

fn mark_tests(sources: &mut [Source]) {
    let declared: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in sources {
        let below = |module: &String| {
            source.path.strip_prefix(module.as_str()).is_some_and(|rest| rest.starts_with(['.', '/']))
        };
        source.only_tests = declared.iter().any(below);
    }
}

fn in_all(directories: &[&str], check: fn(&Source) -> Vec<String>) -> String {
    let sources = directories.iter().flat_map(|directory| read_sources(directory));
    sources.flat_map(|source| check(&source)).collect::<Vec<_>>().join("\n")
}

const OURS: &[&str] = &["src", "e2e/src", "e2e/tool-server", "istio-integration/src"];

#[test]
fn modules_import_downwards_only() {
    assert_eq!(in_all(&["src"], upward_imports), "");
}

#[test]
fn the_library_declares_its_modules_in_order() {
    let lib = read_sources("src").into_iter().find(|source| source.path == "src/lib.rs").unwrap();
    assert_eq!(misplaced_modules(&lib).join("\n"), "");
}

#[test]
fn files_are_short() {
    assert_eq!(in_all(OURS, too_long), "");
}

#[test]
fn only_tls_mints_peers() {
    assert_eq!(in_all(OURS, minted_peers), "");
}

#[test]
fn every_task_has_an_owner() {
    assert_eq!(in_all(OURS, bare_spawns), "");
}

#[test]
fn rooms_have_names() {
    assert_eq!(in_all(OURS, vague_rooms), "");
}

// The checks themselves, on planted violations: a check that cannot fail is none.

#[test]
fn a_planted_upward_import_is_found() {
    let found = |path: &str, text: &str| upward_imports(&Source::new(path, text)).len();
    assert_eq!(found("src/wire/json.rs", "use crate::policy::Rules;"), 1);
    assert_eq!(found("src/wire.rs", "fn f() { crate::proxy::go() }"), 1);
    assert_eq!(found("src/wire.rs", "use crate::{\n    call::{Call, Value},\n    mesh::Target, tls,\n};"), 2);
    assert_eq!(found("src/wire/json.rs", "use super::super::policy::Rules;"), 1);
    assert_eq!(found("src/wire/json.rs", "mod inner { use super::super::super::policy::Rules; }"), 1);
    assert_eq!(found("src/id.rs", "#[cfg(test)]\nmod tests { use crate::policy::Rules; }"), 1);

    assert_eq!(found("src/wire/json.rs", "use crate::{call::Call, wire::http1};\nuse super::policy;"), 0);
    assert_eq!(found("src/wire/json.rs", "mod inner { use super::super::policy::Rules; }"), 0);
    assert_eq!(
        found("src/wire.rs", "// use crate::policy::X;\n/* crate::mesh */ const A: &str = \"crate::tls::B\";"),
        0
    );
    assert_eq!(
        found("src/wire.rs", "const A: &str = r#\"\"crate::tls::B\"\"#; const C: char = '\"'; fn f<'a>() {}"),
        0
    );
    assert_eq!(found("src/main.rs", "use agent_waypoint::app; use crate::app::x;"), 0);
}

#[test]
fn a_planted_misplaced_module_is_found() {
    let found = |text: &str| misplaced_modules(&Source::new("src/lib.rs", text)).len();
    assert_eq!(found("pub mod id;\npub mod call;\npub mod app;\n#[cfg(feature = \"demo\")]\npub mod demo;"), 0);
    assert_eq!(found("pub mod call;\npub mod id;"), 1);
    assert_eq!(found("pub mod id;\npub mod gadgets;"), 1);
    assert_eq!(found("pub mod id;\npub use id::Peer;"), 1);
}

#[test]
fn a_planted_long_file_is_found_and_tests_are_not_counted() {
    let found = |path: &str, text: &str| too_long(&Source::new(path, text)).len();
    let long = "fn f() {}\n".repeat(MAX_LINES + 1);
    assert_eq!(found("src/wire.rs", &long), 1);
    assert_eq!(found("src/wire.rs", &"fn f() {}\n".repeat(MAX_LINES)), 0);
    assert_eq!(found("src/wire.rs", &format!("fn a() {{}}\n#[cfg(test)]\nmod tests {{\n{long}}}\n")), 0);
    assert_eq!(found("src/wire/tests.rs", &long), 0);
    assert_eq!(found("src/wire.rs", &format!("#[cfg(test)]\nmod tests;\n{long}")), 1);
}

#[test]
fn a_planted_peer_is_found() {
    let found = |path: &str, text: &str| minted_peers(&Source::new(path, text)).len();
    assert_eq!(found("src/hbone/server.rs", "fn f() { Peer::verified(a, b, c) }"), 1);
    assert_eq!(found("src/id/peer.rs", "impl Peer { fn f() { Self::verified(a, b, c) } }"), 1);
    assert_eq!(found("src/tls/accept.rs", "fn f() { Peer::verified(a, b, c) }"), 0);
    assert_eq!(found("src/policy.rs", "#[cfg(test)]\nmod tests { fn f() { Peer::verified(a, b, c) } }"), 0);
    assert_eq!(found("src/policy.rs", "#[cfg(test)]\nmod tests {}\nfn f() { Peer::verified(a, b, c) }"), 1);
    assert_eq!(found("src/id/peer.rs", "/// See `Peer::verified`.\npub(crate) fn verified() {}"), 0);
}

#[test]
fn files_of_modules_for_tests_are_test_code() {
    let text = "#[cfg(test)]\npub(crate) mod fixture;\nmod rules;";
    let mint = "fn f() { Peer::verified(a, b, c) }";
    let paths =
        ["src/policy/fixture.rs", "src/policy/fixture/deep.rs", "src/policy/fixtures.rs", "src/policy/rules.rs"];
    let mut sources: Vec<Source> = paths.iter().map(|path| Source::new(path, mint)).collect();
    sources.push(Source::new("src/policy.rs", text));
    mark_tests(&mut sources);
    let found: Vec<bool> = sources.iter().map(|source| !minted_peers(source).is_empty()).collect();
    assert_eq!(found, [false, false, true, true, false]);
}

#[test]
fn a_planted_spawn_is_found() {
    let found = |text: &str| bare_spawns(&Source::new("src/net.rs", text)).len();
    assert_eq!(found("fn f() { tokio::spawn(async {}); }"), 1);
    assert_eq!(found("fn f(tracker: &TaskTracker) { tracker.spawn(async {}); }"), 0);
    assert_eq!(found("#[cfg(test)]\nmod tests { fn f() { tokio::spawn(async {}); } }"), 0);
}

#[test]
fn planted_vague_rooms_are_found() {
    let found = |path: &str| vague_rooms(&Source::new(path, "")).len();
    assert_eq!(found("src/util.rs"), 1);
    assert_eq!(found("src/wire/common/json.rs"), 1);
    assert_eq!(found("src/wire/mod.rs"), 1);
    assert_eq!(found("src/wire/json.rs"), 0);
}
