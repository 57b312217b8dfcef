use proptest::prelude::*;

use super::{normalise, resource, template};

#[test]
fn normal_forms() {
    let rows = [
        ("file:///a/b", "file:///a/b"),
        ("FILE:///a/b", "file:///a/b"),
        ("http://EXAMPLE.com:80/A?B#C", "http://example.com:80/A?B#C"),
        ("http://User@HOST/", "http://User@host/"),
        ("http://H%c3%A9%41/x", "http://h%C3%A9a/x"),
        ("file:///a/../b", "file:///b"),
        ("file:///a/./b/", "file:///a/b/"),
        ("file:///a/b/..", "file:///a/"),
        ("file:///../../x", "file:///x"),
        ("file:///a/%2e%2E/b", "file:///b"),
        ("file:///a/%2e/b", "file:///a/b"),
        ("file:///a/.%2e/b", "file:///b"),
        ("file:///a/..%2fb", "file:///a/..%2Fb"),
        ("file:///a/%252e%252e/b", "file:///a/%252e%252e/b"),
        ("file:///a/...", "file:///a/..."),
        ("file:///%7euser/%61", "file:///~user/a"),
        ("file:///a%2fb", "file:///a%2Fb"),
        ("file:///a//b", "file:///a//b"),
        ("file:///a\\..\\b", "file:///a%5C..%5Cb"),
        ("file:///a b", "file:///a%20b"),
        ("file:///caf\u{e9}", "file:///caf%C3%A9"),
        ("file:///100%", "file:///100%25"),
        ("file:///%zz", "file:///%25zz"),
        ("x:/.//EVIL", "x:/.//EVIL"),
        ("x:/a/..//EVIL", "x:/.//EVIL"),
        ("urn:a:B", "urn:a:B"),
        ("greeting://Alice", "greeting://alice"),
        ("config", "config"),
        ("a/../b", "/b"),
        ("./A:b", "./A:b"),
        ("x://h/a?p=../q#../r", "x://h/a?p=../q#../r"),
        ("", ""),
    ];
    for (raw, normal) in rows {
        assert_eq!(normalise(raw), normal, "{raw}");
        let uri = resource(raw);
        assert_eq!((&*uri.raw, &*uri.normal), (raw, normal));
    }
}

#[test]
fn templates_keep_their_expressions() {
    let rows = [
        ("file:///{path}", "file:///{path}"),
        ("users://{UserId}/x", "users://{UserId}/x"),
        ("Users://H{A}X/{+p}{?q*,r}", "users://h{A}x/{+p}{?q*,r}"),
        ("file:///a/../{b}", "file:///{b}"),
        ("file:///%7Bb%7D", "file:///{b}"),
        ("x://{unclosed", "x://{unclosed"),
    ];
    for (raw, normal) in rows {
        assert_eq!(&*template(raw).normal, normal, "{raw}");
    }
}

proptest! {
    #[test]
    fn normal_is_final(raw in "([a-zA-Z]{1,3}:)?(//)?([a-zA-Z@:%/.?#\\\\ é{}]|%2[eEfF]|%41|%7[bB]){0,24}") {
        let once = normalise(&raw);
        prop_assert_eq!(normalise(&once), &*once, "{}", raw);
        prop_assert!(once.is_ascii());
        let shown = template(&raw).normal;
        prop_assert_eq!(&template(&shown).normal, &shown, "{}", raw);
    }

    #[test]
    fn any_text(raw in any::<String>()) {
        let once = normalise(&raw);
        prop_assert_eq!(normalise(&once), once);
    }
}
