use super::{Body, EnvelopeFault as Fault, Id, Message};
use crate::call::Value;
use crate::wire::json::parse;

fn tree(text: &str) -> Value {
    parse(text.as_bytes()).unwrap()
}

#[test]
fn kinds() {
    let t = tree(r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#);
    let m = Message::read(&t).unwrap();
    assert_eq!(m.id.unwrap().as_json(), "7");
    assert_eq!(m.body, Body::Request { method: "ping", params: None });

    let t = tree(r#"{"method":"notifications/x","params":{"a":1},"jsonrpc":"2.0"}"#);
    let m = Message::read(&t).unwrap();
    assert!(m.id.is_none());
    assert!(matches!(m.body, Body::Notification { method: "notifications/x", params: Some(p) } if p.len() == 1));

    let t = tree(r#"{"jsonrpc":"2.0","id":"a","result":{}}"#);
    assert!(matches!(Message::read(&t).unwrap().body, Body::Result(_)));

    let t = tree(r#"{"jsonrpc":"2.0","id":"a","error":{"code":-1,"message":"m","data":[]}}"#);
    assert!(matches!(Message::read(&t).unwrap().body, Body::Error(_)));
    for id in ["", r#""id":null,"#] {
        let t = tree(&format!(r#"{{"jsonrpc":"2.0",{id}"error":{{"code":-1,"message":"m"}}}}"#));
        assert!(Message::read(&t).unwrap().id.is_none());
    }
}

#[test]
fn refusals() {
    let long = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#, "m".repeat(257));
    let long_id = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "i".repeat(257));
    let rows = [
        ("[]", Fault::Batch),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, Fault::Batch),
        (r#"[[{"jsonrpc":"2.0","id":1,"method":"ping"}]]"#, Fault::Batch),
        ("1", Fault::NotObject),
        ("null", Fault::NotObject),
        (r#"{"id":1,"method":"ping"}"#, Fault::Version),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, Fault::Version),
        (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, Fault::Version),
        (r#"{"jsonrpc":"2.0","id":1,"Method":"ping"}"#, Fault::UnknownKey),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#, Fault::UnknownKey),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","ID":2}"#, Fault::UnknownKey),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}"#, Fault::UnknownKey),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","__proto__":{}}"#, Fault::UnknownKey),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, Fault::BadId),
        (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, Fault::BadId),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, Fault::BadId),
        (r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#, Fault::BadId),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, Fault::BadId),
        (r#"{"jsonrpc":"2.0","id":1.0,"method":"ping"}"#, Fault::BadId),
        (r#"{"jsonrpc":"2.0","id":1e2,"method":"ping"}"#, Fault::BadId),
        (r#"{"jsonrpc":"2.0","id":-0,"method":"ping"}"#, Fault::BadId),
        (r#"{"jsonrpc":"2.0","id":9007199254740992,"method":"ping"}"#, Fault::BadId),
        (r#"{"jsonrpc":"2.0","id":-9007199254740992,"method":"ping"}"#, Fault::BadId),
        (r#"{"jsonrpc":"2.0","id":99999999999999999999,"method":"ping"}"#, Fault::BadId),
        (&*long_id, Fault::BadId),
        (r#"{"jsonrpc":"2.0","result":{}}"#, Fault::BadId),
        (r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, Fault::BadId),
        (r#"{"jsonrpc":"2.0","id":1.5,"error":{"code":1,"message":""}}"#, Fault::BadId),
        (r#"{"jsonrpc":"2.0","id":1}"#, Fault::BadMethod),
        (r#"{"jsonrpc":"2.0","id":1,"params":{}}"#, Fault::BadMethod),
        (r#"{"jsonrpc":"2.0","id":1,"method":""}"#, Fault::BadMethod),
        (r#"{"jsonrpc":"2.0","id":1,"method":5}"#, Fault::BadMethod),
        (r#"{"jsonrpc":"2.0","id":1,"method":null}"#, Fault::BadMethod),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call\u0000"}"#, Fault::BadMethod),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a\u0085b"}"#, Fault::BadMethod),
        (&*long, Fault::BadMethod),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, Fault::Mixed),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","error":{"code":1,"message":""}}"#, Fault::Mixed),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#, Fault::Mixed),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{}}"#, Fault::Mixed),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, Fault::ParamsNotObject),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#, Fault::ParamsNotObject),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}"#, Fault::ParamsNotObject),
        (r#"{"jsonrpc":"2.0","id":1,"result":[]}"#, Fault::BadOutcome),
        (r#"{"jsonrpc":"2.0","id":1,"error":"x"}"#, Fault::BadOutcome),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":"m"}}"#, Fault::BadOutcome),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#, Fault::BadOutcome),
    ];
    for (text, fault) in rows {
        assert_eq!(Message::read(&tree(text)).unwrap_err(), fault, "{text}");
    }
}

#[test]
fn ids_are_echoed_and_collide() {
    let rows = [
        ("1", "1", "1"),
        ("\"1\"", "\"1\"", "1"),
        ("-5", "-5", "-5"),
        ("9007199254740991", "9007199254740991", "9007199254740991"),
        (r#""\u0061\"\n""#, r#""a\"\n""#, "a\"\n"),
        ("\"\"", "\"\"", ""),
        ("\"1.0\"", "\"1.0\"", "1.0"),
    ];
    for (sent, echoed, plain) in rows {
        let value = tree(sent);
        let id = Id::read(&value).unwrap();
        assert_eq!((id.as_json(), id.plain()), (echoed, plain));
        assert_eq!(id.to_value(), value, "{sent}");
    }
    let (number, text) = (Id::read(&tree("1")).unwrap(), Id::read(&tree("\"1\"")).unwrap());
    assert!(number != text && number.collides(&text));
    assert!(!number.collides(&Id::read(&tree("2")).unwrap()));
}

#[test]
fn the_id_of_an_unreadable_message() {
    let id = |text| Message::readable_id(&tree(text)).map(|id| id.as_json().to_owned());
    assert_eq!(id(r#"{"jsonrpc":"1.0","id":"x","method":"ping"}"#).as_deref(), Some("\"x\""));
    assert_eq!(id(r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#), None);
    assert_eq!(id(r#"[{"id":1}]"#), None);
}
